/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image configuration out of an OCI layout on disk (OCI image specification 1.1,
 * image-layout.md). Manifests are read and chosen by the code that teelaunchd pulls with.
 */
#include "judge.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>

#include "../launcher/image/manifest.h"

#define LAYOUT_PREFIX "oci:"
#define INDEX_TYPE    "application/vnd.oci.image.index.v1+json"
#define TAG_NAME      "org.opencontainers.image.ref.name"

static int content_check(const struct tl_descriptor *d, const struct tl_buf *text,
			 struct tl_error *err)
{
	uint8_t digest[TL_HASH_SIZE_MAX];
	char hex[2 * TL_HASH_SIZE_MAX + 1];
	const char *colon = strchr(d->digest, ':');
	auto_free char *name = strndup(d->digest, (size_t)(colon - d->digest));
	uint16_t hash = name ? tl_hash_by_name(name) : 0;

	if (tl_digest(hash, tl_buf_str(text), text->len_bytes, digest) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "hash of '%s'", d->digest);
	tl_hex_encode(digest, tl_hash_size(hash), hex);
	if (text->len_bytes == d->size_bytes && strcmp(hex, colon + 1) == 0)
		return 0;
	return tl_fail(err, TL_E_IMAGE_DIGEST, EBADMSG,
		       "the layout's blob '%s' doesn't have this digest, or not %llu bytes",
		       d->digest, (unsigned long long)d->size_bytes);
}

static int blob_read(const char *folder, const struct tl_descriptor *d, struct tl_buf *ret,
		     struct tl_error *err)
{
	auto_free char *path = NULL;
	int r;

	/* manifest_parse() has checked the digest: hex digits behind a known name. */
	if (asprintf(&path, "%s/blobs/%s", folder, d->digest) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "path of a blob");
	*strrchr(path, ':') = '/';
	tl_buf_reset(ret);
	r = tl_file_read(path, ret, err);
	return r ? r : content_check(d, ret, err);
}

/* Is this the entry of the layout's index with that tag? */
static bool has_tag(const json_t *entry, const char *tag)
{
	const json_t *annotations = json_object_get(entry, "annotations");
	const char *name = json_string_value(json_object_get(annotations, TAG_NAME));

	return name && strcmp(name, tag) == 0;
}

/* manifest_parse() keeps no annotations; the entries have the same order in both. */
static int entry_find(const struct tl_buf *text, const char *tag, size_t *ret, struct tl_error *err)
{
	json_auto_t *index = json_loadb(tl_buf_str(text), text->len_bytes, JSON_ALLOW_NUL, NULL);
	const json_t *entries = json_object_get(index, "manifests");

	if (!tag && json_array_size(entries) == 1) {
		*ret = 0;
		return 0;
	}
	if (!tag)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "the layout holds %zu images; name one: oci:DIR:TAG",
			       json_array_size(entries));
	for (size_t i = 0; i < json_array_size(entries); i++) {
		if (!has_tag(json_array_get(entries, i), tag))
			continue;
		*ret = i;
		return 0;
	}
	return tl_fail(err, TL_E_IMAGE_NOT_FOUND, ENOENT, "the layout has no image '%s'", tag);
}

static int document_read(const char *folder, const struct tl_descriptor *d, struct tl_buf *text,
			 struct manifest *ret, struct tl_error *err)
{
	int r = blob_read(folder, d, text, err);

	return r ? r : manifest_parse(d->media_type, tl_buf_str(text), text->len_bytes, ret, err);
}

/* From a manifest, or an index of such, to the manifest of one platform; @ret_at: its own. */
static int manifest_read(const char *folder, const char *architecture,
			 const struct tl_descriptor *from, struct tl_buf *text,
			 struct manifest *ret, struct tl_descriptor *ret_at, struct tl_error *err)
{
	auto_manifest struct manifest top = { 0 };
	size_t chosen = 0;
	int r = document_read(folder, from, text, &top, err);

	if (!r && top.kind == MEDIA_MANIFEST) {
		*ret = top;
		top = (struct manifest){ 0 };
		return tl_descriptor_copy(from, ret_at);
	}
	/* It chooses manifests only: an index in this index leads nowhere. */
	if (!r)
		r = manifest_choose(&top, architecture, &chosen, err);
	if (!r)
		r = document_read(folder, &top.entries[chosen].descriptor, text, ret, err);
	return r ? r : tl_descriptor_copy(&top.entries[chosen].descriptor, ret_at);
}

/* As tl_resolve() compares them: teelaunchd would refuse the image. */
static int layers_check(const struct manifest *m, const struct tl_buf *text, struct tl_error *err)
{
	struct tl_image_config config = { 0 };
	int r = tl_image_config_parse(tl_buf_str(text), text->len_bytes, &config, err);

	if (!r && config.diff_ids.n != m->layers_n)
		r = tl_fail(err, TL_E_IMAGE_LAYERS, EINVAL,
			    "the manifest has %zu layers, the configuration %zu (diff_ids)",
			    m->layers_n, config.diff_ids.n);
	tl_image_config_done(&config);
	return r;
}

static int layout_read(struct judge *j, const char *folder, const char *tag, struct tl_buf *ret,
		       struct tl_error *err)
{
	auto_manifest struct manifest index = { 0 }, m = { 0 };
	struct tl_descriptor at = { 0 };
	auto_free char *path = NULL;
	size_t i = 0;
	int r;

	if (asprintf(&path, "%s/index.json", folder) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "path of a layout");
	r = tl_file_read(path, ret, err);
	if (!r)
		r = manifest_parse(INDEX_TYPE, tl_buf_str(ret), ret->len_bytes, &index, err);
	if (!r)
		r = entry_find(ret, tag, &i, err);
	if (!r)
		r = manifest_read(folder, j->architecture, &index.entries[i].descriptor, ret, &m,
				  &at, err);
	if (!r)
		r = manifest_check_runnable(&m, err);
	if (!r)
		r = blob_read(folder, &m.config, ret, err);
	if (!r)
		r = layers_check(&m, ret, err);
	if (!r)
		r = judge_digests_keep(j, index.entries[i].descriptor.digest, at.digest,
				       m.config.digest, err);
	tl_descriptor_done(&at);
	return r;
}

int judge_image_read(struct judge *j, struct tl_buf *ret, struct tl_error *err)
{
	auto_free char *folder = NULL;
	char *colon;

	if (!tl_str_starts_with(j->image, LAYOUT_PREFIX))
		return judge_registry_read(j, ret, err);
	folder = strdup(j->image + strlen(LAYOUT_PREFIX));
	if (!folder)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "path of a layout");
	colon = strrchr(folder, ':');
	if (colon)
		*colon = '\0';
	return layout_read(j, folder, colon ? colon + 1 : NULL, ret, err);
}
