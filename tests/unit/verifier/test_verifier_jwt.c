/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/identity.h"
#include "../../../attest/verifier/jwk.h"
#include "../../../attest/verifier/jwt_sign.h"

#define NOW INT64_C(1800000000)

static void key_pem(EVP_PKEY *key, struct tl_secret *ret)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long n;

	assert_non_null(key);
	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &pem);
	assert_int_equal(tl_secret_set(ret, pem, (size_t)n), 0);
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static void the_thumbprint_is_that_of_rfc_7638(void **state)
{
	/* RFC 7638, 3.1 */
	json_t *jwk = json_pack("{s:s, s:s}", "kty", "RSA", "e", "AQAB");
	EVP_PKEY *key;
	char kid[JWK_KID_MAX] = "";

	(void)state;
	assert_int_equal(
		json_object_set_new(
			jwk, "n",
			json_string(
				"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86"
				"zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W"
				"-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3"
				"68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08"
				"qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0"
				"Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")),
		0);
	key = jwk_key(jwk);
	assert_non_null(key);
	assert_int_equal(jwk_thumbprint(key, kid), 0);
	assert_string_equal(kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
	EVP_PKEY_free(key);
	json_decref(jwk);
}

static void add_key(struct token_keys *k, EVP_PKEY *key)
{
	auto_secret struct tl_secret pem = { 0 };

	key_pem(key, &pem);
	assert_int_equal(token_keys_add(k, &pem, NULL), 0);
}

/* Signs and reads back by the identity checker, under the published set. */
static void round_trip(EVP_PKEY *key, const char *alg)
{
	auto_token_keys struct token_keys *k = token_keys_new();
	auto_identity_keys struct identity_keys *id = NULL;
	auto_secret struct tl_secret token = { 0 };
	auto_free char *email = NULL;
	auto_free char *set_text = NULL;
	struct tl_error err = { 0 };
	json_t *set, *claims, *algs;

	add_key(k, key);
	add_key(k, EVP_RSA_gen(2048));
	algs = token_keys_algs(k);
	assert_string_equal(json_string_value(json_array_get(algs, 0)), alg);
	json_decref(algs);
	set = token_keys_jwks(k);
	assert_int_equal(json_array_size(json_object_get(set, "keys")), 2);
	set_text = json_dumps(set, 0);
	assert_null(strstr(set_text, "\"d\""));
	assert_int_equal(identity_keys_new(set_text, strlen(set_text), "me", &id, NULL), 0);
	claims = json_pack("{s:s, s:s, s:I, s:s, s:b}", "iss", "me", "aud", "you", "exp",
			   (json_int_t)(NOW + 1), "email", "a@b", "email_verified", 1);
	assert_int_equal(jwt_sign(k, claims, &token, NULL), 0);
	assert_int_equal(identity_check(id, &token, "you", NOW, &email, NULL), 0);
	assert_string_equal(email, "a@b");
	free(take_ptr(email));
	assert_int_equal(identity_check(id, &token, "you", NOW + 1, &email, &err), -EACCES);
	assert_int_equal(err.code, TL_E_VERIFY_IDENTITY);
	assert_int_equal(identity_check(id, &token, "me", NOW, &email, &err), -EACCES);
	for (size_t i = 0; i < token.len_bytes; i += 7) {
		char was = token.bytes[i];

		token.bytes[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(identity_check(id, &token, "you", NOW, &email, &err), -EACCES);
		token.bytes[i] = was;
	}
	assert_null(email);
	json_decref(set);
	json_decref(claims);
}

static void tokens_of_both_algorithms_verify_and_changed_ones_do_not(void **state)
{
	(void)state;
	round_trip(EVP_RSA_gen(2048), "RS256");
	round_trip(EVP_EC_gen("P-256"), "ES256");
}

static void keys_of_other_kinds_are_refused(void **state)
{
	EVP_PKEY *const keys[] = { EVP_EC_gen("P-384"), EVP_RSA_gen(1024),
				   EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(keys); i++) {
		auto_token_keys struct token_keys *k = token_keys_new();
		auto_secret struct tl_secret pem = { 0 };
		struct tl_error err = { 0 };

		key_pem(keys[i], &pem);
		assert_int_equal(token_keys_add(k, &pem, &err), -EINVAL);
		assert_int_equal(err.code, TL_E_VERIFY_KEYS);
		assert_int_equal(token_keys_count(k), 0);
	}
}

static void a_key_given_twice_is_refused(void **state)
{
	auto_token_keys struct token_keys *k = token_keys_new();
	auto_secret struct tl_secret pem = { 0 };

	(void)state;
	key_pem(EVP_EC_gen("P-256"), &pem);
	assert_int_equal(token_keys_add(k, &pem, NULL), 0);
	assert_int_equal(token_keys_add(k, &pem, NULL), -EINVAL);
	assert_int_equal(token_keys_count(k), 1);
}

static void key_sets_without_a_usable_key_are_refused(void **state)
{
	static const char *const sets[] = {
		"",
		"{}",
		"[]",
		"{\"keys\":[]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]}",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(sets); i++) {
		struct identity_keys *k = NULL;
		struct tl_error err = { 0 };

		assert_int_equal(identity_keys_new(sets[i], strlen(sets[i]), "x", &k, &err),
				 -EINVAL);
		assert_int_equal(err.code, TL_E_VERIFY_KEYS);
		assert_null(k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_thumbprint_is_that_of_rfc_7638),
		cmocka_unit_test(tokens_of_both_algorithms_verify_and_changed_ones_do_not),
		cmocka_unit_test(keys_of_other_kinds_are_refused),
		cmocka_unit_test(a_key_given_twice_is_refused),
		cmocka_unit_test(key_sets_without_a_usable_key_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
