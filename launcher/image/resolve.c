/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

/* OCI's word for the architecture this program was built for (Go's GOARCH). */
#if defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE "amd64"
#endif

void tl_resolved_image_done(struct tl_resolved_image *image)
{
	if (!image)
		return;
	tl_image_ref_done(&image->ref);
	tl_descriptor_done(&image->target);
	tl_descriptor_done(&image->manifest);
	tl_descriptor_done(&image->config);
	tl_buf_done(&image->index_bytes);
	tl_buf_done(&image->manifest_bytes);
	tl_buf_done(&image->config_bytes);
	tl_image_config_done(&image->parsed);
	for (size_t i = 0; i < image->layers_n; i++) {
		tl_descriptor_done(&image->layers[i].descriptor);
		free(image->layers[i].diff_id);
	}
	free(image->layers);
	*image = (struct tl_resolved_image){ 0 };
}

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the image's description");
}

static char *copy_or_null(const char *s)
{
	return s ? strdup(s) : NULL;
}

static int ref_copy(const struct tl_image_ref *from, struct tl_image_ref *ret, struct tl_error *err)
{
	*ret = (struct tl_image_ref){
		.text = strdup(from->text),
		.host = strdup(from->host),
		.path = strdup(from->path),
		.tag = copy_or_null(from->tag),
		.digest = copy_or_null(from->digest),
	};
	if (!ret->text || !ret->host || !ret->path || (from->tag && !ret->tag) ||
	    (from->digest && !ret->digest))
		return no_memory(err);
	return 0;
}

/* Hand the bytes of @d over. */
static void bytes_take(struct registry_document *d, struct tl_buf *ret)
{
	*ret = d->bytes;
	tl_buf_init(&d->bytes, 0);
}

/* The manifest of this machine's platform out of the index @m. Replaces @m. */
static int index_follow(struct tl_registry *registry, const char *architecture, struct manifest *m,
			struct tl_resolved_image *image, bool *ret_is_unnamed, struct tl_error *err)
{
	auto_registry_document struct registry_document d = { 0 };
	auto_manifest struct manifest chosen = { 0 };
	const struct tl_descriptor *entry;
	int r = manifest_choose(m, architecture, &image->index_entry, err);

	if (r < 0)
		return r;
	entry = &m->entries[image->index_entry].descriptor;
	r = registry_get_manifest(registry, entry->digest, &d, err);
	if (r < 0)
		return tl_wrap(err, r, "the index's manifest for this machine");
	if (d.bytes.len_bytes != entry->size_bytes)
		return tl_fail(err, TL_E_IMAGE_DIGEST, EBADMSG,
			       "the manifest has %zu bytes, but its index says %llu",
			       d.bytes.len_bytes, (unsigned long long)entry->size_bytes);
	/* The index says what it is; the registry's Content-Type is no more than a repetition. */
	r = manifest_parse(entry->media_type, d.bytes.data, d.bytes.len_bytes, &chosen, err);
	if (r < 0)
		return tl_wrap(err, r, "manifest %s", entry->digest);
	if (tl_descriptor_copy(entry, &image->manifest) < 0)
		return no_memory(err);
	bytes_take(&d, &image->manifest_bytes);
	image->has_index = true;
	*ret_is_unnamed = !m->entries[image->index_entry].has_platform;
	manifest_done(m);
	*m = chosen;
	chosen = (struct manifest){ 0 };
	return 0;
}

static int target_get(struct tl_registry *registry, const char *architecture,
		      struct tl_resolved_image *image, struct manifest *ret, bool *ret_is_unnamed,
		      struct tl_error *err)
{
	const struct tl_image_ref *ref = &image->ref;
	auto_registry_document struct registry_document d = { 0 };
	int r = registry_get_manifest(registry, ref->digest ? ref->digest : ref->tag, &d, err);

	if (r < 0)
		return r;
	r = manifest_parse(d.descriptor.media_type, d.bytes.data, d.bytes.len_bytes, ret, err);
	if (r < 0)
		return tl_wrap(err, r, "manifest %s", d.descriptor.digest);
	if (tl_descriptor_copy(&d.descriptor, &image->target) < 0)
		return no_memory(err);
	if (ret->kind == MEDIA_INDEX) {
		bytes_take(&d, &image->index_bytes);
		return index_follow(registry, architecture, ret, image, ret_is_unnamed, err);
	}
	if (tl_descriptor_copy(&d.descriptor, &image->manifest) < 0)
		return no_memory(err);
	bytes_take(&d, &image->manifest_bytes);
	return 0;
}

static int config_get(struct tl_registry *registry, const struct manifest *m,
		      struct tl_resolved_image *image, struct tl_error *err)
{
	int r;

	if (m->config.size_bytes > TL_IMAGE_CONFIG_BYTES_MAX)
		return tl_fail(err, TL_E_MANIFEST_LIMIT, EFBIG,
			       "the configuration has %llu bytes, and may have at most %d",
			       (unsigned long long)m->config.size_bytes, TL_IMAGE_CONFIG_BYTES_MAX);
	if (tl_descriptor_copy(&m->config, &image->config) < 0)
		return no_memory(err);
	r = registry_get_small_blob(registry, &m->config, "configuration", &image->config_bytes,
				    err);
	if (r < 0)
		return r;
	return tl_image_config_parse((const char *)image->config_bytes.data,
				     image->config_bytes.len_bytes, &image->parsed, err);
}

/* OCI image specification 1.1, config.md, "Layer ChainID". */
static int chain_next(const struct tl_digest_text *parent, const char *diff_id,
		      struct tl_digest_text *ret, struct tl_error *err)
{
	char both[2 * TL_DIGEST_TEXT_MAX + 1];
	int n;

	if (!parent) {
		snprintf(ret->text, sizeof(ret->text), "%s", diff_id);
		return 0;
	}
	n = snprintf(both, sizeof(both), "%s %s", parent->text, diff_id);
	if (n < 0 || (size_t)n >= sizeof(both) || tl_digest_text_of(both, (size_t)n, ret) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "chain id");
	return 0;
}

static bool is_first_of_its_digest(const struct manifest *m, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(m->layers[k].digest, m->layers[i].digest) == 0)
			return false;
	return true;
}

static int layer_make(const struct manifest *m, size_t i, struct tl_resolved_image *image,
		      struct tl_error *err)
{
	const char *diff_id = image->parsed.diff_ids.items[i];
	struct tl_layer *layer = &image->layers[i];

	if (!tl_digest_text_is_valid(diff_id))
		return tl_fail(err, TL_E_IMAGE_LAYERS, EINVAL,
			       "rootfs.diff_ids[%zu] of the configuration isn't a digest", i);
	/* Counted first: the caller's cleanup must see a half-made layer too. */
	image->layers_n = i + 1;
	layer->diff_id = strdup(diff_id);
	if (!layer->diff_id || tl_descriptor_copy(&m->layers[i], &layer->descriptor) < 0)
		return no_memory(err);
	if (is_first_of_its_digest(m, i))
		image->layers_bytes += layer->descriptor.size_bytes;
	return chain_next(i ? &image->layers[i - 1].chain_id : NULL, diff_id, &layer->chain_id,
			  err);
}

static int layers_make(const struct manifest *m, struct tl_resolved_image *image,
		       struct tl_error *err)
{
	if (image->parsed.diff_ids.n != m->layers_n)
		return tl_fail(err, TL_E_IMAGE_LAYERS, EINVAL,
			       "the manifest has %zu layers, the configuration %zu (diff_ids)",
			       m->layers_n, image->parsed.diff_ids.n);
	image->layers = calloc(m->layers_n ? m->layers_n : 1, sizeof(*image->layers));
	if (!image->layers)
		return no_memory(err);
	for (size_t i = 0; i < m->layers_n; i++) {
		int r = layer_make(m, i, image, err);

		if (r < 0)
			return r;
	}
	image->chain_id = image->layers[m->layers_n - 1].chain_id;
	return 0;
}

/* An entry that named no platform was taken on trust: now its configuration must say it. */
static int platform_check(bool is_unnamed, const char *architecture,
			  struct tl_resolved_image *image, struct tl_error *err)
{
	const struct tl_image_config *c = &image->parsed;
	bool is_stated = !tl_str_is_empty(c->os) && !tl_str_is_empty(c->architecture);
	const char *variant = c->variant ? c->variant : "";

	image->is_platform_foreign =
		is_stated && !platform_matches(c->os, c->architecture, variant, architecture);
	if (is_unnamed && (!is_stated || image->is_platform_foreign))
		return tl_fail(err, TL_E_IMAGE_PLATFORM, ENOENT,
			       "the image's index has no entry for linux/%s, and the one without a "
			       "platform isn't for it either",
			       architecture);
	return 0;
}

static int resolve(struct tl_registry *registry, const struct tl_image_ref *ref,
		   const char *architecture, struct tl_resolved_image *image, struct tl_error *err)
{
	auto_manifest struct manifest m = { 0 };
	bool is_unnamed = false;
	int r = ref_copy(ref, &image->ref, err);

	if (r == 0)
		r = target_get(registry, architecture, image, &m, &is_unnamed, err);
	if (r == 0)
		r = manifest_check_runnable(&m, err);
	if (r == 0)
		r = config_get(registry, &m, image, err);
	if (r == 0)
		r = platform_check(is_unnamed, architecture, image, err);
	return r < 0 ? r : layers_make(&m, image, err);
}

int tl_resolve(struct tl_registry *registry, const struct tl_image_ref *ref,
	       const char *architecture, struct tl_resolved_image *ret, struct tl_error *err)
{
	auto_resolved_image struct tl_resolved_image image = { 0 };
	struct tl_error own = { 0 };
	int r = resolve(registry, ref, architecture ? architecture : ARCHITECTURE, &image,
			err ? err : &own);

	if (r < 0)
		return r;
	*ret = image;
	image = (struct tl_resolved_image){ 0 };
	return 0;
}
