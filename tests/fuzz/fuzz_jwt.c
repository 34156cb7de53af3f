/* SPDX-License-Identifier: Apache-2.0 */
/* The dates and the audience of a token that nobody has verified yet. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/jwt.h>

static void token_is_judged(const char *token, size_t n)
{
	auto_jwt struct tl_jwt jwt = { .exp_s = -7, .iat_s = -7 };
	struct tl_error err = { 0 };

	if (tl_jwt_read(token, n, &jwt, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_TOKEN_MALFORMED);
		FUZZ_CHECK(jwt.exp_s == -7 && jwt.iat_s == -7 && !jwt.aud.n);
		return;
	}
	FUZZ_CHECK(jwt.exp_s >= 0 && jwt.exp_s <= TL_JWT_DATE_MAX_S);
	FUZZ_CHECK(!jwt.has_iat || (jwt.iat_s >= 0 && jwt.iat_s <= TL_JWT_DATE_MAX_S));
	FUZZ_CHECK(tl_jwt_check_fresh(&jwt, jwt.exp_s, &err) < 0);
	FUZZ_CHECK(tl_jwt_check_fresh(&jwt, jwt.exp_s - 1, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* As a whole token, and as the claims of one: the encoding would keep a fuzzer busy. */
	auto_free char *claims = tl_base64_encode(TL_BASE64_URL, data, size);
	auto_free char *token = NULL;
	int n;

	FUZZ_CHECK(claims);
	token_is_judged((const char *)data, size);
	n = asprintf(&token, "eyJhbGciOiJSUzI1NiJ9.%s.c2ln", claims);
	FUZZ_CHECK(n > 0);
	token_is_judged(token, (size_t)n);
	return 0;
}
