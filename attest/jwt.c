/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/jwt.h>

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/json_scan.h>

/* RFC 7518 section 3.1 and RFC 8037 section 3.1: a library that verifies would know these. */
static const char *const algorithms[] = {
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256",
	"ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "none",
};

static int fail(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_TOKEN_MALFORMED, EBADMSG, "token: %s", what);
}

static int part_decode(const char *text, size_t n, const char *what, json_t **ret,
		       struct tl_error *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t bytes_len;
	json_t *object;
	int r = tl_base64_decode(TL_BASE64_URL, text, n, &bytes, &bytes_len);

	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token");
	if (r < 0)
		return tl_fail(err, TL_E_TOKEN_MALFORMED, EBADMSG,
			       "token: the %s is not base64url without padding", what);
	object = tl_json_scan(bytes, bytes_len, NULL)
			 ? NULL
			 : json_loadb((const char *)bytes, bytes_len, 0, NULL);
	explicit_bzero(bytes, bytes_len);
	if (!json_is_object(object)) {
		json_decref(object);
		return tl_fail(err, TL_E_TOKEN_MALFORMED, EBADMSG,
			       "token: the %s is not a JSON object, or is too large a one", what);
	}
	*ret = object;
	return 0;
}

static bool is_algorithm_known(const char *alg)
{
	for (size_t i = 0; alg && i < TL_ARRAY_SIZE(algorithms); i++)
		if (strcmp(alg, algorithms[i]) == 0)
			return true;
	return false;
}

/* "1700000000" or "1700000000.25" */
static bool date_from_text(const char *text, int64_t *ret)
{
	const char *dot = strchr(text, '.');
	size_t whole_len = dot ? (size_t)(dot - text) : strlen(text);
	auto_free char *whole = strndup(text, whole_len);
	uint64_t s, fraction;

	if (!whole || tl_str_parse_u64(whole, TL_JWT_DATE_MAX_S, &s) < 0)
		return false;
	if (dot && tl_str_parse_u64(dot + 1, UINT64_MAX, &fraction) < 0)
		return false;
	*ret = (int64_t)s;
	return true;
}

/* NumericDate, RFC 7519 section 2; some issuers write it as a string. */
static bool date_from_json(const json_t *value, int64_t *ret)
{
	double real;

	if (json_is_string(value))
		return date_from_text(json_string_value(value), ret);
	if (!json_is_number(value))
		return false;
	real = json_number_value(value);
	if (!(real >= 0 && real <= (double)TL_JWT_DATE_MAX_S))
		return false;
	*ret = json_is_integer(value) ? (int64_t)json_integer_value(value) : (int64_t)real;
	return true;
}

static int audience_read(const json_t *aud, struct tl_strv *ret, struct tl_error *err)
{
	json_t *item;
	size_t i;

	if (!aud || json_is_null(aud))
		return 0;
	if (json_is_string(aud))
		return tl_strv_add(ret, json_string_value(aud));
	if (!json_is_array(aud))
		return fail(err, "'aud' is neither a string nor a list");
	json_array_foreach(aud, i, item)
	{
		if (!json_is_string(item))
			return fail(err, "'aud' holds something that is not a string");
		if (tl_strv_add(ret, json_string_value(item)) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token");
	}
	return 0;
}

static int claims_read(const json_t *claims, struct tl_jwt *ret, struct tl_error *err)
{
	const json_t *exp = json_object_get(claims, "exp");
	const json_t *iat = json_object_get(claims, "iat");

	if (!exp || json_is_null(exp))
		return fail(err, "there is no 'exp', so nobody could tell when to refresh it");
	if (!date_from_json(exp, &ret->exp_s))
		return fail(err, "'exp' is not a date in seconds");
	ret->has_iat = iat && !json_is_null(iat);
	if (ret->has_iat && !date_from_json(iat, &ret->iat_s))
		return fail(err, "'iat' is not a date in seconds");
	return audience_read(json_object_get(claims, "aud"), &ret->aud, err);
}

int tl_jwt_read(const char *token, size_t n, struct tl_jwt *ret, struct tl_error *err)
{
	auto_jwt struct tl_jwt jwt = { 0 };
	json_auto_t *header = NULL;
	json_auto_t *claims = NULL;
	auto_free uint8_t *signature = NULL;
	const char *first, *second, *end = token + n;
	size_t signature_len;
	int r;

	if (n > TL_JWT_MAX_BYTES)
		return fail(err, "larger than 1 MiB");
	first = memchr(token, '.', n);
	second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
	if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
		return fail(err, "not three parts with a dot between them");
	r = part_decode(token, (size_t)(first - token), "header", &header, err);
	if (r == 0)
		r = part_decode(first + 1, (size_t)(second - first - 1), "claims part", &claims,
				err);
	if (r < 0)
		return r;
	if (!is_algorithm_known(json_string_value(json_object_get(header, "alg"))))
		return fail(err, "the header has no known 'alg'");
	if (tl_base64_decode(TL_BASE64_URL, second + 1, (size_t)(end - second - 1), &signature,
			     &signature_len) == -EINVAL)
		return fail(err, "the signature is not base64url without padding");
	r = claims_read(claims, &jwt, err);
	if (r < 0)
		return r;
	*ret = jwt;
	jwt = (struct tl_jwt){ 0 };
	return 0;
}

void tl_jwt_done(struct tl_jwt *j)
{
	if (j)
		tl_strv_done(&j->aud);
}

int tl_jwt_check_fresh(const struct tl_jwt *j, int64_t now_s, struct tl_error *err)
{
	if (now_s < j->exp_s)
		return 0;
	return tl_fail(err, TL_E_TOKEN_EXPIRED, EKEYEXPIRED,
		       "token: expired %lld s ago by this machine's clock",
		       (long long)(now_s - j->exp_s));
}
