/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

static const struct field *field_find(const struct field *fields, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

static void path_join(const char *path, const char *name, char ret[FIELD_PATH_MAX])
{
	if (snprintf(ret, FIELD_PATH_MAX, "%s%s%s", path, *path ? "." : "", name) >= FIELD_PATH_MAX)
		memcpy(ret + FIELD_PATH_MAX - 4, "...", 4);
}

int fields_parse(const json_t *object, const char *path, const struct field *fields, size_t n,
		 void *ctx, struct tl_error *err)
{
	/* jansson's iterators take no const; nothing is changed through this. */
	json_t *obj = (json_t *)(uintptr_t)object;
	char sub[FIELD_PATH_MAX];

	if (!json_is_object(object))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' must be a JSON object",
			       *path ? path : "the body");
	for (size_t i = 0; i < n; i++) {
		path_join(path, fields[i].name, sub);
		if (fields[i].is_required &&
		    (!json_object_get(object, fields[i].name) ||
		     json_is_null(json_object_get(object, fields[i].name))))
			return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' is missing", sub);
	}
	for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
		const struct field *f = field_find(fields, n, json_object_iter_key(it));
		const json_t *value = json_object_iter_value(it);
		int r;

		path_join(path, json_object_iter_key(it), sub);
		if (!f)
			return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
				       "'%s' is no field of this request", sub);
		r = json_is_null(value) ? 0 : f->parse(value, sub, ctx, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int elements_parse(const json_t *array, const char *path, size_t max,
		   int (*parse)(const json_t *value, const char *path, void *ctx,
				struct tl_error *err),
		   void *ctx, struct tl_error *err)
{
	char sub[FIELD_PATH_MAX];

	if (!json_is_array(array))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' must be a JSON array", path);
	if (json_array_size(array) > max)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' has %zu elements; at most %zu are read", path,
			       json_array_size(array), max);
	for (size_t i = 0; i < json_array_size(array); i++) {
		int r;

		(void)snprintf(sub, sizeof(sub), "%.100s[%zu]", path, i);
		r = parse(json_array_get(array, i), sub, ctx, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int base64_parse(const json_t *value, const char *path, struct tl_buf *ret, struct tl_error *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t n = 0;
	int r;

	if (!json_is_string(value))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' must be a base64 string",
			       path);
	if (json_string_length(value) > (ret->max_bytes + 2) / 3 * 4)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' is larger than the limit of %zu bytes", path, ret->max_bytes);
	r = tl_base64_decode(TL_BASE64_STD, json_string_value(value), json_string_length(value),
			     &bytes, &n);
	if (r == -EINVAL)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' is not standard base64 with padding", path);
	if (r == 0)
		r = tl_buf_append(ret, bytes, n);
	if (r == -ENOBUFS)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' is larger than the limit of %zu bytes", path, ret->max_bytes);
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	return 0;
}

int string_parse(const json_t *value, const char *path, size_t max, char **ret,
		 struct tl_error *err)
{
	char *s;

	if (!json_is_string(value))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' must be a string", path);
	if (json_string_length(value) > max)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' has %zu bytes; at most %zu are read", path,
			       json_string_length(value), max);
	s = strdup(json_string_value(value));
	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	free(*ret);
	*ret = s;
	return 0;
}

int unsupported_parse(const json_t *value, const char *path, void *ctx, struct tl_error *err)
{
	(void)value;
	(void)ctx;
	return tl_fail(err, TL_E_VERIFY_UNSUPPORTED, EINVAL,
		       "'%s' is not checked by this verifier; send TPM or TDX evidence", path);
}
