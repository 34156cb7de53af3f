/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens and key sets as `teelaunch verify` and teeverifierd judge them. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "../../attest/verifier/jwk.h"
#include "../../attest/verifier/token_check.h"

/* One key that nobody can sign with any more. */
static struct jwk_set *keys_make(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	json_auto_t *set = json_pack("{s:[o]}", "keys", jwk_public(key));
	auto_free char *text = json_dumps(set, 0);
	struct jwk_set *keys = NULL;

	EVP_PKEY_free(key);
	FUZZ_CHECK(text);
	if (text)
		FUZZ_CHECK(jwk_set_new(text, strlen(text), &keys, NULL) == 0);
	return keys;
}

static const struct jwk_set *keys_of_nobody(void)
{
	static struct jwk_set *keys;

	if (!keys)
		keys = keys_make();
	return keys;
}

static void token_is_judged(const char *token, size_t n)
{
	const struct token_rules rules = { .keys = keys_of_nobody(),
					   .audience = "a",
					   .now_s = 1700000000 };
	struct refusals refusals = { 0 };
	struct tl_error err = { 0 };
	json_t *claims = NULL;

	if (token_check(&rules, token, n, &claims, &refusals, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_TOKEN_MALFORMED && !claims && !refusals.n);
		return;
	}
	/* It is never good: nobody has signed it. */
	FUZZ_CHECK(json_is_object(claims) && refusals.n > 0 &&
		   refusals.items[0].code == TL_E_VERIFY_TOKEN_SIGNATURE);
	json_decref(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* As a whole token, and as the claims of one: the encoding would keep a fuzzer busy. */
	auto_free char *claims = tl_base64_encode(TL_BASE64_URL, data, size);
	auto_jwk_set struct jwk_set *set = NULL;
	auto_free char *token = NULL;
	struct tl_error err = { 0 };

	FUZZ_CHECK(claims);
	token_is_judged((const char *)data, size);
	FUZZ_CHECK(asprintf(&token, "eyJhbGciOiJFUzI1NiJ9.%s.c2ln", claims) > 0);
	token_is_judged(token, strlen(token));
	if (jwk_set_new((const char *)data, size, &set, &err) < 0)
		FUZZ_CHECK(err.code == TL_E_VERIFY_KEYS && !set);
	return 0;
}
