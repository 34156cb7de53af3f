/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM that answers what it likes, below ESAPI: what our commands make of it is in bounds, or an
 * error that leaves the result alone.
 *
 * The first byte chooses the command; then answers, each with a byte of kind and two of length. An
 * answer gets the head that goes with its length, unless its kind says that it is raw.
 */
#include <string.h>

#include <teelaunch/cleanup.h>

#include "attest/tpm_ak.h"
#include "attest/tpm_esys.h"
#include "fuzz.h"

#define HEAD_BYTES 10 /* TPM 2.0 part 1, 18.2: tag, size, code */
#define NV_INDEX   0x01c00002
#define NV_MAX     4096

enum { KIND_RAW = 1, KIND_SESSION = 2, KIND_FAILS = 4 };

/* The interface that ESAPI's bytes end up in. */
static struct {
	TSS2_TCTI_CONTEXT_COMMON_V1 v1; /* first */
	const uint8_t *data;
	size_t n;
} tpm;

static TSS2_RC fuzz_transmit(TSS2_TCTI_CONTEXT *tcti, size_t n, const uint8_t *command)
{
	(void)tcti;
	(void)n;
	(void)command;
	return TSS2_RC_SUCCESS;
}

static size_t be_put(uint8_t *to, uint32_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	return bytes;
}

/* With one session, a password's: its answer is empty (part 1, 19.4). */
static size_t answer_build(uint8_t *to, unsigned int kind, const uint8_t *payload, size_t n)
{
	static const uint8_t session[] = { 0, 0, 1, 0, 0 };
	size_t at = HEAD_BYTES;

	if (kind & KIND_FAILS) {
		be_put(to, TPM2_ST_NO_SESSIONS, 2);
		be_put(to + 2, HEAD_BYTES, 4);
		memset(to + 6, 0, 4);
		memcpy(to + 8, payload, n < 2 ? n : 2);
		return HEAD_BYTES;
	}
	if (kind & KIND_SESSION)
		at += be_put(to + at, (uint32_t)n, 4);
	memcpy(to + at, payload, n);
	at += n;
	if (kind & KIND_SESSION) {
		memcpy(to + at, session, sizeof(session));
		at += sizeof(session);
	}
	be_put(to, kind & KIND_SESSION ? TPM2_ST_SESSIONS : TPM2_ST_NO_SESSIONS, 2);
	be_put(to + 2, (uint32_t)at, 4);
	be_put(to + 6, 0, 4);
	return at;
}

static TSS2_RC fuzz_receive(TSS2_TCTI_CONTEXT *tcti, size_t *n, uint8_t *response, int32_t timeout)
{
	size_t len, room = *n;

	(void)tcti;
	(void)timeout;
	FUZZ_CHECK(response && room >= 64);
	if (tpm.n < 3)
		return TSS2_TCTI_RC_IO_ERROR;
	len = (size_t)tpm.data[1] << 8 | tpm.data[2];
	len = len < tpm.n - 3 ? len : tpm.n - 3;
	len = len < room - 32 ? len : room - 32;
	if (tpm.data[0] & KIND_RAW)
		memcpy(response, tpm.data + 3, *n = len);
	else
		*n = answer_build(response, tpm.data[0], tpm.data + 3, len);
	tpm.data += 3 + len;
	tpm.n -= 3 + len;
	return TSS2_RC_SUCCESS;
}

static int fuzz_pcrs(struct tpm_esys *t, struct tl_error *err)
{
	TPML_PCR_SELECTION selection = { .count = 77 };
	struct tl_banks banks = { .n = 77 };
	auto_free struct tl_quote *quote = calloc(1, sizeof(*quote));
	int r = tpm_read_banks(t, &banks, &selection, err);

	FUZZ_CHECK(quote);
	if (r < 0) {
		FUZZ_CHECK(banks.n == 77 && selection.count == 77);
		return r;
	}
	FUZZ_CHECK(banks.n >= 1 && banks.n <= TL_BANKS_MAX && selection.count == banks.n);
	for (size_t i = 0; i < banks.n; i++)
		FUZZ_CHECK(banks.hashes[i] == selection.pcrSelections[i].hash);
	r = tpm_read_pcrs(t, &selection.pcrSelections[0], quote, err);
	if (r < 0)
		return r;
	FUZZ_CHECK(quote->n_pcrs <= TL_PCRS_MAX);
	for (size_t i = 0; i < quote->n_pcrs; i++) {
		unsigned int index = quote->pcrs[i].index;

		FUZZ_CHECK(i == 0 || index > quote->pcrs[i - 1].index);
		FUZZ_CHECK(selection.pcrSelections[0].pcrSelect[index / 8] >> index % 8 & 1);
	}
	return 0;
}

static int fuzz_property(struct tpm_esys *t, struct tl_error *err)
{
	uint32_t value = 77;
	int r = tpm_read_property(t, TPM2_PT_MANUFACTURER, &value, err);

	FUZZ_CHECK(r == 0 || value == 77);
	return r;
}

static int fuzz_nv(struct tpm_esys *t, struct tl_error *err)
{
	auto_blob struct tl_blob blob = { 0 };
	int r = tpm_read_nv(t, NV_INDEX, "certificate", NV_MAX, TL_E_AK_CERT, &blob, err);

	FUZZ_CHECK(r == 0 ? blob.n >= 1 && blob.n <= NV_MAX : !blob.bytes && !blob.n);
	return r;
}

static int fuzz_extend(struct tpm_esys *t, struct tl_error *err)
{
	struct tl_event_digests digests = { 0 };

	return tpm_extend_pcr(t, 13, &digests, err);
}

static int fuzz_lockout(struct tpm_esys *t, struct tl_error *err)
{
	struct tl_strv warnings = { 0 };

	(void)err;
	tpm_set_lockout_limits(t, &warnings);
	tl_strv_done(&warnings);
	return 0;
}

/* The attestation key, a quote, and another context for the same key: what the link has noted of
 * what the TPM made is flushed in both. */
static int fuzz_key(struct tpm_esys *t, struct tl_error *err)
{
	static const TPMS_PCR_SELECTION selection = { TPM2_ALG_SHA256, 3, { 0xff, 0xff, 0xff } };
	struct tpm_ak ak = { .handle = ESYS_TR_NONE, .object = 77 };
	struct tl_quote quote = { 0 };
	int r = tpm_ak_load(t, &ak, err);

	if (r < 0) {
		FUZZ_CHECK(ak.handle == ESYS_TR_NONE && ak.object == 77 && !ak.cert.bytes);
		return r;
	}
	FUZZ_CHECK(ak.handle != ESYS_TR_NONE && ak.cert.n && ak.public.n);
	r = tpm_ak_quote(t, &ak, &selection, "nonce", 5, &quote, err);
	if (r >= 0)
		FUZZ_CHECK(quote.attest.n && quote.signature.n);
	tl_blob_done(&quote.attest);
	tl_blob_done(&quote.signature);
	if (tpm_esys_renew(t, ak.object, &ak.handle, NULL) == 0)
		FUZZ_CHECK(ak.handle != ESYS_TR_NONE);
	tpm_ak_done(t, &ak);
	tl_blob_done(&ak.public);
	tl_blob_done(&ak.cert);
	return r;
}

static int (*const commands[])(struct tpm_esys *t, struct tl_error *err) = {
	fuzz_pcrs, fuzz_property, fuzz_nv, fuzz_extend, fuzz_lockout, fuzz_key,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_error err = { 0 };
	struct tpm_link *link;
	struct tpm_esys t;
	int r;

	if (size < 1)
		return 0;
	(void)setenv("TSS2_LOG", "all+NONE", 0);
	tpm.v1 = (TSS2_TCTI_CONTEXT_COMMON_V1){
		.magic = 1, .version = 1, .transmit = fuzz_transmit, .receive = fuzz_receive
	};
	tpm.data = data + 1;
	tpm.n = size - 1;
	/* No time: a TPM that says that it is busy isn't waited for. */
	link = tpm_link_new((TSS2_TCTI_CONTEXT *)&tpm, 0);
	FUZZ_CHECK(link && tpm_esys_init(&t, link, &err) == 0);
	r = commands[data[0] % TL_ARRAY_SIZE(commands)](&t, &err);
	FUZZ_CHECK(r == 0 || (r < 0 && err.code && err.msg[0]));
	tpm_esys_done(&t);
	return 0;
}
