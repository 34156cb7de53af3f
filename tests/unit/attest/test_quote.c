/* SPDX-License-Identifier: Apache-2.0 */
/* Quotes put together by hand from TPM 2.0 part 2, signed by OpenSSL: no TPM, no code under test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/evidence.h>

#define NONCE   "a nonce"
#define CERTIFY 0x8017 /* TPM_ST_ATTEST_CERTIFY */

/* What goes into TPMS_ATTEST; each test turns one thing wrong. */
struct facts {
	uint32_t magic;
	uint16_t type;
	const char *nonce;
	uint32_t n_selections;
	uint16_t bank;
	uint8_t bitmap[3];
	uint16_t sig_hash;
	bool has_trailing_byte;
};

static const struct facts good = {
	.magic = 0xff544347, /* TPM_GENERATED_VALUE */
	.type = 0x8018,      /* TPM_ST_ATTEST_QUOTE */
	.nonce = NONCE,
	.n_selections = 1,
	.bank = TL_SHA1,
	.bitmap = { 0x81, 0x20, 0x80 }, /* 0, 7, 13, 23 */
	.sig_hash = TL_SHA256,
};

struct keys {
	EVP_PKEY *ec;
	EVP_PKEY *ec384;
	EVP_PKEY *rsa;
	EVP_PKEY *k1; /* a curve that isn't NIST's */
	struct tl_blob ec_cert, ec384_cert, rsa_cert, k1_cert;
};

static void certify(EVP_PKEY *key, struct tl_blob *ret)
{
	X509 *cert = X509_new();
	unsigned char *der = NULL;
	int n;

	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	n = i2d_X509(cert, &der);
	assert_true(n > 0);
	assert_int_equal(tl_blob_set(ret, der, (size_t)n), 0);
	OPENSSL_free(der);
	X509_free(cert);
}

static int make_keys(void **state)
{
	struct keys *k = calloc(1, sizeof(*k));

	k->ec = EVP_EC_gen("P-256");
	k->ec384 = EVP_EC_gen("P-384");
	k->rsa = EVP_RSA_gen(2048);
	k->k1 = EVP_EC_gen("secp256k1");
	certify(k->ec, &k->ec_cert);
	certify(k->ec384, &k->ec384_cert);
	certify(k->rsa, &k->rsa_cert);
	certify(k->k1, &k->k1_cert);
	*state = k;
	return 0;
}

static int free_keys(void **state)
{
	struct keys *k = *state;

	EVP_PKEY_free(k->ec);
	EVP_PKEY_free(k->ec384);
	EVP_PKEY_free(k->rsa);
	EVP_PKEY_free(k->k1);
	tl_blob_done(&k->ec_cert);
	tl_blob_done(&k->ec384_cert);
	tl_blob_done(&k->rsa_cert);
	tl_blob_done(&k->k1_cert);
	free(k);
	return 0;
}

static void put_2b(struct tl_buf *b, const void *data, size_t n)
{
	assert_int_equal(tl_buf_append_be16(b, (uint16_t)n), 0);
	assert_int_equal(tl_buf_append(b, data, n), 0);
}

static void put_pcr_digest(struct tl_buf *b, const struct tl_quote *q, uint16_t hash)
{
	uint8_t all[TL_PCRS_MAX * TL_HASH_SIZE_MAX], digest[TL_HASH_SIZE_MAX];
	size_t size = tl_hash_size(q->hash);

	for (size_t i = 0; i < q->n_pcrs; i++)
		memcpy(all + i * size, q->pcrs[i].bytes, size);
	assert_int_equal(tl_digest(hash, all, q->n_pcrs * size, digest), 0);
	put_2b(b, digest, tl_hash_size(hash));
}

/* Part 2, 10.12.8 TPMS_ATTEST and 10.12.4 TPMS_QUOTE_INFO. */
static void make_attest(const struct facts *f, struct tl_quote *q)
{
	struct tl_buf b;

	tl_buf_init(&b, 4096);
	assert_int_equal(tl_buf_append_be32(&b, f->magic), 0);
	assert_int_equal(tl_buf_append_be16(&b, f->type), 0);
	put_2b(&b, "signer", 6);
	put_2b(&b, f->nonce, strlen(f->nonce));
	assert_int_equal(tl_buf_append_be64(&b, 1), 0); /* clock */
	assert_int_equal(tl_buf_append_be32(&b, 2), 0); /* reset count */
	assert_int_equal(tl_buf_append_be32(&b, 3), 0); /* restart count */
	assert_int_equal(tl_buf_append_u8(&b, 1), 0);   /* safe */
	assert_int_equal(tl_buf_append_be64(&b, 4), 0); /* firmware */
	if (f->type == CERTIFY) {                       /* 10.12.3 TPMS_CERTIFY_INFO: two names */
		put_2b(&b, "name", 4);
		put_2b(&b, "qualified", 9);
		assert_int_equal(tl_blob_set(&q->attest, b.data, b.len_bytes), 0);
		tl_buf_done(&b);
		return;
	}
	assert_int_equal(tl_buf_append_be32(&b, f->n_selections), 0);
	for (uint32_t i = 0; i < f->n_selections; i++) {
		assert_int_equal(tl_buf_append_be16(&b, f->bank), 0);
		assert_int_equal(tl_buf_append_u8(&b, sizeof(f->bitmap)), 0);
		assert_int_equal(tl_buf_append(&b, f->bitmap, sizeof(f->bitmap)), 0);
	}
	put_pcr_digest(&b, q, f->sig_hash);
	if (f->has_trailing_byte)
		assert_int_equal(tl_buf_append_u8(&b, 0), 0);
	assert_int_equal(tl_blob_set(&q->attest, b.data, b.len_bytes), 0);
	tl_buf_done(&b);
}

static void put_ecdsa(struct tl_buf *b, const unsigned char *der, size_t n, size_t field)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	unsigned char r[48], s[48];

	assert_non_null(sig);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), r, (int)field), field);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), s, (int)field), field);
	put_2b(b, r, field);
	put_2b(b, s, field);
	ECDSA_SIG_free(sig);
}

/* Part 2, 11.3.4 TPMT_SIGNATURE: 0x0018 ECDSA, 0x0014 RSASSA. */
static void sign(EVP_PKEY *key, const EVP_MD *md, uint16_t sig_hash, struct tl_quote *q)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char der[512];
	size_t n = sizeof(der);
	struct tl_buf b;

	tl_buf_init(&b, 4096);
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(ctx, der, &n, q->attest.bytes, q->attest.n), 1);
	assert_int_equal(tl_buf_append_be16(&b, EVP_PKEY_is_a(key, "EC") ? 0x0018 : 0x0014), 0);
	assert_int_equal(tl_buf_append_be16(&b, sig_hash), 0);
	if (EVP_PKEY_is_a(key, "EC"))
		put_ecdsa(&b, der, n, (size_t)EVP_PKEY_get_bits(key) / 8);
	else
		put_2b(&b, der, n);
	assert_int_equal(tl_blob_set(&q->signature, b.data, b.len_bytes), 0);
	tl_buf_done(&b);
	EVP_MD_CTX_free(ctx);
}

static void set_values(struct tl_quote *q)
{
	static const uint8_t indices[] = { 0, 7, 13, 23 };

	q->hash = TL_SHA1;
	q->n_pcrs = sizeof(indices);
	for (size_t i = 0; i < sizeof(indices); i++) {
		q->pcrs[i].index = indices[i];
		memset(q->pcrs[i].bytes, 0x40 + (int)i, 20);
	}
}

static void make_quote(EVP_PKEY *key, const struct facts *f, struct tl_quote *q)
{
	const EVP_MD *md = f->sig_hash == TL_SHA256 ? EVP_sha256() : EVP_sha384();

	*q = (struct tl_quote){ 0 };
	set_values(q);
	make_attest(f, q);
	sign(key, md, f->sig_hash, q);
}

static void quote_done(struct tl_quote *q)
{
	tl_blob_done(&q->attest);
	tl_blob_done(&q->signature);
}

static int check(const struct tl_quote *q, const struct tl_blob *cert, struct tl_error *err)
{
	return tl_quote_check(q, cert, NONCE, strlen(NONCE), err);
}

static void good_quotes_of_each_kind_of_key_pass(void **state)
{
	const struct keys *k = *state;
	struct facts sha384 = good;
	struct tl_error err = { 0 };
	struct tl_quote q;

	make_quote(k->ec, &good, &q);
	if (check(&q, &k->ec_cert, &err) < 0)
		fail_msg("%s", err.msg);
	quote_done(&q);
	make_quote(k->rsa, &good, &q);
	assert_int_equal(check(&q, &k->rsa_cert, NULL), 0);
	quote_done(&q);
	sha384.sig_hash = TL_SHA384;
	make_quote(k->ec384, &sha384, &q);
	assert_int_equal(check(&q, &k->ec384_cert, NULL), 0);
	quote_done(&q);
}

static void assert_refused(EVP_PKEY *key, const struct tl_blob *cert, const struct facts *f,
			   const char *why)
{
	struct tl_error err = { 0 };
	struct tl_quote q;

	make_quote(key, f, &q);
	assert_int_equal(check(&q, cert, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_QUOTE_INVALID);
	if (!strstr(err.msg, why))
		fail_msg("'%s' lacks '%s'", err.msg, why);
	quote_done(&q);
}

static void signed_bytes_that_are_no_quote_of_ours_are_refused(void **state)
{
	const struct keys *k = *state;
	struct facts f = good;

	f.magic = 0xff544348;
	assert_refused(k->ec, &k->ec_cert, &f, "not a quote");
	f = good;
	f.type = CERTIFY;
	assert_refused(k->ec, &k->ec_cert, &f, "signed by the TPM, but not a quote");
	f = good;
	f.nonce = "another";
	assert_refused(k->ec, &k->ec_cert, &f, "another nonce");
	f.nonce = NONCE "!";
	assert_refused(k->ec, &k->ec_cert, &f, "another nonce");
	f.nonce = "";
	assert_refused(k->ec, &k->ec_cert, &f, "another nonce");
	f = good;
	f.has_trailing_byte = true;
	assert_refused(k->ec, &k->ec_cert, &f, "not a TPMS_ATTEST");
}

static void a_quote_over_other_pcrs_is_refused(void **state)
{
	const struct keys *k = *state;
	struct facts f = good;

	f.bank = TL_SHA256;
	assert_refused(k->ec, &k->ec_cert, &f, "other banks");
	f = good;
	f.n_selections = 2;
	assert_refused(k->ec, &k->ec_cert, &f, "other banks");
	f.n_selections = 0;
	assert_refused(k->ec, &k->ec_cert, &f, "other banks");
	f = good;
	f.bitmap[1] = 0; /* PCR 13 isn't covered, but its value is claimed */
	assert_refused(k->ec, &k->ec_cert, &f, "other PCRs");
	f.bitmap[1] = 0x60; /* PCR 14 is covered, but kept quiet about */
	assert_refused(k->ec, &k->ec_cert, &f, "other PCRs");
}

static void a_key_of_another_kind_is_refused(void **state)
{
	const struct keys *k = *state;
	struct facts sha384 = good;
	const struct tl_blob no_cert = { 0 };

	sha384.sig_hash = TL_SHA384;
	assert_refused(k->ec, &k->rsa_cert, &good, "this kind of signature");
	assert_refused(k->rsa, &k->ec_cert, &good, "this kind of signature");
	assert_refused(k->k1, &k->k1_cert, &good, "this kind of signature");
	assert_refused(k->ec384, &k->ec_cert, &sha384, "isn't by the certificate's key");
	assert_refused(k->ec, &no_cert, &good, "no readable key");
}

static void values_that_differ_are_told_from_a_bad_quote(void **state)
{
	const struct keys *k = *state;
	struct tl_error err = { 0 };
	struct tl_quote q;

	make_quote(k->ec, &good, &q);
	q.pcrs[2].bytes[19] ^= 1;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_QUOTE_PCRS);
	assert_int_equal(err.class, TL_RETRY);
	quote_done(&q);
}

static void values_out_of_order_are_refused(void **state)
{
	const struct keys *k = *state;
	struct tl_error err = { 0 };
	struct tl_quote q;

	make_quote(k->ec, &good, &q);
	q.pcrs[1].index = 13;
	q.pcrs[2].index = 7;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_QUOTE_INVALID);
	q.pcrs[1].index = 7;
	q.pcrs[2].index = 7;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	q.pcrs[2].index = 200;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	q.n_pcrs = 0;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	q.n_pcrs = TL_PCRS_MAX + 1;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	q.hash = 0x0012;
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_QUOTE_INVALID);
	quote_done(&q);
}

static void every_changed_bit_is_refused(void **state)
{
	const struct keys *k = *state;
	struct tl_blob *parts[2];
	struct tl_quote q;

	make_quote(k->ec, &good, &q);
	parts[0] = &q.attest;
	parts[1] = &q.signature;
	for (size_t p = 0; p < TL_ARRAY_SIZE(parts); p++) {
		for (size_t i = 0; i < parts[p]->n * 8; i++) {
			struct tl_error err = { 0 };

			parts[p]->bytes[i / 8] ^= (uint8_t)(1 << i % 8);
			assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
			assert_int_equal(err.code, TL_E_QUOTE_INVALID);
			parts[p]->bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		}
	}
	assert_int_equal(check(&q, &k->ec_cert, NULL), 0);
	quote_done(&q);
}

static void bytes_after_the_signature_are_refused(void **state)
{
	const struct keys *k = *state;
	struct tl_error err = { 0 };
	uint8_t longer[128] = { 0 };
	struct tl_quote q;
	size_t n;

	make_quote(k->ec, &good, &q);
	n = q.signature.n;
	memcpy(longer, q.signature.bytes, n);
	assert_int_equal(tl_blob_set(&q.signature, longer, n + 1), 0);
	assert_int_equal(check(&q, &k->ec_cert, &err), -EBADMSG);
	assert_string_equal(err.msg, "quote of bank sha1: not a TPMT_SIGNATURE");
	quote_done(&q);
}

static void every_cut_quote_is_refused(void **state)
{
	const struct keys *k = *state;
	struct tl_blob *parts[2];
	struct tl_quote q;

	make_quote(k->ec, &good, &q);
	parts[0] = &q.attest;
	parts[1] = &q.signature;
	for (size_t p = 0; p < TL_ARRAY_SIZE(parts); p++) {
		const struct tl_blob whole = *parts[p];

		for (size_t n = 0; n < whole.n; n++) {
			/* A heap copy of the exact size, so that ASan sees a read behind it. */
			*parts[p] = (struct tl_blob){ 0 };
			assert_int_equal(tl_blob_set(parts[p], whole.bytes, n), 0);
			assert_int_equal(check(&q, &k->ec_cert, NULL), -EBADMSG);
			tl_blob_done(parts[p]);
		}
		*parts[p] = whole;
	}
	quote_done(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_quotes_of_each_kind_of_key_pass),
		cmocka_unit_test(signed_bytes_that_are_no_quote_of_ours_are_refused),
		cmocka_unit_test(a_quote_over_other_pcrs_is_refused),
		cmocka_unit_test(a_key_of_another_kind_is_refused),
		cmocka_unit_test(values_that_differ_are_told_from_a_bad_quote),
		cmocka_unit_test(values_out_of_order_are_refused),
		cmocka_unit_test(every_changed_bit_is_refused),
		cmocka_unit_test(every_cut_quote_is_refused),
		cmocka_unit_test(bytes_after_the_signature_are_refused),
	};

	setenv("TSS2_LOG", "all+none", 0);
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
