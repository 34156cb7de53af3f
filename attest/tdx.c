/* SPDX-License-Identifier: Apache-2.0 */
/* The Intel TDX backend: RTMR 3, quotes, and the firmware's CC event log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/tee.h>
#include <teelaunch/tsm.h>

#include "ccel.h"
#include "tdx_quote.h"

/* Documentation/ABI/testing/sysfs-devices-virtual-misc-tdx_guest, Linux 6.16. */
#define RTMR3          "measurements/rtmr3:sha384"
#define CCEL_MAX_BYTES (1 << 20)
#define CCEL_TABLE_MAX 4096
#define RTMR_PATH_MAX  256

struct tdx {
	const struct tl_tsm_paths *paths;
	int rtmr3;
	struct tl_buf ccel_table, ccel_data;
};

static const struct tl_banks sha384_bank = { .hashes = { TL_SHA384 }, .n = 1 };

static void tdx_close(void *backend)
{
	struct tdx *tdx = backend;

	if (!tdx)
		return;
	if (tdx->rtmr3 >= 0)
		close(tdx->rtmr3);
	tl_buf_done(&tdx->ccel_table);
	tl_buf_done(&tdx->ccel_data);
	free(tdx);
}

static void tdx_closep(struct tdx **tdx)
{
	tdx_close(*tdx);
}
#define auto_tdx __attribute__((cleanup(tdx_closep)))

/* A register is read or written whole, at offset 0, in one call. */
static int fail_rtmr(struct tl_error *err, const char *what, ssize_t n)
{
	if (n < 0)
		return tl_fail_sys(err, TL_E_RTMR, errno, "%s RTMR 3", what);
	return tl_fail(err, TL_E_RTMR, EIO, "%s RTMR 3: %zd of %d bytes", what, n, TDX_RTMR_BYTES);
}

static int tdx_check_unused(void *backend, struct tl_error *err)
{
	static const uint8_t zeros[TDX_RTMR_BYTES];
	const struct tdx *tdx = backend;
	uint8_t value[TDX_RTMR_BYTES];
	ssize_t n = pread(tdx->rtmr3, value, sizeof(value), 0);

	if (n != TDX_RTMR_BYTES)
		return fail_rtmr(err, "read", n);
	if (memcmp(value, zeros, sizeof(zeros)) != 0)
		return tl_fail(err, TL_E_REGISTER_USED, EEXIST,
			       "RTMR 3 isn't zero before the first measurement");
	return 0;
}

static int tdx_extend(void *backend, const struct tl_event_digests *digests, struct tl_error *err)
{
	const struct tdx *tdx = backend;
	ssize_t n = pwrite(tdx->rtmr3, digests->items[0].bytes, TDX_RTMR_BYTES, 0);

	return n == TDX_RTMR_BYTES ? 0 : fail_rtmr(err, "extend", n);
}

static int check_nonce(const struct tl_blob *quote, const void *nonce, size_t nonce_len,
		       struct tl_error *err)
{
	uint8_t want[TL_TSM_INBLOB_BYTES];
	struct tdx_quote q;
	int r = tdx_quote_parse(quote->bytes, quote->n, &q, err);

	if (r < 0)
		return r;
	tl_tsm_inblob(nonce, nonce_len, want);
	if (memcmp(q.report_data, want, sizeof(want)) != 0)
		return tl_fail(err, TL_E_QUOTE_INVALID, EBADMSG,
			       "TDX quote: it is over another nonce");
	return 0;
}

static int tdx_evidence(void *backend, const void *nonce, size_t nonce_len, bool is_beside,
			struct tl_evidence *ret, struct tl_error *err)
{
	const struct tdx *tdx = backend;
	auto_blob struct tl_blob aux = { 0 };
	struct tl_tdx *e = &ret->tdx;
	int r = tl_tsm_report(tdx->paths, TL_TSM_TDX, nonce, nonce_len, &e->quote, &aux, err);

	(void)is_beside;
	if (r == 0)
		r = check_nonce(&e->quote, nonce, nonce_len, err);
	if (r < 0)
		return r;
	r |= tl_blob_set(&e->ccel_table, tdx->ccel_table.data, tdx->ccel_table.len_bytes);
	r |= tl_blob_set(&e->ccel_data, tdx->ccel_data.data, tdx->ccel_data.len_bytes);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for evidence") : 0;
}

static const struct tl_tee_ops tdx_ops = {
	.form = TL_CEL_TDX,
	.check_unused = tdx_check_unused,
	.extend = tdx_extend,
	.evidence = tdx_evidence,
	.close = tdx_close,
};

static int rtmr3_open(struct tdx *tdx, struct tl_error *err)
{
	char path[RTMR_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/" RTMR3, tdx->paths->tdx_guest);

	if (n >= (int)sizeof(path))
		return tl_fail(err, TL_E_RTMR, ENAMETOOLONG, "RTMR 3's path is too long");
	tdx->rtmr3 = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return tdx->rtmr3 < 0 ? tl_fail_sys(err, TL_E_RTMR, errno, "open '%s'", path) : 0;
}

static int ccel_file_read(const char *path, struct tl_buf *ret, struct tl_error *err)
{
	struct tl_error inner = { 0 };
	int r = tl_file_read(path, ret, &inner);

	return r < 0 ? tl_fail(err, inner.code == TL_E_IO ? TL_E_CCEL : inner.code, -r,
			       "firmware's CC event log: %s", inner.msg)
		     : 0;
}

static int ccel_read(struct tdx *tdx, struct tl_error *err)
{
	size_t end = 0;
	int r = ccel_file_read(tdx->paths->ccel_table, &tdx->ccel_table, err);

	if (r == 0)
		r = ccel_table_check(tdx->ccel_table.data, tdx->ccel_table.len_bytes, err);
	if (r == 0)
		r = ccel_file_read(tdx->paths->ccel_data, &tdx->ccel_data, err);
	if (r == 0)
		r = ccel_end(tdx->ccel_data.data, tdx->ccel_data.len_bytes, &end, err);
	if (r == 0)
		tdx->ccel_data.len_bytes = end;
	return r;
}

int tl_tdx_open(const struct tl_tsm_paths *paths, struct tl_tee **ret, struct tl_error *err)
{
	static const struct tl_strv no_warnings;
	auto_tdx struct tdx *tdx = calloc(1, sizeof(*tdx));
	int r;

	if (!tdx)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for TDX");
	tdx->paths = paths;
	tdx->rtmr3 = -1;
	tl_buf_init(&tdx->ccel_table, CCEL_TABLE_MAX);
	tl_buf_init(&tdx->ccel_data, CCEL_MAX_BYTES);
	r = rtmr3_open(tdx, err);
	if (r == 0)
		r = ccel_read(tdx, err);
	if (r == 0)
		r = tl_tee_new(&tdx_ops, tdx, &sha384_bank, &no_warnings, ret, err);
	if (r == 0)
		tdx = NULL;
	return r;
}
