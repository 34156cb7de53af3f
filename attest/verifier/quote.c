/* SPDX-License-Identifier: Apache-2.0 */
#include "quote.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <tss2/tss2_mu.h>

#include <teelaunch/cleanup.h>

static uint32_t mask_of(const TPMS_PCR_SELECTION *sel)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < sel->sizeofSelect && i < 4; i++)
		mask |= (uint32_t)sel->pcrSelect[i] << (8 * i);
	return mask;
}

int quote_parse(const void *data, size_t n, struct quote *ret, struct tl_error *err)
{
	TPMS_ATTEST att = { 0 };
	const TPMS_PCR_SELECTION *sel = &att.attested.quote.pcrSelect.pcrSelections[0];
	struct quote q = { 0 };
	size_t at = 0;

	if (Tss2_MU_TPMS_ATTEST_Unmarshal(data, n, &at, &att) != TSS2_RC_SUCCESS || at != n)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the quote is not one whole TPMS_ATTEST (%zu bytes)", n);
	if (att.magic != TPM2_GENERATED_VALUE)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the quote has magic %08x; a TPM writes %08x", att.magic,
			       (unsigned int)TPM2_GENERATED_VALUE);
	if (att.type != TPM2_ST_ATTEST_QUOTE)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the attestation is of type %04x, not a quote (%04x)", att.type,
			       (unsigned int)TPM2_ST_ATTEST_QUOTE);
	if (att.attested.quote.pcrSelect.count != 1 || mask_of(sel) >> PCRS_MAX)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the quote selects %u banks; one, with PCRs 0 to 23, was due",
			       att.attested.quote.pcrSelect.count);
	if (att.qualifiedSigner.size > sizeof(q.signer) || att.extraData.size > sizeof(q.extra) ||
	    att.attested.quote.pcrDigest.size > sizeof(q.digest))
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG, "a field of the quote is too long");
	q.signer_n = att.qualifiedSigner.size;
	memcpy(q.signer, att.qualifiedSigner.name, q.signer_n);
	q.extra_n = att.extraData.size;
	memcpy(q.extra, att.extraData.buffer, q.extra_n);
	q.digest_n = att.attested.quote.pcrDigest.size;
	memcpy(q.digest, att.attested.quote.pcrDigest.buffer, q.digest_n);
	q.reset_count = att.clockInfo.resetCount;
	q.restart_count = att.clockInfo.restartCount;
	q.firmware_version = att.firmwareVersion;
	q.bank = sel->hash;
	q.pcr_mask = mask_of(sel);
	*ret = q;
	return 0;
}

static bool copy_ecdsa(const TPMS_SIGNATURE_ECDSA *sig, struct quote_signature *ret)
{
	if (sig->signatureR.size > sizeof(ret->s) || sig->signatureS.size > sizeof(ret->s))
		return false;
	ret->is_ecdsa = true;
	ret->hash = sig->hash;
	ret->r_n = sig->signatureR.size;
	ret->s_n = sig->signatureS.size;
	memcpy(ret->r, sig->signatureR.buffer, ret->r_n);
	memcpy(ret->s, sig->signatureS.buffer, ret->s_n);
	return true;
}

static bool copy_rsassa(const TPMS_SIGNATURE_RSASSA *sig, struct quote_signature *ret)
{
	if (sig->sig.size > sizeof(ret->r))
		return false;
	ret->hash = sig->hash;
	ret->r_n = sig->sig.size;
	memcpy(ret->r, sig->sig.buffer, ret->r_n);
	return true;
}

int quote_signature_parse(const void *data, size_t n, struct quote_signature *ret,
			  struct tl_error *err)
{
	TPMT_SIGNATURE sig = { 0 };
	struct quote_signature q = { 0 };
	bool is_copied = false;
	size_t at = 0;

	if (Tss2_MU_TPMT_SIGNATURE_Unmarshal(data, n, &at, &sig) != TSS2_RC_SUCCESS || at != n)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the quote's signature is not one whole TPMT_SIGNATURE (%zu bytes)",
			       n);
	if (sig.sigAlg == TPM2_ALG_ECDSA)
		is_copied = copy_ecdsa(&sig.signature.ecdsa, &q);
	else if (sig.sigAlg == TPM2_ALG_RSASSA)
		is_copied = copy_rsassa(&sig.signature.rsassa, &q);
	if (!is_copied)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the quote's signature has algorithm %04x; ECDSA (0018) and RSASSA "
			       "(0014) are read",
			       sig.sigAlg);
	if (q.hash != TL_SHA256 && q.hash != TL_SHA384 && q.hash != TL_SHA512)
		return tl_fail(err, TL_E_VERIFY_QUOTE, EBADMSG,
			       "the quote is signed over hash %04x; sha256, sha384 or sha512 was "
			       "due",
			       q.hash);
	*ret = q;
	return 0;
}

/* OpenSSL wants ECDSA signatures in DER. NULL when r or s can't be one's. */
static unsigned char *ecdsa_der(const struct quote_signature *sig, size_t *ret_n)
{
	ECDSA_SIG *es = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig->r, (int)sig->r_n, NULL);
	BIGNUM *s = BN_bin2bn(sig->s, (int)sig->s_n, NULL);
	unsigned char *der = NULL;
	int n = 0;

	if (es && r && s && ECDSA_SIG_set0(es, r, s) == 1) {
		n = i2d_ECDSA_SIG(es, &der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(es);
	*ret_n = n > 0 ? (size_t)n : 0;
	return der;
}

static bool signature_is_good(const struct quote_signature *sig, const struct tl_buf *quote,
			      EVP_PKEY *key)
{
	const char *hash = tl_hash_name(sig->hash);
	unsigned char *der = NULL;
	const unsigned char *bytes = sig->r;
	size_t n = sig->r_n;
	EVP_MD_CTX *ctx;
	EVP_PKEY_CTX *pctx = NULL;
	bool is_good = false;

	if (!EVP_PKEY_is_a(key, sig->is_ecdsa ? "EC" : "RSA"))
		return false;
	if (sig->is_ecdsa) {
		der = ecdsa_der(sig, &n);
		if (!der)
			return false;
		bytes = der;
	}
	ctx = EVP_MD_CTX_new();
	if (ctx && EVP_DigestVerifyInit_ex(ctx, &pctx, hash, NULL, NULL, key, NULL) == 1 &&
	    (sig->is_ecdsa || EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) == 1))
		is_good = EVP_DigestVerify(ctx, bytes, n, quote->data, quote->len_bytes) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	ERR_clear_error();
	return is_good;
}

/* Part 2, 10.12.1: over the values in ascending order, with the hash of the signing scheme. */
static bool digest_is_good(const struct bank_evidence *b, const struct quote *q,
			   uint16_t scheme_hash, uint8_t digest[TL_HASH_SIZE_MAX])
{
	auto_hasher struct tl_hasher *h = tl_hasher_new(scheme_hash);

	if (!h || q->digest_n != tl_hash_size(scheme_hash))
		return false;
	for (size_t i = 0; i < PCRS_MAX; i++)
		if ((q->pcr_mask >> i & 1) &&
		    tl_hasher_update(h, b->pcrs.value[i], tl_hash_size(b->hash)) < 0)
			return false;
	return tl_hasher_final(h, digest) == 0 &&
	       CRYPTO_memcmp(digest, q->digest, q->digest_n) == 0;
}

static void content_check(const struct bank_evidence *b, const struct quote *q,
			  const uint8_t *nonce, size_t nonce_n, struct refusals *refusals)
{
	const char *bank = tl_hash_name(b->hash);

	if (q->extra_n != nonce_n || CRYPTO_memcmp(q->extra, nonce, nonce_n) != 0) {
		refuse(refusals, TL_E_VERIFY_NONCE,
		       "the %s quote carries another nonce than this challenge's", bank);
		refuse_bytes(refusals, nonce, nonce_n, q->extra, q->extra_n);
	}
	if (q->bank != b->hash)
		refuse(refusals, TL_E_VERIFY_QUOTE, "the quote given for bank %s is over bank %04x",
		       bank, q->bank);
	if (q->pcr_mask != b->pcrs.mask)
		refuse(refusals, TL_E_VERIFY_QUOTE,
		       "the %s quote selects PCRs %06x, but values are given for %06x", bank,
		       q->pcr_mask, b->pcrs.mask);
	if ((q->pcr_mask & QUOTE_PCRS_NEEDED) != QUOTE_PCRS_NEEDED)
		refuse(refusals, TL_E_VERIFY_BANKS,
		       "the %s quote selects PCRs %06x; 0 to 9 and 13 are needed", bank,
		       q->pcr_mask);
}

void quote_check(const struct bank_evidence *bank, const uint8_t *nonce, size_t nonce_n,
		 EVP_PKEY *key, struct quote *ret, struct refusals *refusals)
{
	const char *name = tl_hash_name(bank->hash);
	struct quote_signature sig = { 0 };
	struct quote q = { 0 };
	struct tl_error err = { 0 };
	bool is_read = true, is_signature_read = true;
	uint8_t digest[TL_HASH_SIZE_MAX] = { 0 };

	if (quote_parse(bank->quote.data, bank->quote.len_bytes, &q, &err) < 0) {
		is_read = false;
		(void)tl_wrap(&err, -1, "%s bank", name);
		refuse_error(refusals, &err);
	}
	if (quote_signature_parse(bank->signature.data, bank->signature.len_bytes, &sig, &err) <
	    0) {
		is_signature_read = false;
		(void)tl_wrap(&err, -1, "%s bank", name);
		refuse_error(refusals, &err);
	}
	if (is_read)
		content_check(bank, &q, nonce, nonce_n, refusals);
	if (is_signature_read && key && !signature_is_good(&sig, &bank->quote, key))
		refuse(refusals, TL_E_VERIFY_SIGNATURE,
		       "the %s quote is not signed by the key of the AK certificate", name);
	if (is_read && is_signature_read && !digest_is_good(bank, &q, sig.hash, digest)) {
		refuse(refusals, TL_E_VERIFY_PCR_DIGEST,
		       "the PCR values given for bank %s are not the quoted ones", name);
		refuse_bytes(refusals, q.digest, q.digest_n, digest, tl_hash_size(sig.hash));
	}
	if (is_read)
		*ret = q;
}

static bool is_same_boot(const struct quote *a, const struct quote *b)
{
	return a->signer_n == b->signer_n && memcmp(a->signer, b->signer, a->signer_n) == 0 &&
	       a->reset_count == b->reset_count && a->restart_count == b->restart_count &&
	       a->firmware_version == b->firmware_version;
}

void quotes_check(const struct verify_request *req, const uint8_t *nonce, size_t nonce_n,
		  EVP_PKEY *key, struct refusals *refusals)
{
	struct quote first = { 0 };
	bool has_strong_bank = false;

	for (size_t i = 0; i < req->banks_n; i++) {
		struct quote q = { 0 };

		quote_check(&req->banks[i], nonce, nonce_n, key, &q, refusals);
		if (req->banks[i].hash == TL_SHA256 || req->banks[i].hash == TL_SHA384)
			has_strong_bank = true;
		if (i == 0)
			first = q;
		else if (first.bank && q.bank && !is_same_boot(&first, &q))
			refuse(refusals, TL_E_VERIFY_QUOTE,
			       "the %s and %s quotes are not by one key in one boot",
			       tl_hash_name(req->banks[0].hash), tl_hash_name(req->banks[i].hash));
	}
	if (!has_strong_bank)
		refuse(refusals, TL_E_VERIFY_BANKS,
		       "neither the sha256 nor the sha384 bank is quoted");
}
