/* SPDX-License-Identifier: Apache-2.0 */
/* The TPM 2.0 backend. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/record_log.h>
#include <teelaunch/tee.h>

#include "openssl_auto.h"
#include "quote_key.h"
#include "tpm_ak.h"
#include "tpm_esys.h"

#define FIRMWARE_LOG_MAX_BYTES (1 << 20)
#define CHAIN_MAX_BYTES        (64 << 10)
#define QUOTE_ATTEMPTS         3 /* for PCRs that change between quote and read */
/* A TPM2B_DATA holds a TPMT_HA of the largest hash (TPM 2.0 part 2, 10.4.3): 50 bytes where that is
 * SHA-384. The nonces that are longer are of protocols that take no TPM quote beside TDX. */
#define NONCE_SURE_BYTES 50

struct tpm {
	struct tpm_esys esys;
	struct tpm_ak ak;
	EVP_PKEY *ak_key; /* of its certificate; NULL: unreadable, which the first quote tells */
	struct tl_banks banks;
	TPML_PCR_SELECTION selections; /* one for each bank, in the same order */
	struct tl_buf firmware_log;
	struct tl_blob chain[TL_CHAIN_MAX];
	size_t n_chain;
	/* What the PCRs held at the last evidence; attest and signature are empty. */
	struct tl_quote known[TL_BANKS_MAX];
	bool is_spent; /* the last quote failed so that ESAPI may take no command: tpm_esys_renew()
			*/
};

static void tpm_close(void *backend)
{
	struct tpm *tpm = backend;

	if (!tpm)
		return;
	EVP_PKEY_free(tpm->ak_key);
	tpm_ak_done(&tpm->esys, &tpm->ak);
	tpm_esys_done(&tpm->esys);
	tl_buf_done(&tpm->firmware_log);
	for (size_t i = 0; i < tpm->n_chain; i++)
		tl_blob_done(&tpm->chain[i]);
	free(tpm);
}

static void tpm_closep(struct tpm **tpm)
{
	tpm_close(*tpm);
}
#define auto_tpm __attribute__((cleanup(tpm_closep)))

static int check_pcr_unused(const struct tpm *tpm, unsigned int pcr, struct tl_error *err)
{
	static const uint8_t zeros[TL_HASH_SIZE_MAX];

	for (size_t i = 0; i < tpm->banks.n; i++) {
		TPMS_PCR_SELECTION one = tpm->selections.pcrSelections[i];
		struct tl_quote values = { 0 };
		int r;

		memset(one.pcrSelect, 0, sizeof(one.pcrSelect));
		one.pcrSelect[pcr / 8] = (uint8_t)(1U << pcr % 8);
		r = tpm_read_pcrs(&tpm->esys, &one, &values, err);
		if (r < 0)
			return r;
		if (memcmp(values.pcrs[0].bytes, zeros, tl_hash_size(one.hash)) != 0)
			return tl_fail(err, TL_E_REGISTER_USED, EEXIST,
				       "PCR %u, bank %s, isn't zero before the first measurement",
				       pcr, tl_hash_name(one.hash));
	}
	return 0;
}

static int tpm_check_unused(void *backend, struct tl_error *err)
{
	return check_pcr_unused(backend, TL_CEL_PCR, err);
}

static int tpm_extend(void *backend, const struct tl_event_digests *digests, struct tl_error *err)
{
	const struct tpm *tpm = backend;

	return tpm_extend_pcr(&tpm->esys, TL_CEL_PCR, digests, err);
}

/* Of PCR 13 too: a launch that can't be measured must not leave a record of one. */
static int tpm_extend_record(void *backend, const struct tl_event_digests *digests,
			     struct tl_error *err)
{
	const struct tpm *tpm = backend;
	int r = check_pcr_unused(tpm, TL_CEL_PCR, err);

	if (r == 0)
		r = check_pcr_unused(tpm, TL_RECORD_PCR, err);
	return r < 0 ? r : tpm_extend_pcr(&tpm->esys, TL_RECORD_PCR, digests, err);
}

/* A read returns eight PCRs at most. The quote says itself whether the values of last time still
 * hold: most of the time nothing has to be read. */
static bool is_as_known(const struct tpm *tpm, const struct tl_quote *known, const void *nonce,
			size_t nonce_len, struct tl_quote *ret)
{
	if (!known->n_pcrs)
		return false;
	ret->hash = known->hash;
	memcpy(ret->pcrs, known->pcrs, sizeof(ret->pcrs));
	ret->n_pcrs = known->n_pcrs;
	return quote_check_by_key(ret, tpm->ak_key, nonce, nonce_len, NULL) == 0;
}

static int quote_once(struct tpm *tpm, size_t bank, const void *nonce, size_t nonce_len,
		      struct tl_quote *ret, struct tl_error *err)
{
	const TPMS_PCR_SELECTION *selection = &tpm->selections.pcrSelections[bank];
	struct tl_quote *known = &tpm->known[bank];
	int r;

	r = tpm_ak_quote(&tpm->esys, &tpm->ak, selection, nonce, nonce_len, ret, err);
	if (r >= 0 && is_as_known(tpm, known, nonce, nonce_len, ret))
		return 0;
	known->n_pcrs = 0;
	if (r >= 0)
		r = tpm_read_pcrs(&tpm->esys, selection, ret, err);
	if (r >= 0)
		r = quote_check_by_key(ret, tpm->ak_key, nonce, nonce_len, err);
	if (r < 0)
		return r;
	known->hash = ret->hash;
	memcpy(known->pcrs, ret->pcrs, sizeof(ret->pcrs));
	known->n_pcrs = ret->n_pcrs;
	return 0;
}

/* The kernel may extend a PCR at any time (IMA); what is handed out must fit together. */
static int quote_bank(struct tpm *tpm, size_t bank, const void *nonce, size_t nonce_len,
		      struct tl_quote *ret, struct tl_error *err)
{
	struct tl_error inner = { 0 };
	int r = -EAGAIN;

	if (tpm->is_spent) {
		r = tpm_esys_renew(&tpm->esys, tpm->ak.object, &tpm->ak.handle, err);
		if (r < 0)
			return r;
		tpm->is_spent = false;
		r = -EAGAIN;
	}
	for (unsigned int i = 0; r < 0 && i < QUOTE_ATTEMPTS; i++) {
		r = quote_once(tpm, bank, nonce, nonce_len, ret, &inner);
		if (r < 0 && inner.code != TL_E_QUOTE_PCRS)
			break;
	}
	tpm->is_spent = r < 0 && (inner.code == TL_E_NO_MEMORY || inner.code == TL_E_TPM_COMMAND ||
				  tpm_link_state(tpm->esys.link) == TPM_LINK_BUSY);
	return r < 0 ? tl_fail(err, inner.code, -r, "%s", inner.msg) : 0;
}

static int tpm_evidence(void *backend, const void *nonce, size_t nonce_len, bool is_beside,
			struct tl_evidence *ret, struct tl_error *err)
{
	struct tpm *tpm = backend;
	bool is_quoted = !is_beside || nonce_len <= NONCE_SURE_BYTES;
	int r = 0;

	for (size_t i = 0; is_quoted && i < tpm->banks.n; i++) {
		r = quote_bank(tpm, i, nonce, nonce_len, &ret->quotes[i], err);
		if (r < 0)
			return r;
		ret->n_quotes++;
	}
	r |= tl_blob_set(&ret->ak_public, tpm->ak.public.bytes, tpm->ak.public.n);
	r |= tl_blob_set(&ret->ak_cert, tpm->ak.cert.bytes, tpm->ak.cert.n);
	r |= tl_blob_set(&ret->tcg_event_log, tpm->firmware_log.data, tpm->firmware_log.len_bytes);
	for (size_t i = 0; i < tpm->n_chain; i++)
		r |= tl_blob_set(&ret->cert_chain[i], tpm->chain[i].bytes, tpm->chain[i].n);
	ret->n_chain = tpm->n_chain;
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for evidence") : 0;
}

static const struct tl_tee_ops tpm_ops = {
	.form = TL_CEL_TPM,
	.check_unused = tpm_check_unused,
	.extend = tpm_extend,
	.extend_record = tpm_extend_record,
	.evidence = tpm_evidence,
	.close = tpm_close,
};

static int read_firmware_log(const char *path, struct tl_buf *ret, struct tl_error *err)
{
	struct tl_error inner = { 0 };
	int r = tl_file_read(path, ret, &inner);

	if (r < 0)
		return tl_fail(err, inner.code == TL_E_IO ? TL_E_FIRMWARE_LOG : inner.code, -r,
			       "firmware's event log: %s", inner.msg);
	if (!ret->len_bytes)
		return tl_fail(err, TL_E_FIRMWARE_LOG, ENODATA,
			       "firmware's event log '%s' is empty", path);
	return 0;
}

static int add_to_chain(struct tpm *tpm, X509 *cert)
{
	auto_openssl unsigned char *der = NULL;
	int n = i2d_X509(cert, &der);

	if (n < 0 || tl_blob_set(&tpm->chain[tpm->n_chain], der, (size_t)n) < 0)
		return -ENOMEM;
	tpm->n_chain++;
	return 0;
}

static int bad_chain(struct tl_error *err, const char *path, const char *what)
{
	ERR_clear_error();
	return tl_fail(err, TL_E_AK_CERT, EBADMSG, "intermediate certificates '%s': %s", path,
		       what);
}

/* A chain that doesn't lead from the key upwards would only be noticed by the verifier. */
static int read_chain_pem(struct tpm *tpm, const char *path, BIO *pem, struct tl_error *err)
{
	const unsigned char *p = tpm->ak.cert.bytes;
	auto_x509 X509 *below = d2i_X509(NULL, &p, (long)tpm->ak.cert.n);

	for (;;) {
		auto_x509 X509 *cert = PEM_read_bio_X509(pem, NULL, NULL, NULL);
		X509 *old = below;

		if (!cert)
			break;
		if (tpm->n_chain >= TL_CHAIN_MAX)
			return bad_chain(err, path, "more than four");
		if (!below || X509_verify(below, X509_get0_pubkey(cert)) != 1)
			return bad_chain(err, path,
					 "not in order, each by the next, from the "
					 "attestation key's issuer upwards");
		if (add_to_chain(tpm, cert) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for certificates");
		below = take_ptr(cert);
		X509_free(old);
	}
	if (!tpm->n_chain || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return bad_chain(err, path, "no certificate in PEM, or a broken one");
	ERR_clear_error();
	return 0;
}

static int read_chain(struct tpm *tpm, const char *path, struct tl_error *err)
{
	struct tl_error inner = { 0 };
	auto_bio BIO *pem = NULL;
	auto_buf struct tl_buf text = { 0 };
	int r;

	tl_buf_init(&text, CHAIN_MAX_BYTES);
	r = tl_file_read(path, &text, &inner);
	if (r < 0)
		return tl_fail(err, inner.code == TL_E_IO ? TL_E_AK_CERT : inner.code, -r,
			       "intermediate certificates: %s", inner.msg);
	pem = BIO_new_mem_buf(tl_buf_str(&text), (int)text.len_bytes);
	if (!pem)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for certificates");
	ERR_clear_error();
	return read_chain_pem(tpm, path, pem, err);
}

static int tpm_connect(const char *tcti, struct tpm *tpm, struct tl_error *err)
{
	struct tpm_link *link = NULL;
	int r = tpm_link_open(tcti, TPM_COMMAND_BUDGET_MS, &link, err);

	return r < 0 ? r : tpm_esys_init(&tpm->esys, link, err);
}

static int tpm_prepare(struct tpm *tpm, const struct tl_tpm_options *options,
		       struct tl_strv *warnings, struct tl_error *err)
{
	int r = read_firmware_log(options->firmware_log, &tpm->firmware_log, err);

	if (r >= 0)
		r = tpm_connect(options->tcti, tpm, err);
	if (r >= 0)
		r = tpm_read_banks(&tpm->esys, &tpm->banks, &tpm->selections, err);
	if (r < 0)
		return r;
	tpm_set_lockout_limits(&tpm->esys, warnings);
	r = tpm_ak_load(&tpm->esys, &tpm->ak, err);
	if (r >= 0)
		tpm->ak_key = quote_key_read(&tpm->ak.cert);
	if (r >= 0 && options->ak_chain)
		r = read_chain(tpm, options->ak_chain, err);
	return r;
}

int tl_tpm_open(const struct tl_tpm_options *options, struct tl_tee **ret, struct tl_error *err)
{
	auto_tpm struct tpm *tpm = calloc(1, sizeof(*tpm));
	auto_strv struct tl_strv warnings = { 0 };
	int r;

	if (!tpm)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the TPM");
	tpm->ak.handle = ESYS_TR_NONE;
	tl_buf_init(&tpm->firmware_log, FIRMWARE_LOG_MAX_BYTES);
	r = tpm_prepare(tpm, options, &warnings, err);
	if (r >= 0)
		r = tl_tee_new(&tpm_ops, tpm, &tpm->banks, &warnings, ret, err);
	if (r >= 0)
		tpm = NULL;
	return r;
}
