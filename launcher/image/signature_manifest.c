/* SPDX-License-Identifier: Apache-2.0 */
#include "signature_manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>

#define INDEX_TYPE     "application/vnd.oci.image.index.v1+json"
#define SIGNATURE_TYPE "application/vnd.dev.cosign.artifact.sig.v1+json"
#define ANNOTATION     "dev.cosignproject.cosign/signature"

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for image signatures");
}

void signature_manifest_done(struct signature_manifest *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		tl_descriptor_done(&m->layers[i].payload);
		free(m->layers[i].signature);
	}
	free(m->layers);
	*m = (struct signature_manifest){ 0 };
}

/* What manifest_parse() accepted is JSON of limited size; it keeps no annotations. */
static int layers_take(const json_t *list, struct manifest *m, struct signature_manifest *ret,
		       struct tl_error *err)
{
	ret->layers = calloc(m->layers_n ? m->layers_n : 1, sizeof(*ret->layers));
	if (!ret->layers)
		return no_memory(err);
	for (size_t i = 0; i < m->layers_n; i++) {
		const json_t *annotations = json_object_get(json_array_get(list, i), "annotations");
		const char *text = json_string_value(json_object_get(annotations, ANNOTATION));
		struct signature_layer *layer = &ret->layers[ret->n++];

		layer->payload = m->layers[i];
		m->layers[i] = (struct tl_descriptor){ 0 };
		if (!text)
			continue;
		layer->signature = strdup(text);
		if (!layer->signature)
			return no_memory(err);
	}
	return 0;
}

int signature_manifest_parse(const char *media_type, const void *text, size_t n,
			     struct signature_manifest *ret, struct tl_error *err)
{
	auto_manifest struct manifest m = { 0 };
	auto_signature_manifest struct signature_manifest got = { 0 };
	json_auto_t *doc = NULL;
	int r = manifest_parse(media_type, text, n, &m, err);

	if (r < 0)
		return r;
	if (m.kind != MEDIA_MANIFEST)
		return tl_fail(err, TL_E_MANIFEST_TYPE, EINVAL, "it is an index");
	doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	if (!doc)
		return no_memory(err);
	r = layers_take(json_object_get(doc, "layers"), &m, &got, err);
	if (r < 0)
		return r;
	*ret = got;
	got = (struct signature_manifest){ 0 };
	return 0;
}

int referrers_parse(const void *text, size_t n, struct tl_strv *ret, size_t *ret_skipped,
		    struct tl_error *err)
{
	auto_manifest struct manifest m = { 0 };
	auto_strv struct tl_strv digests = { 0 };
	json_auto_t *doc = NULL;
	size_t skipped = 0;
	int r = manifest_parse(INDEX_TYPE, text, n, &m, err);

	if (r < 0)
		return r;
	doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	if (!doc)
		return no_memory(err);
	for (size_t i = 0; i < m.entries_n; i++) {
		const json_t *entry = json_array_get(json_object_get(doc, "manifests"), i);
		const char *type = json_string_value(json_object_get(entry, "artifactType"));

		if (!type || strcmp(type, SIGNATURE_TYPE) != 0)
			continue;
		if (digests.n == REFERRERS_MAX)
			skipped++;
		else if (tl_strv_add(&digests, m.entries[i].descriptor.digest) < 0)
			return no_memory(err);
	}
	*ret = digests;
	*ret_skipped = skipped;
	digests = (struct tl_strv){ 0 };
	return 0;
}
