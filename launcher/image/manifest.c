/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/json_scan.h>

/* RFC 6838 section 4.2: 127 characters each for type and subtype. */
#define MEDIA_TYPE_BYTES_MAX 255

static const struct {
	const char *name;
	enum media_kind kind;
} media_types[] = {
	{ "application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST },
	{ "application/vnd.oci.image.index.v1+json", MEDIA_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX },
	{ "application/vnd.docker.distribution.manifest.v1+json", MEDIA_SCHEMA1 },
	{ "application/vnd.docker.distribution.manifest.v1+prettyjws", MEDIA_SCHEMA1 },
	{ "application/vnd.oci.image.config.v1+json", MEDIA_CONFIG },
	{ "application/vnd.docker.container.image.v1+json", MEDIA_CONFIG },
	{ "application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER },
	{ "application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER },
	{ "application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_LAYER_FOREIGN },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_LAYER_FOREIGN },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_LAYER_FOREIGN },
	{ "application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_LAYER_FOREIGN },
	{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_LAYER_FOREIGN },
};

enum media_kind media_kind_of(const char *media_type)
{
	size_t n = strcspn(media_type, "; \t");

	for (size_t i = 0; i < TL_ARRAY_SIZE(media_types); i++)
		if (strlen(media_types[i].name) == n &&
		    strncasecmp(media_types[i].name, media_type, n) == 0)
			return media_types[i].kind;
	return MEDIA_UNKNOWN;
}

void tl_descriptor_done(struct tl_descriptor *d)
{
	if (!d)
		return;
	free(d->media_type);
	free(d->digest);
	*d = (struct tl_descriptor){ 0 };
}

int tl_descriptor_copy(const struct tl_descriptor *from, struct tl_descriptor *ret)
{
	auto_free char *media_type = strdup(from->media_type);
	auto_free char *digest = strdup(from->digest);

	if (!media_type || !digest)
		return -ENOMEM;
	*ret = (struct tl_descriptor){
		.media_type = take_ptr(media_type),
		.digest = take_ptr(digest),
		.size_bytes = from->size_bytes,
	};
	return 0;
}

static void entry_done(struct index_entry *e)
{
	tl_descriptor_done(&e->descriptor);
	free(e->platform.os);
	free(e->platform.architecture);
	free(e->platform.variant);
}

void manifest_done(struct manifest *m)
{
	if (!m)
		return;
	tl_descriptor_done(&m->config);
	for (size_t i = 0; i < m->layers_n; i++)
		tl_descriptor_done(&m->layers[i]);
	for (size_t i = 0; i < m->entries_n; i++)
		entry_done(&m->entries[i]);
	free(m->layers);
	free(m->entries);
	*m = (struct manifest){ 0 };
}

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the image's manifest");
}

/* Keys that mean something to some reader; the same letters in another case must not appear. */
static const char *const keys_known[] = {
	"schemaVersion", "mediaType",    "config",  "layers",   "manifests",   "fsLayers",
	"digest",        "size",         "urls",    "platform", "os",          "architecture",
	"variant",       "artifactType", "subject", "data",     "annotations",
};

/* Readers that fold case (Go's encoding/json does) would take another value than we do. */
static int keys_check(const json_t *object, const char *where, struct tl_error *err)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		for (const char *p = key; *p; p++)
			if ((unsigned char)*p >= 0x80)
				return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL,
					       "%s: the key '%.64s' isn't ASCII", where, key);
		for (size_t i = 0; i < TL_ARRAY_SIZE(keys_known); i++)
			if (strcasecmp(key, keys_known[i]) == 0 && strcmp(key, keys_known[i]) != 0)
				return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL,
					       "%s: the key '%.64s' must be written '%s'", where,
					       key, keys_known[i]);
	}
	return 0;
}

/* A string member. Absent is NULL in @ret, which is borrowed; another type is refused. */
static int string_get(const json_t *object, const char *key, const char *where, const char **ret,
		      struct tl_error *err)
{
	const json_t *v = json_object_get(object, key);

	*ret = NULL;
	if (!v)
		return 0;
	if (!json_is_string(v))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "%s: '%s' isn't a string", where,
			       key);
	*ret = json_string_value(v);
	return 0;
}

static int size_get(const json_t *object, const char *where, uint64_t *ret, struct tl_error *err)
{
	const json_t *v = json_object_get(object, "size");
	json_int_t size;

	if (!json_is_integer(v))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL,
			       "%s: 'size' is missing or isn't an integer", where);
	size = json_integer_value(v);
	if (size < 0)
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "%s: 'size' is negative", where);
	if ((uint64_t)size > BLOB_BYTES_MAX)
		return tl_fail(err, TL_E_MANIFEST_LIMIT, EFBIG,
			       "%s: 'size' is %" JSON_INTEGER_FORMAT
			       " bytes, and may be at most %llu",
			       where, size, (unsigned long long)BLOB_BYTES_MAX);
	*ret = (uint64_t)size;
	return 0;
}

static int descriptor_parse(const json_t *object, const char *where, struct tl_descriptor *ret,
			    struct tl_error *err)
{
	struct tl_descriptor borrowed = { 0 };
	const char *media_type, *digest;
	int r;

	if (!json_is_object(object))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "%s isn't an object", where);
	r = keys_check(object, where, err);
	if (r < 0)
		return r;
	r = string_get(object, "mediaType", where, &media_type, err);
	if (r < 0)
		return r;
	r = string_get(object, "digest", where, &digest, err);
	if (r < 0)
		return r;
	r = size_get(object, where, &borrowed.size_bytes, err);
	if (r < 0)
		return r;
	if (tl_str_is_empty(media_type) || strlen(media_type) > MEDIA_TYPE_BYTES_MAX)
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL,
			       "%s: 'mediaType' is missing or too long", where);
	if (!digest || !tl_digest_text_is_valid(digest))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL,
			       "%s: 'digest' must be sha256: or sha512: with lower-case hex",
			       where);
	auto_free char *media_copy = strdup(media_type);
	auto_free char *digest_copy = strdup(digest);

	if (!media_copy || !digest_copy)
		return no_memory(err);
	borrowed.media_type = take_ptr(media_copy);
	borrowed.digest = take_ptr(digest_copy);
	*ret = borrowed;
	return 0;
}

/* The array @key with 1 to @max elements of which each must be read. */
static int array_get(const json_t *root, const char *key, size_t max, json_t **ret, size_t *ret_n,
		     struct tl_error *err)
{
	json_t *array = json_object_get(root, key);

	if (!json_is_array(array))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL,
			       "'%s' is missing or isn't an array", key);
	*ret_n = json_array_size(array);
	if (*ret_n > max)
		return tl_fail(err, TL_E_MANIFEST_LIMIT, EFBIG,
			       "'%s' has %zu elements, and may have at most %zu", key, *ret_n, max);
	*ret = array;
	return 0;
}

static int layers_parse(const json_t *root, struct manifest *m, struct tl_error *err)
{
	json_t *array = NULL;
	size_t n = 0;
	int r = array_get(root, "layers", LAYERS_MAX, &array, &n, err);

	if (r < 0)
		return r;
	r = descriptor_parse(json_object_get(root, "config"), "'config'", &m->config, err);
	if (r < 0)
		return r;
	m->layers = calloc(n ? n : 1, sizeof(*m->layers));
	if (!m->layers)
		return no_memory(err);
	while (m->layers_n < n) {
		char where[32];

		snprintf(where, sizeof(where), "layers[%zu]", m->layers_n);
		r = descriptor_parse(json_array_get(array, m->layers_n), where,
				     &m->layers[m->layers_n], err);
		if (r < 0)
			return r;
		m->layers_n++;
	}
	return 0;
}

static int platform_parse(const json_t *object, const char *where, struct platform *ret,
			  struct tl_error *err)
{
	static const char *const keys[] = { "os", "architecture", "variant" };
	char **const fields[] = { &ret->os, &ret->architecture, &ret->variant };
	int r;

	if (!json_is_object(object))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "%s: 'platform' isn't an object",
			       where);
	r = keys_check(object, where, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < TL_ARRAY_SIZE(keys); i++) {
		const char *value;

		r = string_get(object, keys[i], where, &value, err);
		if (r < 0)
			return r;
		*fields[i] = strdup(value ? value : "");
		if (!*fields[i])
			return no_memory(err);
	}
	return 0;
}

static int entry_parse(const json_t *object, size_t i, struct index_entry *e, struct tl_error *err)
{
	char where[32];
	const json_t *platform;
	int r;

	snprintf(where, sizeof(where), "manifests[%zu]", i);
	r = descriptor_parse(object, where, &e->descriptor, err);
	if (r < 0)
		return r;
	platform = json_object_get(object, "platform");
	if (!platform || json_is_null(platform))
		return 0;
	e->has_platform = true;
	return platform_parse(platform, where, &e->platform, err);
}

static int entries_parse(const json_t *root, struct manifest *m, struct tl_error *err)
{
	json_t *array = NULL;
	size_t n = 0;
	int r = array_get(root, "manifests", INDEX_ENTRIES_MAX, &array, &n, err);

	if (r < 0)
		return r;
	m->entries = calloc(n ? n : 1, sizeof(*m->entries));
	if (!m->entries)
		return no_memory(err);
	for (size_t i = 0; i < n; i++) {
		/* Counted first: manifest_done() must see a half-read entry too. */
		m->entries_n = i + 1;
		r = entry_parse(json_array_get(array, i), i, &m->entries[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int type_check(const json_t *root, enum media_kind kind, const char *media_type,
		      struct tl_error *err)
{
	const char *own;
	int r;

	if (kind == MEDIA_SCHEMA1 || json_object_get(root, "fsLayers"))
		return tl_fail(
			err, TL_E_MANIFEST_TYPE, EINVAL,
			"the image has a Docker schema 1 manifest, which names no verifiable "
			"content; push it again with a current tool");
	if (kind != MEDIA_MANIFEST && kind != MEDIA_INDEX)
		return tl_fail(err, TL_E_MANIFEST_TYPE, EINVAL,
			       "the media type '%.100s' is neither an image manifest nor an index",
			       media_type);
	r = string_get(root, "mediaType", "the manifest", &own, err);
	if (r < 0)
		return r;
	if (own && media_kind_of(own) != kind)
		return tl_fail(err, TL_E_MANIFEST_TYPE, EINVAL,
			       "the document calls itself '%.100s' but was served as '%.100s'", own,
			       media_type);
	if (kind == MEDIA_MANIFEST && json_object_get(root, "manifests"))
		return tl_fail(err, TL_E_MANIFEST_TYPE, EINVAL,
			       "served as a manifest, but 'manifests' makes it an index");
	if (kind == MEDIA_INDEX &&
	    (json_object_get(root, "layers") || json_object_get(root, "config")))
		return tl_fail(err, TL_E_MANIFEST_TYPE, EINVAL,
			       "served as an index, but 'layers' or 'config' makes it a manifest");
	return 0;
}

static int version_check(const json_t *root, struct tl_error *err)
{
	const json_t *version = json_object_get(root, "schemaVersion");

	if (!json_is_integer(version) || json_integer_value(version) != 2)
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "'schemaVersion' isn't 2");
	return 0;
}

static int root_parse(const json_t *root, const char *media_type, struct manifest *m,
		      struct tl_error *err)
{
	int r;

	if (!json_is_object(root))
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "the document isn't an object");
	r = keys_check(root, "the document", err);
	if (r < 0)
		return r;
	m->kind = media_kind_of(media_type);
	r = type_check(root, m->kind, media_type, err);
	if (r < 0)
		return r;
	r = version_check(root, err);
	if (r < 0)
		return r;
	return m->kind == MEDIA_INDEX ? entries_parse(root, m, err) : layers_parse(root, m, err);
}

int manifest_parse(const char *media_type, const void *text, size_t n, struct manifest *ret,
		   struct tl_error *err)
{
	auto_manifest struct manifest m = { 0 };
	json_auto_t *root = NULL;
	json_error_t fault;
	const char *limit;
	int r;

	if (n > MANIFEST_BYTES_MAX)
		return tl_fail(err, TL_E_MANIFEST_LIMIT, EFBIG,
			       "the document has %zu bytes, and may have at most %d", n,
			       MANIFEST_BYTES_MAX);
	limit = tl_json_scan(text, n, NULL);
	if (limit)
		return tl_fail(err, TL_E_MANIFEST_LIMIT, EFBIG, "the document is %s", limit);
	root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &fault);
	if (!root)
		return tl_fail(err, TL_E_MANIFEST_SYNTAX, EINVAL, "not JSON, line %d: %s",
			       fault.line, fault.text);
	r = root_parse(root, media_type, &m, err);
	if (r < 0)
		return r;
	*ret = m;
	m = (struct manifest){ 0 };
	return 0;
}

int manifest_check_runnable(const struct manifest *m, struct tl_error *err)
{
	if (m->kind != MEDIA_MANIFEST)
		return tl_fail(err, TL_E_LAYER_TYPE, EINVAL, "an index can't be run itself");
	if (media_kind_of(m->config.media_type) != MEDIA_CONFIG)
		return tl_fail(
			err, TL_E_LAYER_TYPE, EINVAL,
			"the configuration is of type '%.100s': this isn't a container image",
			m->config.media_type);
	if (!m->layers_n)
		return tl_fail(err, TL_E_LAYER_TYPE, EINVAL, "the image has no layers");
	for (size_t i = 0; i < m->layers_n; i++) {
		enum media_kind kind = media_kind_of(m->layers[i].media_type);

		if (kind != MEDIA_LAYER && kind != MEDIA_LAYER_FOREIGN)
			return tl_fail(err, TL_E_LAYER_TYPE, EINVAL,
				       "layers[%zu] is of type '%.100s'; only tar, tar+gzip and "
				       "tar+zstd layers can be unpacked",
				       i, m->layers[i].media_type);
	}
	return 0;
}
