/* SPDX-License-Identifier: Apache-2.0 */
#include "image_reference.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/cmdline.h>
#include <teelaunch/encoding.h>
#include <teelaunch/event_log.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/str.h>

#include "snp_reference.h"
#include "tdx_reference.h"

#define ROOT_HASH_LEN 64
#define PATH_MAX_LEN  64

static const uint16_t algorithms[IMAGE_ALGORITHMS] = { TL_SHA1, TL_SHA256, TL_SHA384 };

static int bad(struct tl_error *err, const char *path, const char *what)
{
	return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL, "'%s' %s", path, what);
}

const uint8_t *image_digest(const struct image_digests *d, uint16_t hash)
{
	for (size_t i = 0; i < IMAGE_ALGORITHMS; i++)
		if (algorithms[i] == hash)
			return d->value[i];
	return NULL;
}

static bool is_hex(const char *s, size_t n)
{
	return s && strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

/* Printable ASCII: these texts go to tokens, logs and messages. */
static bool is_plain(const char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			return false;
	return true;
}

static int text_read(const json_t *object, const char *name, size_t max, char **ret,
		     struct tl_error *err)
{
	const json_t *value = json_object_get(object, name);
	const char *s = json_string_value(value);

	if (!s)
		return bad(err, name, value ? "must be a string" : "is missing");
	if (!*s)
		return bad(err, name, "is empty");
	if (strlen(s) > max || !is_plain(s))
		return bad(err, name, "is too long, or not printable ASCII");
	*ret = strdup(s);
	return *ret ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", name);
}

static int digests_read(const json_t *object, const char *path, struct image_digests *ret,
			struct tl_error *err)
{
	if (!json_is_object(object))
		return bad(err, path, "must be an object with sha1, sha256 and sha384");
	for (size_t i = 0; i < IMAGE_ALGORITHMS; i++) {
		const char *hex =
			json_string_value(json_object_get(object, tl_hash_name(algorithms[i])));
		size_t size = tl_hash_size(algorithms[i]);

		if (!is_hex(hex, 2 * size) || tl_hex_decode(hex, ret->value[i], size) < 0)
			return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL,
				       "'%s.%s' must be %zu lower-case hex digits", path,
				       tl_hash_name(algorithms[i]), 2 * size);
	}
	return 0;
}

/* An event of a register that image_check() doesn't judge would look checked and not be. */
static bool is_judged(json_int_t pcr)
{
	return pcr == IMAGE_PCR_PROGRAMS || pcr == IMAGE_PCR_KERNEL || pcr == IMAGE_PCR_UKI ||
	       pcr == IMAGE_PCR_OVERRIDES;
}

static int event_read(const json_t *item, size_t i, struct image_event *ret, struct tl_error *err)
{
	const json_t *pcr = json_object_get(item, "pcr");
	int r;

	if (!json_is_integer(pcr) || !is_judged(json_integer_value(pcr)))
		r = bad(err, "pcr", "must be 4, 9, 11 or 12");
	else
		r = text_read(item, "name", IMAGE_REFERENCE_TEXT_MAX, &ret->name, err);
	if (r == 0)
		r = digests_read(json_object_get(item, "digests"), "digests", &ret->digests, err);
	if (r == 0)
		ret->pcr = (unsigned int)json_integer_value(pcr);
	return tl_wrap(err, r, "events[%zu]", i);
}

static int events_read(const json_t *root, struct image_reference *ref, struct tl_error *err)
{
	const json_t *list = json_object_get(root, "events");
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n == 0 || n > IMAGE_EVENTS_MAX)
		return bad(err, "events", "must be a list of 1 to 256");
	ref->events = calloc(n, sizeof(*ref->events));
	if (!ref->events)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for events");
	for (size_t i = 0; i < n; i++) {
		int r;

		ref->n = i + 1;
		r = event_read(json_array_get(list, i), i, &ref->events[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pcrs_read(const json_t *root, struct image_reference *ref, struct tl_error *err)
{
	/* jansson's iterators take no const; nothing is changed through this. */
	json_t *list = json_object_get(root, "pcrs");

	if (!json_is_object(list))
		return bad(err, "pcrs", "must be an object");
	for (void *it = json_object_iter(list); it; it = json_object_iter_next(list, it)) {
		const char *key = json_object_iter_key(it);
		char path[PATH_MAX_LEN];
		uint64_t index = 0;
		int r;

		if (tl_str_parse_u64(key, PCRS_MAX - 1, &index) < 0 ||
		    (*key == '0' && key[1] != '\0'))
			return bad(err, "pcrs", "has a key that is no number from 0 to 23");
		(void)snprintf(path, sizeof(path), "pcrs.%s", key);
		r = digests_read(json_object_iter_value(it), path, &ref->pcrs[index], err);
		if (r < 0)
			return r;
		ref->pcr_mask |= UINT32_C(1) << index;
	}
	return 0;
}

static int texts_read(const json_t *root, struct image_reference *ref, struct tl_error *err)
{
	const struct {
		const char *name;
		size_t max;
		char **ret;
	} rows[] = {
		{ "name", IMAGE_REFERENCE_TEXT_MAX, &ref->name },
		{ "version", IMAGE_REFERENCE_TEXT_MAX, &ref->version },
		{ "commit", IMAGE_REFERENCE_TEXT_MAX, &ref->commit },
		{ "flavour", IMAGE_REFERENCE_TEXT_MAX, &ref->flavour },
		{ "cmdline", IMAGE_CMDLINE_MAX, &ref->cmdline },
		{ "roothash", ROOT_HASH_LEN, &ref->roothash },
	};
	const json_t *hardened = json_object_get(root, "hardened");
	int r = 0;

	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(rows); i++)
		r = text_read(root, rows[i].name, rows[i].max, rows[i].ret, err);
	if (r < 0)
		return r;
	if (!is_hex(ref->roothash, ROOT_HASH_LEN))
		return bad(err, "roothash", "must be 64 lower-case hex digits");
	if (!json_is_boolean(hardened))
		return bad(err, "hardened", "must be true or false");
	ref->is_hardened = json_is_true(hardened);
	return 0;
}

static int flavour_check(const struct image_reference *ref, struct tl_error *err)
{
	bool is_hardened = false;
	int r = tl_cmdline_is_hardened(ref->cmdline, &is_hardened, err);

	if (r < 0)
		return bad(err, "cmdline", "contradicts itself about " TL_CMDLINE_HARDENED);
	if (is_hardened != ref->is_hardened)
		return bad(err, "hardened", "isn't what 'cmdline' says");
	if (strcmp(ref->flavour, is_hardened ? "production" : "debug") != 0)
		return bad(err, "flavour", "isn't what 'hardened' says");
	if (!strstr(ref->cmdline, ref->roothash))
		return bad(err, "roothash", "isn't in 'cmdline'");
	return 0;
}

static bool event_is_of(const struct image_event *e, const char *text, size_t n)
{
	uint8_t digest[TL_HASH_SIZE_MAX];

	for (size_t i = 0; i < IMAGE_ALGORITHMS; i++)
		if (tl_digest(algorithms[i], text, n, digest) < 0 ||
		    memcmp(digest, e->digests.value[i], tl_hash_size(algorithms[i])) != 0)
			return false;
	return true;
}

/* A section holds the text alone, or with the NUL or the line end that its maker put behind it. */
static int cmdline_check(const struct image_reference *ref, struct tl_error *err)
{
	size_t n = strlen(ref->cmdline);
	auto_free char *line = malloc(n + 2);

	if (!line)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a command line");
	memcpy(line, ref->cmdline, n);
	line[n] = '\n';
	for (size_t i = 0; i < ref->n; i++)
		if (ref->events[i].pcr == IMAGE_PCR_UKI &&
		    (event_is_of(&ref->events[i], ref->cmdline, n) ||
		     event_is_of(&ref->events[i], ref->cmdline, n + 1) ||
		     event_is_of(&ref->events[i], line, n + 1)))
			return 0;
	return bad(err, "cmdline", "isn't what any event of PCR 11 measures");
}

/* What the firmware starts first is the UKI. */
static int programs_read(struct image_reference *ref, struct tl_error *err)
{
	for (size_t i = 0; i < ref->n; i++) {
		if (ref->events[i].pcr != IMAGE_PCR_PROGRAMS)
			continue;
		tl_hex_encode(image_digest(&ref->events[i].digests, TL_SHA256), 32, ref->uki);
		return 0;
	}
	return bad(err, "events", "has none of PCR 4: which program booted?");
}

/* Registers in which a firmware has no events of its own: events and value must be one story. */
static int registers_check(const struct image_reference *ref, struct tl_error *err)
{
	static const unsigned int alone[] = { IMAGE_PCR_KERNEL, IMAGE_PCR_UKI,
					      IMAGE_PCR_OVERRIDES };

	if (!(ref->pcr_mask >> IMAGE_PCR_UKI & 1) || !(ref->pcr_mask >> IMAGE_PCR_OVERRIDES & 1))
		return bad(err, "pcrs", "must have 11 and 12");
	for (size_t p = 0; p < TL_ARRAY_SIZE(alone); p++) {
		for (size_t i = 0; (ref->pcr_mask >> alone[p] & 1) && i < IMAGE_ALGORITHMS; i++) {
			uint8_t value[TL_HASH_SIZE_MAX] = { 0 };

			for (size_t k = 0; k < ref->n; k++)
				if (ref->events[k].pcr == alone[p] &&
				    tl_register_extend(algorithms[i], value,
						       ref->events[k].digests.value[i]) < 0)
					return tl_fail(err, TL_E_INTERNAL, EIO, "hash failed");
			if (memcmp(value, ref->pcrs[alone[p]].value[i],
				   tl_hash_size(algorithms[i])) != 0)
				return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL,
					       "'pcrs.%u.%s' isn't what 'events' lead to", alone[p],
					       tl_hash_name(algorithms[i]));
		}
	}
	return 0;
}

static int document_read(const json_t *root, struct image_reference *ref, struct tl_error *err)
{
	const char *schema = json_string_value(json_object_get(root, "schema"));
	int r;

	if (!schema || strcmp(schema, IMAGE_REFERENCE_SCHEMA) != 0)
		return bad(err, "schema", "must be \"" IMAGE_REFERENCE_SCHEMA "\"");
	r = texts_read(root, ref, err);
	if (r == 0)
		r = events_read(root, ref, err);
	if (r == 0)
		r = pcrs_read(root, ref, err);
	if (r == 0)
		r = tdx_references_read(root, ref, err);
	if (r == 0)
		r = snp_references_read(root, ref, err);
	if (r == 0)
		r = flavour_check(ref, err);
	if (r == 0)
		r = cmdline_check(ref, err);
	if (r == 0)
		r = programs_read(ref, err);
	return r < 0 ? r : registers_check(ref, err);
}

int image_reference_parse(const void *text, size_t n, struct image_reference *ret,
			  struct tl_error *err)
{
	auto_image_reference struct image_reference ref = { 0 };
	const char *too_much = tl_json_scan(text, n, NULL);
	json_error_t where = { 0 };
	json_t *root = NULL;
	int r;

	if (n > IMAGE_REFERENCE_FILE_MAX)
		too_much = "too large";
	if (too_much)
		return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL, "the document is %s", too_much);
	root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
	if (json_is_object(root))
		r = document_read(root, &ref, err);
	else
		r = tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL, "no JSON object: %s (byte %d)",
			    where.text, where.position);
	json_decref(root);
	if (r < 0)
		return r;
	*ret = ref;
	ref = (struct image_reference){ 0 };
	return 0;
}

void image_reference_done(struct image_reference *r)
{
	char *const texts[] = {
		r->name, r->version, r->commit, r->flavour, r->cmdline, r->roothash
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < r->n; i++)
		free(r->events[i].name);
	free(r->events);
	free(r->tdx);
	free(r->snp);
	*r = (struct image_reference){ 0 };
}
