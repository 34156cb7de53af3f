/* SPDX-License-Identifier: Apache-2.0 */
/* The check of one quote. Structures: TPM 2.0 Library part 2; PCR digest: part 1, 17.6. */
#include <teelaunch/evidence.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <tss2/tss2_mu.h>

#include <teelaunch/cleanup.h>

#include "openssl_auto.h"
#include "quote_key.h"

static const struct sig_hash {
	TPM2_ALG_ID id;
	const EVP_MD *(*md)(void);
} sig_hashes[] = {
	{ TPM2_ALG_SHA256, EVP_sha256 },
	{ TPM2_ALG_SHA384, EVP_sha384 },
	{ TPM2_ALG_SHA512, EVP_sha512 },
};

static int invalid(struct tl_error *err, const struct tl_quote *quote, const char *what)
{
	const char *name = tl_hash_name(quote->hash);

	return tl_fail(err, TL_E_QUOTE_INVALID, EBADMSG, "quote of bank %s: %s",
		       name ? name : "unknown", what);
}

static const EVP_MD *find_md(TPM2_ALG_ID id)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(sig_hashes); i++)
		if (sig_hashes[i].id == id)
			return sig_hashes[i].md();
	return NULL;
}

static TPM2_ALG_ID sig_hash_of(const TPMT_SIGNATURE *sig)
{
	return sig->sigAlg == TPM2_ALG_ECDSA ? sig->signature.ecdsa.hash
					     : sig->signature.rsassa.hash;
}

/* A TPM signs with r and s side by side, OpenSSL wants them as ASN.1 (RFC 3279, 2.2.3). */
static int ecdsa_to_der(const TPMS_SIGNATURE_ECDSA *from, struct tl_blob *ret)
{
	auto_bn BIGNUM *r = BN_bin2bn(from->signatureR.buffer, from->signatureR.size, NULL);
	auto_bn BIGNUM *s = BN_bin2bn(from->signatureS.buffer, from->signatureS.size, NULL);
	auto_ecdsa ECDSA_SIG *sig = ECDSA_SIG_new();
	auto_openssl unsigned char *der = NULL;
	int n;

	if (!r || !s || !sig || ECDSA_SIG_set0(sig, r, s) != 1)
		return -ENOMEM;
	r = s = NULL;
	n = i2d_ECDSA_SIG(sig, &der);
	return n < 0 ? -ENOMEM : tl_blob_set(ret, der, (size_t)n);
}

static bool key_fits(EVP_PKEY *key, const TPMT_SIGNATURE *sig)
{
	char curve[32] = "";

	if (sig->sigAlg == TPM2_ALG_ECDSA)
		return EVP_PKEY_is_a(key, "EC") &&
		       EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) == 1 &&
		       (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "secp384r1") == 0);
	return sig->sigAlg == TPM2_ALG_RSASSA && EVP_PKEY_is_a(key, "RSA") &&
	       EVP_PKEY_get_bits(key) >= 2048;
}

static int signature_bytes(const TPMT_SIGNATURE *sig, struct tl_blob *ret)
{
	if (sig->sigAlg == TPM2_ALG_ECDSA)
		return ecdsa_to_der(&sig->signature.ecdsa, ret);
	return tl_blob_set(ret, sig->signature.rsassa.sig.buffer, sig->signature.rsassa.sig.size);
}

static int check_signature(const struct tl_quote *quote, EVP_PKEY *key, const TPMT_SIGNATURE *sig,
			   struct tl_error *err)
{
	auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	auto_blob struct tl_blob bytes = { 0 };
	const EVP_MD *md;

	/* RSA's default padding in OpenSSL is PKCS #1 v1.5, which is RSASSA. */
	if (!key_fits(key, sig))
		return invalid(err, quote,
			       "the certificate's key can't have made this kind of "
			       "signature");
	md = find_md(sig_hash_of(sig));
	if (!md)
		return invalid(err, quote, "signature isn't over SHA-256, SHA-384 or SHA-512");
	if (!ctx || signature_bytes(sig, &bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory to check a quote");
	if (EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) != 1 ||
	    EVP_DigestVerify(ctx, bytes.bytes, bytes.n, quote->attest.bytes, quote->attest.n) != 1)
		return invalid(err, quote, "signature isn't by the certificate's key");
	return 0;
}

static int parse_attest(const struct tl_quote *quote, TPMS_ATTEST *ret, struct tl_error *err)
{
	size_t offset = 0;

	if (Tss2_MU_TPMS_ATTEST_Unmarshal(quote->attest.bytes, quote->attest.n, &offset, ret) !=
		    TSS2_RC_SUCCESS ||
	    offset != quote->attest.n)
		return invalid(err, quote, "not a TPMS_ATTEST");
	if (ret->magic != TPM2_GENERATED_VALUE || ret->type != TPM2_ST_ATTEST_QUOTE)
		return invalid(err, quote, "signed by the TPM, but not a quote");
	return 0;
}

static int parse_signature(const struct tl_quote *quote, TPMT_SIGNATURE *ret, struct tl_error *err)
{
	size_t offset = 0;

	if (Tss2_MU_TPMT_SIGNATURE_Unmarshal(quote->signature.bytes, quote->signature.n, &offset,
					     ret) != TSS2_RC_SUCCESS ||
	    offset != quote->signature.n)
		return invalid(err, quote, "not a TPMT_SIGNATURE");
	return 0;
}

static int check_selection(const struct tl_quote *quote, const TPML_PCR_SELECTION *quoted,
			   struct tl_error *err)
{
	const TPMS_PCR_SELECTION *selection = &quoted->pcrSelections[0];
	uint32_t have = 0, want = 0;

	if (quoted->count != 1 || selection->hash != quote->hash || selection->sizeofSelect > 4)
		return invalid(err, quote, "it covers other banks");
	for (size_t i = 0; i < selection->sizeofSelect; i++)
		have |= (uint32_t)selection->pcrSelect[i] << 8 * i;
	if (quote->n_pcrs < 1 || quote->n_pcrs > TL_PCRS_MAX)
		return invalid(err, quote, "no PCR values, or too many");
	for (size_t i = 0; i < quote->n_pcrs; i++) {
		uint8_t index = quote->pcrs[i].index;

		if (index >= TL_PCRS_MAX || (i && index <= quote->pcrs[i - 1].index))
			return invalid(err, quote, "PCR values aren't in ascending order");
		want |= 1U << index;
	}
	if (have != want)
		return invalid(err, quote, "it covers other PCRs");
	return 0;
}

static int check_values(const struct tl_quote *quote, TPM2_ALG_ID hash, const TPM2B_DIGEST *quoted,
			struct tl_error *err)
{
	size_t size = tl_hash_size(quote->hash);
	uint8_t all[TL_PCRS_MAX * TL_HASH_SIZE_MAX], digest[TL_HASH_SIZE_MAX];

	for (size_t i = 0; i < quote->n_pcrs; i++)
		memcpy(all + i * size, quote->pcrs[i].bytes, size);
	if (tl_digest(hash, all, quote->n_pcrs * size, digest) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "hash PCR values");
	if (quoted->size != tl_hash_size(hash) || memcmp(quoted->buffer, digest, quoted->size) != 0)
		return tl_fail(err, TL_E_QUOTE_PCRS, EBADMSG,
			       "quote of bank %s: the PCR values aren't the quoted ones",
			       tl_hash_name(quote->hash));
	return 0;
}

static int check_with_key(const struct tl_quote *quote, EVP_PKEY *key, const void *nonce,
			  size_t nonce_len, struct tl_error *err)
{
	TPMT_SIGNATURE sig = { 0 };
	TPMS_ATTEST attest = { 0 };
	int r = parse_signature(quote, &sig, err);

	if (r >= 0)
		r = check_signature(quote, key, &sig, err);
	if (r >= 0)
		r = parse_attest(quote, &attest, err);
	if (r < 0)
		return r;
	if (!nonce_len || attest.extraData.size != nonce_len ||
	    memcmp(attest.extraData.buffer, nonce, nonce_len) != 0)
		return invalid(err, quote, "it was made for another nonce");
	r = check_selection(quote, &attest.attested.quote.pcrSelect, err);
	if (r < 0)
		return r;
	return check_values(quote, sig_hash_of(&sig), &attest.attested.quote.pcrDigest, err);
}

EVP_PKEY *quote_key_read(const struct tl_blob *cert_der)
{
	const unsigned char *p = cert_der->bytes;
	auto_x509 X509 *cert = NULL;
	EVP_PKEY *key;

	if (cert_der->n <= LONG_MAX)
		cert = d2i_X509(NULL, &p, (long)cert_der->n);
	key = cert ? X509_get_pubkey(cert) : NULL;
	ERR_clear_error();
	return key;
}

int quote_check_by_key(const struct tl_quote *quote, EVP_PKEY *key, const void *nonce,
		       size_t nonce_len, struct tl_error *err)
{
	int r;

	if (!tl_hash_size(quote->hash))
		return invalid(err, quote, "unknown hash of the bank");
	if (!key)
		return invalid(err, quote, "the certificate has no readable key");
	r = check_with_key(quote, key, nonce, nonce_len, err);
	/* What was wrong is said; a later caller must not find it in the thread's queue. */
	ERR_clear_error();
	return r;
}

int tl_quote_check(const struct tl_quote *quote, const struct tl_blob *cert_der, const void *nonce,
		   size_t nonce_len, struct tl_error *err)
{
	EVP_PKEY *key = quote_key_read(cert_der);
	int r = quote_check_by_key(quote, key, nonce, nonce_len, err);

	EVP_PKEY_free(key);
	return r;
}
