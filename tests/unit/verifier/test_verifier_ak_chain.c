/* SPDX-License-Identifier: Apache-2.0 */
/* What needs a clock that can be set; the rest of the chain's checks is in tests/integration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/ak_chain.h"

#define DAY       86400
#define MONTH     (30 * DAY)
#define ISSUED_AT INT64_C(1800000000)

/* A root that lives four months, an intermediate for three, an AK for one. */
struct chain {
	EVP_PKEY *key;
	X509 *root, *middle, *ak;
	struct ak_anchors *anchors;
	struct tl_buf ak_der, middle_der;
};

static void add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* All certificates share one key: only names and dates matter here. */
static X509 *make(EVP_PKEY *key, const char *name, const X509 *issuer, int months, bool is_ca)
{
	X509 *x = X509_new();
	X509_NAME *subject = X509_get_subject_name(x);

	assert_int_equal(X509_set_version(x, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1 + months), 1);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(x), ISSUED_AT));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(x), ISSUED_AT + months * MONTH));
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
						    (const unsigned char *)name, -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject),
			 1);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	add_extension(x, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static void to_der(X509 *x, struct tl_buf *ret)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);

	assert_true(n > 0);
	tl_buf_init(ret, 65536);
	assert_int_equal(tl_buf_append(ret, der, (size_t)n), 0);
	OPENSSL_free(der);
}

static char *to_pem(X509 *const *certs, size_t n)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *pem;
	long len;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(PEM_write_bio_X509(bio, certs[i]), 1);
	len = BIO_get_mem_data(bio, &text);
	pem = strndup(text, (size_t)len);
	assert_non_null(pem);
	BIO_free(bio);
	return pem;
}

static void anchor_add(struct ak_anchors *a, const char *name, X509 *x)
{
	auto_free char *pem = to_pem(&x, 1);

	assert_int_equal(ak_anchors_add(a, name, pem, strlen(pem), NULL), 0);
}

static int setup(void **state)
{
	struct chain *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->key = EVP_EC_gen("P-256");
	c->root = make(c->key, "root", NULL, 4, true);
	c->middle = make(c->key, "middle", c->root, 3, true);
	c->ak = make(c->key, "ak", c->middle, 1, false);
	to_der(c->ak, &c->ak_der);
	to_der(c->middle, &c->middle_der);
	c->anchors = ak_anchors_new();
	anchor_add(c->anchors, "ROOT", c->root);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct chain *c = *state;

	EVP_PKEY_free(c->key);
	X509_free(c->root);
	X509_free(c->middle);
	X509_free(c->ak);
	tl_buf_done(&c->ak_der);
	tl_buf_done(&c->middle_der);
	(void)ak_anchors_free(c->anchors);
	free(c);
	return 0;
}

static int verify_at(const struct chain *c, int64_t now_s, struct tl_error *err)
{
	auto_ak_identity struct ak_identity id = { .has_instance = true };
	int r = ak_chain_verify(c->anchors, &c->ak_der, &c->middle_der, 1, now_s, &id, err);

	if (r < 0) {
		assert_true(id.has_instance);
		assert_null(id.key);
	} else {
		assert_string_equal(id.anchor, "ROOT");
		assert_false(id.has_instance);
		assert_int_equal(strlen(id.key_sha256), 64);
	}
	return r;
}

static void a_chain_is_good_between_its_dates_and_not_a_second_longer(void **state)
{
	struct tl_error err = { 0 };

	assert_int_equal(verify_at(*state, ISSUED_AT, &err), 0);
	assert_int_equal(verify_at(*state, ISSUED_AT + MONTH - 1, &err), 0);
	assert_int_equal(verify_at(*state, ISSUED_AT - 1, &err), -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
	assert_non_null(strstr(err.msg, "not yet valid"));
	assert_int_equal(verify_at(*state, ISSUED_AT + MONTH, &err), -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
	assert_non_null(strstr(err.msg, "expired"));
}

static void an_intermediate_or_a_root_of_the_request_vouches_for_nothing(void **state)
{
	struct chain *c = *state;
	auto_ak_anchors struct ak_anchors *others = ak_anchors_new();
	auto_ak_identity struct ak_identity id = { 0 };
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *stranger = make(key, "stranger", NULL, 4, true);
	struct tl_buf sent[2];
	struct tl_error err = { 0 };

	anchor_add(others, "STRANGER", stranger);
	sent[0] = c->middle_der;
	to_der(c->root, &sent[1]);
	assert_int_equal(ak_chain_verify(others, &c->ak_der, sent, 2, ISSUED_AT, &id, &err),
			 -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
	tl_buf_done(&sent[1]);
	X509_free(stranger);
	EVP_PKEY_free(key);
}

static void an_intermediate_given_as_a_root_is_no_root(void **state)
{
	struct chain *c = *state;
	auto_ak_anchors struct ak_anchors *partial = ak_anchors_new();
	auto_ak_identity struct ak_identity id = { 0 };
	struct tl_error err = { 0 };

	anchor_add(partial, "MIDDLE", c->middle);
	assert_int_equal(ak_chain_verify(partial, &c->ak_der, NULL, 0, ISSUED_AT, &id, &err),
			 -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
}

static void every_cut_of_the_certificate_is_refused(void **state)
{
	struct chain *c = *state;

	for (size_t n = 0; n < c->ak_der.len_bytes; n++) {
		auto_free uint8_t *bytes = malloc(n ? n : 1);
		auto_ak_identity struct ak_identity id = { 0 };
		struct tl_buf cut = { .data = bytes, .len_bytes = n };
		struct tl_error err = { 0 };

		assert_non_null(bytes);
		memcpy(bytes, c->ak_der.data, n);
		assert_int_equal(
			ak_chain_verify(c->anchors, &cut, &c->middle_der, 1, ISSUED_AT, &id, &err),
			-EACCES);
		assert_int_equal(err.code, TL_E_VERIFY_AK_CERT);
	}
}

static void root_sets_that_cannot_be_used_are_refused(void **state)
{
	auto_ak_anchors struct ak_anchors *a = ak_anchors_new();
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(ak_anchors_add(a, "A", "", 0, &err), -EINVAL);
	assert_int_equal(ak_anchors_add(a, "A", "junk", 4, &err), -EINVAL);
	assert_int_equal(ak_anchors_add(a, "", "junk", 4, &err), -EINVAL);
	assert_int_equal(ak_anchors_add(a, "A\"B", "junk", 4, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_VERIFY_KEYS);
	assert_int_equal(ak_anchors_count(a), 0);
}

static int verify_without_chain(const struct chain *c, const struct ak_anchors *a,
				struct tl_error *err)
{
	auto_ak_identity struct ak_identity id = { 0 };
	int r = ak_chain_verify(a, &c->ak_der, NULL, 0, ISSUED_AT, &id, err);

	if (r == 0)
		assert_string_equal(id.anchor, "ROOT");
	return r;
}

static void an_intermediate_of_the_options_joins_the_ak_to_its_root(void **state)
{
	struct chain *c = *state;
	auto_ak_anchors struct ak_anchors *a = ak_anchors_new();
	X509 *const certs[] = { c->ak, c->middle };
	auto_free char *pem = to_pem(certs, 2);
	struct tl_error err = { 0 };

	anchor_add(a, "ROOT", c->root);
	assert_int_equal(verify_without_chain(c, a, &err), -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
	assert_int_equal(ak_anchors_add_intermediates(a, pem, strlen(pem), NULL), 0);
	assert_int_equal(verify_without_chain(c, a, &err), 0);
	assert_int_equal(ak_anchors_count(a), 1);
	/* Again: a path is searched, and doubled certificates are no fault. */
	assert_int_equal(ak_anchors_add_intermediates(a, pem, strlen(pem), NULL), 0);
	assert_int_equal(verify_without_chain(c, a, &err), 0);
}

static void an_intermediate_of_the_options_vouches_for_nothing(void **state)
{
	struct chain *c = *state;
	auto_ak_anchors struct ak_anchors *a = ak_anchors_new();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *stranger = make(key, "stranger", NULL, 4, true);
	X509 *const certs[] = { c->middle, c->root };
	auto_free char *pem = to_pem(certs, 2);
	struct tl_error err = { 0 };

	assert_int_equal(ak_anchors_add_intermediates(a, pem, strlen(pem), NULL), 0);
	assert_int_equal(ak_anchors_count(a), 0);
	assert_int_equal(verify_without_chain(c, a, &err), -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
	anchor_add(a, "STRANGER", stranger);
	assert_int_equal(verify_without_chain(c, a, &err), -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_AK_CHAIN);
	X509_free(stranger);
	EVP_PKEY_free(key);
}

static void intermediates_that_cannot_be_read_are_refused(void **state)
{
	struct chain *c = *state;
	auto_ak_anchors struct ak_anchors *a = ak_anchors_new();
	auto_free char *pem = to_pem(&c->middle, 1);
	struct tl_error err = { 0 };

	assert_int_equal(ak_anchors_add_intermediates(a, "", 0, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_VERIFY_KEYS);
	assert_int_equal(ak_anchors_add_intermediates(a, "junk", 4, NULL), -EINVAL);
	assert_int_equal(ak_anchors_add_intermediates(a, pem, strlen(pem) - 40, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_is_good_between_its_dates_and_not_a_second_longer),
		cmocka_unit_test(an_intermediate_or_a_root_of_the_request_vouches_for_nothing),
		cmocka_unit_test(an_intermediate_given_as_a_root_is_no_root),
		cmocka_unit_test(every_cut_of_the_certificate_is_refused),
		cmocka_unit_test(root_sets_that_cannot_be_used_are_refused),
		cmocka_unit_test(an_intermediate_of_the_options_joins_the_ak_to_its_root),
		cmocka_unit_test(an_intermediate_of_the_options_vouches_for_nothing),
		cmocka_unit_test(intermediates_that_cannot_be_read_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
