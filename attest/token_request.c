/* SPDX-License-Identifier: Apache-2.0 */
#include "token_request.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>

#define DECODE_FAILED "failed to parse POST body as TokenOptions: "

struct field {
	const char *name;
	int (*parse)(const json_t *value, struct token_request *r, struct tl_error *err);
};

static int fail_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token request");
}

static const struct field *field_find(const struct field *fields, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

/* jansson refuses the same name twice; two spellings of one field are the same ambiguity. */
static int fields_parse(const json_t *object, const char *where, const struct field *fields,
			size_t n, struct token_request *r, struct tl_error *err)
{
	json_t *obj = (json_t *)(uintptr_t)object; /* its iterators take no const */
	unsigned int seen = 0;

	if (!json_is_object(object))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       DECODE_FAILED "%s must be a JSON object", where);
	for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
		const char *name = json_object_iter_key(it);
		const json_t *value = json_object_iter_value(it);
		const struct field *f = field_find(fields, n, name);
		unsigned int bit = f ? 1U << (f - fields) : 0;
		int e;

		if (!f || (seen & bit))
			return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL, DECODE_FAILED "%s '%.64s'",
				       f ? "more than one field" : "unknown field", name);
		seen |= bit;
		e = json_is_null(value) ? 0 : f->parse(value, r, err);
		if (e < 0)
			return e;
	}
	return 0;
}

static int text_parse(const json_t *value, const char *name, size_t max_bytes, char **ret,
		      struct tl_error *err)
{
	if (!json_is_string(value))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       DECODE_FAILED "'%s' must be a string", name);
	if (json_string_length(value) > max_bytes)
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       "'%s' has %zu bytes; the limit is %zu", name,
			       json_string_length(value), max_bytes);
	*ret = strdup(json_string_value(value));
	return *ret ? 0 : fail_memory(err);
}

static int parse_audience(const json_t *value, struct token_request *r, struct tl_error *err)
{
	return text_parse(value, "audience", TOKEN_AUDIENCE_MAX_BYTES, &r->audience, err);
}

static int parse_type(const json_t *value, struct token_request *r, struct tl_error *err)
{
	return text_parse(value, "token_type", TOKEN_TYPE_MAX_BYTES, &r->token_type, err);
}

struct list_limits {
	const char *name;
	size_t n_max, min_bytes, max_bytes;
};

static int list_parse(const json_t *value, const struct list_limits *l, struct tl_strv *ret,
		      struct tl_error *err)
{
	size_t n = json_array_size(value);

	if (!json_is_array(value))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       DECODE_FAILED "'%s' must be an array of strings", l->name);
	if (n > l->n_max)
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       "'%s' has %zu elements; the limit is %zu", l->name, n, l->n_max);
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(value, i);
		size_t len = json_string_length(item);

		if (!json_is_string(item))
			return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
				       DECODE_FAILED "'%s[%zu]' must be a string", l->name, i);
		if (len < l->min_bytes || len > l->max_bytes)
			return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
				       "'%s[%zu]' has %zu bytes; it must have %zu to %zu", l->name,
				       i, len, l->min_bytes, l->max_bytes);
		if (tl_strv_add(ret, json_string_value(item)) < 0)
			return fail_memory(err);
	}
	return 0;
}

static int parse_nonces(const json_t *value, struct token_request *r, struct tl_error *err)
{
	static const struct list_limits limits = { "nonces", TOKEN_NONCES_MAX,
						   TOKEN_NONCE_MIN_BYTES, TOKEN_NONCE_MAX_BYTES };

	return list_parse(value, &limits, &r->nonces, err);
}

static int parse_key_ids(const json_t *value, struct token_request *r, struct tl_error *err)
{
	static const struct list_limits limits = { "key_ids", TOKEN_KEY_IDS_MAX, 1,
						   TOKEN_KEY_ID_MAX_BYTES };

	return list_parse(value, &limits, &r->key_ids, err);
}

static int parse_signatures(const json_t *value, struct token_request *r, struct tl_error *err)
{
	static const struct field fields[] = { { "key_ids", parse_key_ids } };

	r->has_signature_key_ids = true;
	return fields_parse(value, "'container_image_signatures'", fields, TL_ARRAY_SIZE(fields), r,
			    err);
}

static int parse_allowed(const json_t *value, struct token_request *r, struct tl_error *err)
{
	static const struct field fields[] = { { "container_image_signatures", parse_signatures } };

	r->has_allowed_tags = true;
	return fields_parse(value, "'allowed_principal_tags'", fields, TL_ARRAY_SIZE(fields), r,
			    err);
}

static int parse_tags(const json_t *value, struct token_request *r, struct tl_error *err)
{
	static const struct field fields[] = { { "allowed_principal_tags", parse_allowed } };

	r->has_principal_tags = true;
	return fields_parse(value, "'aws_principal_tag_options'", fields, TL_ARRAY_SIZE(fields), r,
			    err);
}

/* What federation services could take for the default audience: they compare hosts in any case and
 * some drop a slash at the end. */
static bool is_default_audience(const char *audience)
{
	static const char base[] = TL_TOKEN_AUDIENCE_DEFAULT;
	const char *rest = audience + sizeof(base) - 1;

	return strncasecmp(audience, base, sizeof(base) - 1) == 0 && !rest[strspn(rest, "/")];
}

static int check_audience(const char *audience, struct tl_error *err)
{
	for (const char *c = audience; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
				       "'audience' has a space or control character at byte %zu",
				       (size_t)(c - audience));
	if (is_default_audience(audience))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       "'audience' %.64s is that of the default identity token; use GET "
			       "request for it",
			       audience);
	return 0;
}

static int check(const struct token_request *r, struct tl_error *err)
{
	static const char *const types[] = { "OIDC", "PKI", "LIMITED_AWS", "AWS_PRINCIPALTAGS" };

	if (tl_str_is_empty(r->audience))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       "use GET request for the default identity token");
	if (tl_str_is_empty(r->token_type))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       "token_type is a required parameter");
	for (size_t i = 0; i < TL_ARRAY_SIZE(types); i++)
		if (strcmp(types[i], r->token_type) == 0)
			return check_audience(r->audience, err);
	return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
		       "'token_type' is '%.64s'; it must be OIDC, PKI, LIMITED_AWS or "
		       "AWS_PRINCIPALTAGS",
		       r->token_type);
}

void token_request_done(struct token_request *r)
{
	free(r->audience);
	free(r->token_type);
	tl_strv_done(&r->nonces);
	tl_strv_done(&r->key_ids);
	*r = (struct token_request){ 0 };
}

int token_request_parse(const void *body, size_t n, struct token_request *ret, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "audience", parse_audience },
		{ "nonces", parse_nonces },
		{ "token_type", parse_type },
		{ "aws_principal_tag_options", parse_tags },
	};
	auto_token_request struct token_request r = { 0 };
	json_error_t why;
	json_auto_t *doc = json_loadb(
		body, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &why);
	int e;

	if (!doc)
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL, DECODE_FAILED "%s at byte %d",
			       n ? why.text : "empty body", why.position);
	e = json_is_null(doc)
		    ? 0
		    : fields_parse(doc, "the body", fields, TL_ARRAY_SIZE(fields), &r, err);
	if (e == 0)
		e = check(&r, err);
	if (e < 0)
		return e;
	*ret = r;
	r = (struct token_request){ 0 };
	return 0;
}

struct tl_token_options token_request_options(const struct token_request *r)
{
	return (struct tl_token_options){
		.audience = r->audience,
		.nonces = r->nonces,
		.token_type = r->token_type,
		.has_principal_tags = r->has_principal_tags,
		.has_allowed_tags = r->has_allowed_tags,
		.has_signature_key_ids = r->has_signature_key_ids,
		.signature_key_ids = r->key_ids,
	};
}

static bool list_equal(const struct tl_strv *a, const struct tl_strv *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

bool token_request_equal(const struct token_request *a, const struct token_request *b)
{
	return strcmp(a->audience, b->audience) == 0 && strcmp(a->token_type, b->token_type) == 0 &&
	       list_equal(&a->nonces, &b->nonces) && list_equal(&a->key_ids, &b->key_ids) &&
	       a->has_principal_tags == b->has_principal_tags &&
	       a->has_allowed_tags == b->has_allowed_tags &&
	       a->has_signature_key_ids == b->has_signature_key_ids;
}
