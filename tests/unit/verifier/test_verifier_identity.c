/* SPDX-License-Identifier: Apache-2.0 */
/* What identity tokens and key sets may cost before they are known to be good; the rest is in
 * tests/integration/verifier.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/evp.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/json_scan.h>

#include "identity.h"
#include "jwk.h"

static size_t allocations;

static void *counting_malloc(size_t n)
{
	allocations++;
	return malloc(n);
}

/* "[1,1,...]" with more values than a document may have. */
static char *many_values(size_t *ret_n)
{
	size_t n = 2 * (TL_JSON_VALUES_MAX + 10);
	char *text = malloc(n + 1);

	assert_non_null(text);
	for (size_t i = 0; i < n; i += 2)
		memcpy(text + i, "1,", 2);
	text[0] = '[';
	text[n - 1] = ']';
	*ret_n = n;
	return text;
}

static struct identity_keys *one_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	json_t *set = json_pack("{s:[o]}", "keys", jwk_public(key));
	auto_free char *text = json_dumps(set, 0);
	struct identity_keys *keys = NULL;

	assert_int_equal(identity_keys_new(text, strlen(text), "https://issuer", &keys, NULL), 0);
	json_decref(set);
	EVP_PKEY_free(key);
	return keys;
}

static void a_key_set_of_too_many_values_is_refused_before_it_is_parsed(void **state)
{
	struct identity_keys *keys = NULL;
	struct tl_error err = { 0 };
	auto_free char *text = NULL;
	size_t n = 0;

	(void)state;
	text = many_values(&n);
	allocations = 0;
	assert_true(identity_keys_new(text, n, "https://issuer", &keys, &err) < 0);
	assert_int_equal(err.code, TL_E_VERIFY_KEYS);
	assert_null(keys);
	assert_int_equal(allocations, 0);
}

static void a_token_of_too_many_values_is_refused_before_it_is_parsed(void **state)
{
	auto_identity_keys struct identity_keys *keys = one_key();
	auto_secret struct tl_secret token = { 0 };
	auto_free char *text = NULL, *encoded = NULL, *whole = NULL, *email = NULL;
	struct tl_error err = { 0 };
	size_t n = 0;

	(void)state;
	text = many_values(&n);
	encoded = tl_base64_encode(TL_BASE64_URL, text, n);
	assert_true(asprintf(&whole, "%s.%s.AA", encoded, encoded) > 0);
	assert_int_equal(tl_secret_set(&token, whole, strlen(whole)), 0);
	allocations = 0;
	assert_true(identity_check(keys, &token, "me", 0, &email, &err) < 0);
	assert_int_equal(err.code, TL_E_VERIFY_IDENTITY);
	assert_null(email);
	assert_int_equal(allocations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_set_of_too_many_values_is_refused_before_it_is_parsed),
		cmocka_unit_test(a_token_of_too_many_values_is_refused_before_it_is_parsed),
	};

	json_set_alloc_funcs(counting_malloc, free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
