/* SPDX-License-Identifier: Apache-2.0 */
/* The vectors in tests/vectors, for the tests of policy. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <teelaunch/findings.h>
#include <teelaunch/launch_spec.h>

#define VECTORS_FOREACH(file, cases, i, item)                                                      \
	for (json_auto_t *cases = vectors_load(file); cases; json_decref(cases), cases = NULL)     \
	json_array_foreach(cases, i, item)

static inline json_t *vectors_load(const char *file)
{
	char path[512];
	json_error_t error;
	json_t *root, *cases;

	snprintf(path, sizeof(path), "%s/%s.json", TL_VECTORS, file);
	root = json_load_file(path, JSON_ALLOW_NUL, &error);
	if (!root)
		fail_msg("%s: %s", path, error.text);
	cases = json_incref(json_object_get(root, "cases"));
	json_decref(root);
	assert_true(json_array_size(cases) > 0);
	return cases;
}

static inline const char *member(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* What the vector expects, or what we do instead where it shows a quirk that we fix. */
static inline json_t *expectation(const char *file, const json_t *item)
{
	size_t i;
	json_t *fixed, *ret = json_incref(json_object_get(item, "expect"));

	VECTORS_FOREACH("fixed-quirks", quirks, i, fixed)
	{
		if (strcmp(member(fixed, "file"), file) ||
		    strcmp(member(fixed, "id"), member(item, "id")))
			continue;
		json_decref(ret);
		ret = json_incref(json_object_get(fixed, "expect"));
	}
	return ret;
}

static inline const struct tl_finding *first_forbidding(const struct tl_findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->items[i].is_warning)
			return &f->items[i];
	return NULL;
}

static inline bool has_category(const struct tl_findings *f, const char *category)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->items[i].is_warning && strcmp(f->items[i].category, category) == 0)
			return true;
	return false;
}

/* Every finding is complete, and its category is in the table. */
static inline void findings_assert_complete(const struct tl_findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		const char *const *category = tl_finding_categories();

		while (*category && strcmp(*category, f->items[i].category) != 0)
			category++;
		assert_non_null(*category);
		assert_true(strlen(f->items[i].message) > 10);
		assert_true(strlen(f->items[i].fix) > 5);
		assert_int_equal(tl_catalogue_find(f->items[i].code)->code, f->items[i].code);
	}
}

static inline bool findings_hold(const struct tl_findings *f, const char *text)
{
	for (size_t i = 0; i < f->n; i++)
		if (strstr(f->items[i].message, text) || strstr(f->items[i].key, text) ||
		    strstr(f->items[i].fix, text))
			return true;
	return false;
}

static inline void mount_add(struct tl_mounts *mounts, const char *destination, uint64_t size_bytes)
{
	mounts->items = realloc(mounts->items, (mounts->n + 1) * sizeof(*mounts->items));
	mounts->items[mounts->n++] =
		(struct tl_mount){ .destination = strdup(destination), .size_bytes = size_bytes };
}
