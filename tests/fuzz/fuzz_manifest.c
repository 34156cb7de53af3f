/* SPDX-License-Identifier: Apache-2.0 */
/* launcher/image: manifests and indexes. The first line is the media type, the rest the document.
 */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>

#include "launcher/image/manifest.h"

static void descriptor_is_sound(const struct tl_descriptor *d)
{
	FUZZ_CHECK(d->media_type && *d->media_type);
	FUZZ_CHECK(d->digest && tl_digest_text_is_valid(d->digest));
	FUZZ_CHECK(d->size_bytes <= BLOB_BYTES_MAX);
}

static void manifest_is_sound(const struct manifest *m)
{
	size_t at = SIZE_MAX;

	FUZZ_CHECK(m->kind == MEDIA_MANIFEST || m->kind == MEDIA_INDEX);
	FUZZ_CHECK(m->layers_n <= LAYERS_MAX && m->entries_n <= INDEX_ENTRIES_MAX);
	FUZZ_CHECK(m->kind == MEDIA_MANIFEST ? !m->entries_n : !m->layers_n);
	if (m->kind == MEDIA_MANIFEST)
		descriptor_is_sound(&m->config);
	for (size_t i = 0; i < m->layers_n; i++)
		descriptor_is_sound(&m->layers[i]);
	for (size_t i = 0; i < m->entries_n; i++)
		descriptor_is_sound(&m->entries[i].descriptor);
	(void)manifest_check_runnable(m, NULL);
	FUZZ_CHECK(manifest_choose(m, "amd64", &at, NULL) < 0 ? at == SIZE_MAX : at < m->entries_n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t type_len = newline ? (size_t)(newline - data) : 0;
	auto_free char *media_type = strndup((const char *)data, type_len);
	auto_manifest struct manifest m = { 0 };
	struct tl_error err = { 0 };

	FUZZ_CHECK(media_type);
	if (newline)
		type_len++;
	if (manifest_parse(media_type, data + type_len, size - type_len, &m, &err) < 0) {
		FUZZ_CHECK(err.code && !m.layers && !m.entries && !m.config.digest);
		return 0;
	}
	manifest_is_sound(&m);
	return 0;
}
