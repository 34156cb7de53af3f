/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/tsm.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/str.h>

#define ATTEMPTS       4  /* of a whole report */
#define FIRST_PAUSE_MS 50 /* doubled each time; a host that limits reports needs longer anyway */
#define NAME_ATTEMPTS  3
#define TEXT_MAX_BYTES 64

const struct tl_tsm_paths tl_tsm_paths_linux = {
	.report = "/sys/kernel/config/tsm/report",
	.tdx_guest = "/sys/class/misc/tdx_guest",
	.ccel_table = "/sys/firmware/acpi/tables/CCEL",
	.ccel_data = "/sys/firmware/acpi/tables/data/CCEL",
};

static const struct {
	enum tl_tsm_kind kind;
	const char *name;
} providers[] = {
	{ TL_TSM_TDX, "tdx_guest" },
	{ TL_TSM_SNP, "sev_guest" },
};

static const char *provider_name(enum tl_tsm_kind kind)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(providers); i++)
		if (providers[i].kind == kind)
			return providers[i].name;
	return "none";
}

static enum tl_tsm_kind provider_kind(const char *name)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(providers); i++)
		if (strcmp(providers[i].name, name) == 0)
			return providers[i].kind;
	return TL_TSM_NONE;
}

/* --- an entry below the folder of reports -------------------------------------------------- */

struct entry {
	const char *path; /* of the folder, for messages */
	int folder;       /* -1: not open */
	int dir;          /* -1: not made */
	char name[32];
};

static void entry_done(struct entry *e)
{
	int saved = errno;

	if (e->dir >= 0)
		close(e->dir);
	if (*e->name)
		(void)unlinkat(e->folder, e->name, AT_REMOVEDIR);
	if (e->folder >= 0)
		close(e->folder);
	errno = saved;
}
#define auto_entry __attribute__((cleanup(entry_done)))

/* What passes by itself, and is worth another try. */
static bool is_passing(int number)
{
	return number == EBUSY || number == EAGAIN || number == EINTR || number == ETIMEDOUT;
}

static int entry_fail(const struct entry *e, const char *what, const char *name, int number,
		      struct tl_error *err)
{
	return tl_fail_sys(err,
			   number == ENOMEM     ? TL_E_NO_MEMORY
			   : is_passing(number) ? TL_E_TSM_BUSY
						: TL_E_TSM,
			   number, "%s '%s' of an entry in '%s'", what, name, e->path);
}

/* 0, or -errno with nothing in @err: what it means depends on who asks. */
static int entry_make(const char *path, struct entry *e)
{
	int r = -EEXIST;

	e->path = path;
	e->folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (e->folder < 0)
		return -errno;
	for (unsigned int i = 0; r == -EEXIST && i < NAME_ATTEMPTS; i++) {
		snprintf(e->name, sizeof(e->name), "teelaunch-%016" PRIx64, tl_clock_random());
		r = mkdirat(e->folder, e->name, 0700) < 0 ? -errno : 0;
	}
	if (r < 0) {
		*e->name = '\0';
		return r;
	}
	e->dir = openat(e->folder, e->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return e->dir < 0 ? -errno : 0;
}

static int attribute_read(const struct entry *e, const char *name, struct tl_buf *ret)
{
	auto_close int fd = openat(e->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint8_t chunk[4096];

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n == 0)
			return 0;
		if (n < 0)
			return -errno;
		if (tl_buf_append(ret, chunk, (size_t)n) < 0)
			return -EFBIG;
	}
}

static int text_read(const struct entry *e, const char *name, char ret[TEXT_MAX_BYTES + 1],
		     struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r;

	tl_buf_init(&text, TEXT_MAX_BYTES);
	r = attribute_read(e, name, &text);
	if (r < 0)
		return entry_fail(e, "read", name, -r, err);
	snprintf(ret, TEXT_MAX_BYTES + 1, "%s", tl_buf_str(&text));
	ret[strcspn(ret, "\n")] = '\0';
	return 0;
}

static int provider_check(const struct entry *e, enum tl_tsm_kind kind, struct tl_error *err)
{
	char name[TEXT_MAX_BYTES + 1];
	int r = text_read(e, "provider", name, err);

	if (r < 0 || strcmp(name, provider_name(kind)) == 0)
		return r;
	return tl_fail(err, TL_E_TSM, ENOTSUP,
		       "the reports in '%s' are of provider '%s'; '%s' is needed", e->path, name,
		       provider_name(kind));
}

static int generation_read(const struct entry *e, uint64_t *ret, struct tl_error *err)
{
	char text[TEXT_MAX_BYTES + 1];
	int r = text_read(e, "generation", text, err);

	if (r < 0 || tl_str_parse_u64(text, UINT64_MAX, ret) == 0)
		return r;
	return tl_fail(err, TL_E_TSM, EBADMSG, "'generation' of an entry in '%s' is no number",
		       e->path);
}

/* The kernel takes the bytes at the close, and tells nobody if it doesn't. So the count of writes
 * says it: ours must be in it, and no other. */
static int generation_check(const struct entry *e, uint64_t before, struct tl_error *err)
{
	uint64_t now;
	int r = generation_read(e, &now, err);

	if (r < 0 || now - before == 1)
		return r;
	return tl_fail(err, TL_E_TSM_BUSY, EAGAIN,
		       "an entry in '%s' was written %" PRIu64 " times instead of once", e->path,
		       now - before);
}

static int inblob_write(const struct entry *e, const uint8_t in[TL_TSM_INBLOB_BYTES],
			struct tl_error *err)
{
	auto_close int fd = openat(e->dir, "inblob", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, in, TL_TSM_INBLOB_BYTES);

	if (n < 0)
		return entry_fail(e, "write", "inblob", errno, err);
	if (n != TL_TSM_INBLOB_BYTES)
		return entry_fail(e, "write all of", "inblob", EIO, err);
	return 0;
}

static int blob_read(const struct entry *e, const char *name, struct tl_blob *ret,
		     struct tl_error *err)
{
	auto_buf struct tl_buf bytes = { 0 };
	int r;

	tl_buf_init(&bytes, TL_TSM_BLOB_MAX_BYTES);
	r = attribute_read(e, name, &bytes);
	if (r == -EFBIG)
		return tl_fail(err, TL_E_TSM, EFBIG,
			       "'%s' of an entry in '%s' has more than %d bytes", name, e->path,
			       TL_TSM_BLOB_MAX_BYTES);
	if (r == 0)
		r = tl_blob_set(ret, bytes.data, bytes.len_bytes);
	return r < 0 ? entry_fail(e, "read", name, -r, err) : 0;
}

/* Not every provider has it, and one that has may have nothing to say. */
static int aux_read(const struct entry *e, struct tl_blob *ret, struct tl_error *err)
{
	if (faccessat(e->dir, "auxblob", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	return blob_read(e, "auxblob", ret, err);
}

static int entry_report(const struct entry *e, enum tl_tsm_kind kind,
			const uint8_t in[TL_TSM_INBLOB_BYTES], struct tl_blob *ret,
			struct tl_blob *ret_aux, struct tl_error *err)
{
	uint64_t before = 0;
	int r = provider_check(e, kind, err);

	if (r == 0)
		r = generation_read(e, &before, err);
	if (r == 0)
		r = inblob_write(e, in, err);
	if (r == 0)
		r = generation_check(e, before, err);
	if (r == 0)
		r = blob_read(e, "outblob", ret, err);
	if (r == 0)
		r = aux_read(e, ret_aux, err);
	if (r == 0)
		r = generation_check(e, before, err);
	if (r == 0 && !ret->n)
		r = tl_fail(err, TL_E_TSM, ENODATA, "a report in '%s' is empty", e->path);
	return r;
}

static int report_once(const char *folder, enum tl_tsm_kind kind,
		       const uint8_t in[TL_TSM_INBLOB_BYTES], struct tl_blob *ret,
		       struct tl_blob *ret_aux, struct tl_error *err)
{
	auto_entry struct entry e = { .folder = -1, .dir = -1 };
	int r = entry_make(folder, &e);

	if (r < 0)
		return tl_fail_sys(err, is_passing(-r) ? TL_E_TSM_BUSY : TL_E_TSM, -r,
				   "make an entry in '%s'", folder);
	return entry_report(&e, kind, in, ret, ret_aux, err);
}

/* --- the contract -------------------------------------------------------------------------- */

void tl_tsm_inblob(const void *nonce, size_t n, uint8_t ret[TL_TSM_INBLOB_BYTES])
{
	memset(ret, 0, TL_TSM_INBLOB_BYTES);
	memcpy(ret, nonce, n);
}

int tl_tsm_report(const struct tl_tsm_paths *paths, enum tl_tsm_kind kind, const void *nonce,
		  size_t n, struct tl_blob *ret, struct tl_blob *ret_aux, struct tl_error *err)
{
	auto_blob struct tl_blob out = { 0 }, aux = { 0 };
	uint8_t in[TL_TSM_INBLOB_BYTES];
	struct tl_error inner = { 0 };
	int r = -EAGAIN;

	if (n < 1 || n > TL_TSM_INBLOB_BYTES)
		return tl_fail(err, TL_E_NONCE_SIZE, EINVAL,
			       "nonce has %zu bytes; it must have 1 to %d", n, TL_TSM_INBLOB_BYTES);
	tl_tsm_inblob(nonce, n, in);
	for (unsigned int i = 0; i < ATTEMPTS; i++) {
		if (i)
			tl_clock_sleep_ms(FIRST_PAUSE_MS << (i - 1));
		r = report_once(paths->report, kind, in, &out, &aux, &inner);
		if (r == 0 || inner.code != TL_E_TSM_BUSY)
			break;
	}
	if (r < 0)
		return tl_fail(err, inner.code, -r, "%s", inner.msg);
	tl_blob_done(ret);
	tl_blob_done(ret_aux);
	*ret = out;
	*ret_aux = aux;
	out = aux = (struct tl_blob){ 0 };
	return 0;
}

/* Without a driver for the hardware the kernel has no such folder, or makes no entry in it. */
static int provider_find(const char *folder, enum tl_tsm_kind *ret, struct tl_error *err)
{
	auto_entry struct entry e = { .folder = -1, .dir = -1 };
	char name[TEXT_MAX_BYTES + 1];
	int r = entry_make(folder, &e);

	*ret = TL_TSM_NONE;
	if (r == -ENOENT || r == -ENXIO)
		return 0;
	if (r < 0)
		return tl_fail_sys(err, TL_E_TSM, -r, "make an entry in '%s'", folder);
	r = text_read(&e, "provider", name, err);
	if (r == 0)
		*ret = provider_kind(name);
	return r;
}

int tl_tsm_find(const struct tl_tsm_paths *paths, enum tl_tsm_kind *ret, struct tl_error *err)
{
	enum tl_tsm_kind kind;
	int r = provider_find(paths->report, &kind, err);

	if (r < 0)
		return r;
	if (kind != TL_TSM_TDX && access(paths->tdx_guest, F_OK) == 0)
		return tl_fail(err, TL_E_TSM, ENOTSUP,
			       "'%s' says that this is a TDX guest, but '%s' makes no TDX quotes",
			       paths->tdx_guest, paths->report);
	*ret = kind;
	return 0;
}
