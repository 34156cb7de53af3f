/* SPDX-License-Identifier: Apache-2.0 */
#include "token_options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "fields.h"

/* The values of an enum, by number. */
struct names {
	const char *const *items;
	size_t n;
};

void token_options_done(struct token_options *o)
{
	free(o->audience);
	tl_strv_done(&o->nonces);
	tl_strv_done(&o->key_ids);
	*o = (struct token_options){ 0 };
}

static int parse_audience(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct token_options *o = ctx;

	if (json_is_string(v) && json_string_length(v) > REQUEST_AUDIENCE_MAX)
		return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
			       "'%s' has %zu bytes; the limit is %d", path, json_string_length(v),
			       REQUEST_AUDIENCE_MAX);
	return string_parse(v, path, REQUEST_AUDIENCE_MAX, &o->audience, err);
}

static int text_add(const json_t *v, const char *path, size_t min, size_t max, struct tl_strv *ret,
		    struct tl_error *err)
{
	size_t n = json_string_length(v);

	if (!json_is_string(v))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' must be a string", path);
	if (n < min || n > max)
		return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
			       "'%s' has %zu bytes; it may have %zu to %zu", path, n, min, max);
	if (tl_strv_add(ret, json_string_value(v)) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	return 0;
}

static int parse_nonce(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct token_options *o = ctx;

	return text_add(v, path, REQUEST_NONCE_MIN_LEN, REQUEST_NONCE_MAX_LEN, &o->nonces, err);
}

static int count_check(const json_t *v, const char *path, size_t max, struct tl_error *err)
{
	if (json_array_size(v) <= max)
		return 0;
	return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
		       "'%s' has %zu elements; the limit is %zu", path, json_array_size(v), max);
}

static int parse_nonces(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	int r = count_check(v, path, REQUEST_NONCES_MAX, err);

	return r < 0 ? r : elements_parse(v, path, REQUEST_NONCES_MAX, parse_nonce, ctx, err);
}

/* proto3 JSON, "enum": the number or the name. */
static int enum_parse(const json_t *v, const char *path, const struct names *names, size_t *ret,
		      struct tl_error *err)
{
	const char *s = json_string_value(v);

	for (size_t i = 0; i < names->n; i++) {
		if (s ? strcmp(s, names->items[i]) == 0
		      : json_is_integer(v) && json_integer_value(v) == (json_int_t)i) {
			*ret = i;
			return 0;
		}
	}
	return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
		       "'%s' must be a number from 0 to %zu or a name like %s", path, names->n - 1,
		       names->items[1]);
}

static int parse_profile(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const char *const items[] = { "TOKEN_PROFILE_UNSPECIFIED",
					     "TOKEN_PROFILE_DEFAULT_EAT", "TOKEN_PROFILE_AWS" };
	static const struct names names = { items, TL_ARRAY_SIZE(items) };
	struct token_options *o = ctx;
	size_t value = 0;
	int r = enum_parse(v, path, &names, &value, err);

	o->claims = value == 2 ? TOKEN_CLAIMS_AWS_TAGS : TOKEN_CLAIMS_ALL;
	return r;
}

static int parse_signature_type(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const char *const items[] = { "SIGNATURE_TYPE_UNSPECIFIED", "SIGNATURE_TYPE_OIDC",
					     "SIGNATURE_TYPE_PKI" };
	static const struct names names = { items, TL_ARRAY_SIZE(items) };
	struct token_options *o = ctx;
	size_t value = 0;
	int r = enum_parse(v, path, &names, &value, err);

	o->is_pki = value == 2;
	return r;
}

static int parse_token_type(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const char *const items[] = { "TOKEN_TYPE_UNSPECIFIED", "TOKEN_TYPE_OIDC",
					     "TOKEN_TYPE_PKI", "TOKEN_TYPE_LIMITED_AWS",
					     "TOKEN_TYPE_AWS_PRINCIPALTAGS" };
	static const struct names names = { items, TL_ARRAY_SIZE(items) };
	static const enum token_claims claims[] = { TOKEN_CLAIMS_ALL, TOKEN_CLAIMS_ALL,
						    TOKEN_CLAIMS_ALL, TOKEN_CLAIMS_LIMITED_AWS,
						    TOKEN_CLAIMS_AWS_TAGS };
	struct token_options *o = ctx;
	size_t value = 0;
	int r = enum_parse(v, path, &names, &value, err);

	o->is_pki = value == 2;
	o->claims = claims[value];
	return r;
}

static int parse_key_id(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct token_options *o = ctx;

	return text_add(v, path, 1, REQUEST_KEY_ID_MAX_LEN, &o->key_ids, err);
}

static int parse_key_ids(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	int r = count_check(v, path, REQUEST_KEY_IDS_MAX, err);

	return r < 0 ? r : elements_parse(v, path, REQUEST_KEY_IDS_MAX, parse_key_id, ctx, err);
}

static int parse_tag_signatures(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = { { "keyIds", parse_key_ids, false } };

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

static int parse_allowed_tags(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "containerImageSignatures", parse_tag_signatures, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

static int parse_tag_options(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "allowedPrincipalTags", parse_allowed_tags, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

int token_options_parse_space(const json_t *value, const char *path, struct token_options *ret,
			      struct tl_error *err)
{
	static const struct field fields[] = {
		{ "audience", parse_audience, false },
		{ "nonce", parse_nonces, false },
		{ "tokenProfile", parse_profile, false },
		{ "signatureType", parse_signature_type, false },
		{ "awsPrincipalTagsOptions", parse_tag_options, false },
	};

	return fields_parse(value, path, fields, TL_ARRAY_SIZE(fields), ret, err);
}

int token_options_parse_attestation(const json_t *value, const char *path,
				    struct token_options *ret, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "audience", parse_audience, false },
		{ "nonce", parse_nonces, false },
		{ "tokenType", parse_token_type, false },
		{ "awsPrincipalTagsOptions", parse_tag_options, false },
	};

	return fields_parse(value, path, fields, TL_ARRAY_SIZE(fields), ret, err);
}

int token_options_finish(struct token_options *o, struct tl_error *err)
{
	bool is_default = tl_str_is_empty(o->audience) && o->nonces.n == 0;

	if (o->is_pki && o->claims != TOKEN_CLAIMS_ALL)
		return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
			       "'signatureType' PKI doesn't go with 'tokenProfile' AWS: AWS reads "
			       "OIDC tokens only");
	if (o->key_ids.n && o->claims != TOKEN_CLAIMS_AWS_TAGS)
		return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
			       "'awsPrincipalTagsOptions' is for tokens with principal tags only");
	if (!is_default && o->audience)
		return 0;
	free(o->audience);
	o->audience = strdup(is_default ? REQUEST_AUDIENCE_DEFAULT : "");
	return o->audience ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the audience");
}
