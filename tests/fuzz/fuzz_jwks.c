/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets of those who sign tokens (RFC 7517): a key that can be read says the same of itself when
 * it is written and read again. */
#include <string.h>

#include <openssl/evp.h>

#include "attest/verifier/jwk.h"
#include "attest/verifier/signed_jwt.h"
#include "fuzz.h"

static void key_round_trips(const json_t *jwk)
{
	EVP_PKEY *key = jwk_key(jwk), *again;
	char kid[JWK_KID_MAX], kid_again[JWK_KID_MAX];
	json_t *written;

	if (!key)
		return;
	FUZZ_CHECK(jwk_alg(key));
	written = jwk_public(key);
	FUZZ_CHECK(written);
	again = jwk_key(written);
	FUZZ_CHECK(again && EVP_PKEY_eq(key, again) == 1);
	FUZZ_CHECK(jwk_thumbprint(key, kid) == 0 && jwk_thumbprint(again, kid_again) == 0);
	FUZZ_CHECK(strlen(kid) == JWK_KID_MAX - 1 && strcmp(kid, kid_again) == 0);
	json_decref(written);
	EVP_PKEY_free(again);
	EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_jwk_set struct jwk_set *set = NULL;
	struct tl_error err = { 0 };
	json_t *root, *jwk;
	size_t i;

	if (jwk_set_new((const char *)data, size, &set, &err) < 0)
		FUZZ_CHECK(!set && err.code);
	else
		FUZZ_CHECK(size <= JWK_SET_BYTES_MAX);
	root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	json_array_foreach(json_object_get(root, "keys"), i, jwk)
	{
		if (i >= JWK_SET_KEYS_MAX)
			break;
		key_round_trips(jwk);
	}
	json_decref(root);
	return 0;
}
