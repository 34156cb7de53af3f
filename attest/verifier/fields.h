/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON object read by a table: one row per field, the loop never changes. Proto3 JSON's rules:
 * null is as good as absent; a name that no row knows is refused. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

struct field {
	const char *name;
	/* @path names the field in messages: "tpmAttestation.akCert" */
	int (*parse)(const json_t *value, const char *path, void *ctx, struct tl_error *err);
	bool is_required;
};

#define FIELD_PATH_MAX 128

/** -EINVAL with TL_E_VERIFY_REQUEST when @object is none, or a field is unknown or missing. */
int fields_parse(const json_t *object, const char *path, const struct field *fields, size_t n,
		 void *ctx, struct tl_error *err);

/** Each element of an array of at most @max; @path gets "[i]" appended. */
int elements_parse(const json_t *array, const char *path, size_t max,
		   int (*parse)(const json_t *value, const char *path, void *ctx,
				struct tl_error *err),
		   void *ctx, struct tl_error *err);

/** Append the bytes of a base64 string to @ret, which holds its maximum. */
int base64_parse(const json_t *value, const char *path, struct tl_buf *ret, struct tl_error *err);

/** A string of at most @max bytes: a new copy. */
int string_parse(const json_t *value, const char *path, size_t max, char **ret,
		 struct tl_error *err);

/** A row for what this verifier doesn't check yet: -EINVAL with TL_E_VERIFY_UNSUPPORTED. */
int unsupported_parse(const json_t *value, const char *path, void *ctx, struct tl_error *err);
