/* SPDX-License-Identifier: Apache-2.0 */
#include "spec_parser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "go_json.h"
#include "mounts.h"
#include "values.h"

static const char *key_name(size_t i)
{
	return spec_key_row(i) ? spec_key_row(i)->doc.name : NULL;
}

/* Is an unknown key meant for us? By its prefix in any case, or by a name near one of ours. */
static int unknown_key_warn(struct spec_parser *p, const char *key)
{
	const char *near = nearest_name(key, key_name), *rest = name_rest(key);
	bool is_prefix = near && strcmp(near, SPEC_ENV_PREFIX) == 0;
	char oddity[NAME_ODDITY_BYTES];
	auto_free char *fix = NULL;

	if (!near && !has_prefix_folded(key, "tee-"))
		return 0;
	if (near && asprintf(&fix, "did you mean %s%s?", near,
			     !is_prefix ? ""
			     : *rest    ? rest
					: "NAME") < 0)
		return -ENOMEM;
	name_oddity(key, near, oddity);
	return tl_findings_add(p->findings, SPEC_WARNING(TL_E_KEY_UNKNOWN), key, fix,
			       "%s is no key of this launcher; it has no effect%s", key, oddity);
}

static int unknown_keys_warn(struct spec_parser *p)
{
	for (size_t i = 0; i < p->n_keys; i++) {
		int r = spec_key_of(p->keys[i]) ? 0 : unknown_key_warn(p, p->keys[i]);

		if (r)
			return r;
	}
	return 0;
}

static bool has_nul(const json_t *value)
{
	return json_typeof(value) == JSON_STRING &&
	       strlen(json_string_value(value)) != json_string_length(value);
}

/* A value of the wrong type fails the launch under any key; NUL under the keys that are ours. */
static int types_check(struct spec_parser *p)
{
	for (size_t i = 0; i < p->n_keys; i++) {
		const json_t *value = json_object_get(p->root, p->keys[i]);
		const struct key_row *row = spec_key_of(p->keys[i]);
		bool is_typed =
			json_typeof(value) == JSON_STRING || json_typeof(value) == JSON_NULL;
		int r = 0;

		if (row)
			p->spec.keys_set |= spec_key_bit(row);
		if (is_typed && !(row && has_nul(value)))
			continue;
		if (row)
			p->spec.keys_bad |= spec_key_bit(row);
		if (!is_typed)
			r = spec_forbid(p, TL_E_ATTRIBUTES_TYPE, "json-type", p->keys[i],
					"%s is not a string", p->keys[i]);
		else
			r = spec_forbid(p, TL_E_ATTRIBUTES_NUL, row->category, p->keys[i],
					"%s holds a NUL character", p->keys[i]);
		if (r)
			return r;
	}
	return 0;
}

static int row_parse(struct spec_parser *p, const struct key_row *row)
{
	const char *text = spec_attribute(p, row->doc.name);

	if (!row->parse)
		return 0;
	if (row->is_always)
		return row->parse(p, row, text);
	/* What is wrong with a bad one is already a finding. */
	if (!text || spec_key_is_bad(p, row) || (!*text && !row->is_empty_error))
		return 0;
	return row->parse(p, row, text);
}

static int key_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that nothing depends on the order of the document. */
static int keys_collect(struct spec_parser *p)
{
	p->keys = calloc(json_object_size(p->root) + 1, sizeof(*p->keys));
	if (!p->keys)
		return -ENOMEM;
	for (void *i = json_object_iter(p->root); i; i = json_object_iter_next(p->root, i))
		p->keys[p->n_keys++] = json_object_iter_key(i);
	qsort(p->keys, p->n_keys, sizeof(*p->keys), key_compare);
	return 0;
}

static int object_parse(struct spec_parser *p)
{
	int r = keys_collect(p);

	if (!r)
		r = types_check(p);
	for (size_t i = 0; !r && spec_key_row(i); i++)
		r = row_parse(p, spec_key_row(i));
	return r ? r : unknown_keys_warn(p);
}

static int document_parse(struct spec_parser *p, const char *text, size_t n)
{
	struct go_json_fault fault;
	int r;

	if (n > TL_ATTRIBUTES_BYTES_MAX)
		return spec_forbid(p, TL_E_ATTRIBUTES_LIMIT, "json-syntax", "",
				   "the attributes document has %zu bytes; at most %d are allowed",
				   n, TL_ATTRIBUTES_BYTES_MAX);
	r = go_json_load(text, n, &p->root, &fault);
	if (r == -EINVAL)
		return spec_forbid(p, TL_E_ATTRIBUTES_SYNTAX, "json-syntax", "",
				   "the attributes document is not JSON: %s, near byte %zu",
				   fault.what, fault.offset);
	if (r)
		return r;
	if (json_typeof(p->root) == JSON_NULL || json_typeof(p->root) == JSON_OBJECT)
		return object_parse(p);
	p->is_bad = true;
	return tl_findings_add(
		p->findings, SPEC_FINDING(TL_E_ATTRIBUTES_TYPE, "json-type"), "",
		"make it a JSON object of strings: {\"tee-image-reference\":\"...\"}",
		"the attributes document is JSON, but not an object of strings");
}

int tl_launch_spec_read(const char *text, size_t n, const struct tl_launch_spec_options *options,
			struct tl_launch_spec *ret, struct tl_findings *findings)
{
	static const struct tl_launch_spec_options no_options = { 0 };
	struct spec_parser p = {
		.spec = { .gca_address = "" },
		.options = options ? options : &no_options,
		.findings = findings,
	};
	int r = document_parse(&p, text, n);

	json_decref(p.root);
	free(p.keys);
	if (r) {
		tl_launch_spec_done(&p.spec);
		return r;
	}
	*ret = p.spec;
	return p.is_bad ? 1 : 0;
}

int tl_launch_spec_parse(const char *text, size_t n, const struct tl_launch_spec_options *options,
			 struct tl_launch_spec *ret, struct tl_findings *findings)
{
	struct tl_launch_spec spec;
	int r = tl_launch_spec_read(text, n, options, &spec, findings);

	if (r == 0)
		*ret = spec;
	if (r != 1)
		return r;
	tl_launch_spec_done(&spec);
	return -EINVAL;
}

void tl_launch_spec_done(struct tl_launch_spec *spec)
{
	if (!spec)
		return;
	free(spec->image_ref);
	free(spec->ita_region);
	tl_secret_done(&spec->ita_api_key);
	tl_strv_done(&spec->cmd);
	tl_kvs_done(&spec->envs);
	tl_strv_done(&spec->impersonate_service_accounts);
	tl_strv_done(&spec->signed_image_repos);
	tl_strv_done(&spec->added_capabilities);
	mounts_done(&spec->mounts);
	*spec = (struct tl_launch_spec){ .gca_address = "" };
}
