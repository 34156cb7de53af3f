/* SPDX-License-Identifier: Apache-2.0 */
#include "token_check.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/jwt.h>

/* NumericDate (RFC 7519, 2); only whole seconds are issued by those who issue these tokens. */
static bool date_read(const json_t *claims, const char *name, int64_t *ret)
{
	const json_t *v = json_object_get(claims, name);

	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    json_integer_value(v) > TL_JWT_DATE_MAX_S)
		return false;
	*ret = json_integer_value(v);
	return true;
}

static void dates_check(const json_t *claims, int64_t now_s, struct refusals *refusals)
{
	static const char *const starts[] = { "nbf", "iat" };
	int64_t at;

	if (!date_read(claims, "exp", &at))
		refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS, "the token has no date 'exp'");
	else if (now_s >= at)
		refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS, "the token expired %lld s ago",
		       (long long)(now_s - at));
	for (size_t i = 0; i < TL_ARRAY_SIZE(starts); i++) {
		if (!json_object_get(claims, starts[i]))
			continue;
		if (!date_read(claims, starts[i], &at))
			refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS, "the token's '%s' is no date",
			       starts[i]);
		else if (at > now_s + TOKEN_CLOCK_SKEW_S)
			refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS,
			       "the token's '%s' is %lld s in the future", starts[i],
			       (long long)(at - now_s));
	}
	if (!json_object_get(claims, "iat"))
		refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS, "the token has no date 'iat'");
}

static bool is_text(const json_t *v, const char *due)
{
	const char *s = json_string_value(v);

	return s && strcmp(s, due) == 0;
}

static bool has_audience(const json_t *claims, const char *audience)
{
	const json_t *aud = json_object_get(claims, "aud");

	for (size_t i = 0; i < json_array_size(aud); i++)
		if (is_text(json_array_get(aud, i), audience))
			return true;
	return is_text(aud, audience);
}

int token_check(const struct token_rules *rules, const char *token, size_t n, json_t **ret_claims,
		struct refusals *refusals, struct tl_error *err)
{
	auto_signed_jwt struct signed_jwt jwt = { 0 };
	const char *fault;
	int r = n > TOKEN_BYTES_MAX ? -EINVAL : signed_jwt_parse(token, n, &jwt);

	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a token");
	if (r < 0)
		return tl_fail(err, TL_E_TOKEN_MALFORMED, EBADMSG, "it is no compact JWT");
	fault = signed_jwt_fault(rules->keys, &jwt);
	if (fault)
		refuse(refusals, TL_E_VERIFY_TOKEN_SIGNATURE, "the token: %s", fault);
	dates_check(jwt.claims, rules->now_s, refusals);
	if (!json_is_string(json_object_get(jwt.claims, "iss")))
		refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS, "the token names no issuer");
	if (rules->audience && !has_audience(jwt.claims, rules->audience))
		refuse(refusals, TL_E_VERIFY_TOKEN_CLAIMS, "the token is for another audience");
	*ret_claims = json_incref(jwt.claims);
	return 0;
}
