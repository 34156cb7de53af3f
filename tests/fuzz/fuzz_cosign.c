/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of images as registries send them: a manifest of them, a list of referrers, a payload.
 * The first line says which ("m", "r", else a payload), the rest is the document.
 */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/image_signature.h>

#include "launcher/image/signature_manifest.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"

static void manifest_try(const uint8_t *data, size_t n)
{
	auto_signature_manifest struct signature_manifest m = { 0 };
	struct tl_error err = { 0 };

	if (signature_manifest_parse(MANIFEST_TYPE, data, n, &m, &err) < 0) {
		FUZZ_CHECK(err.code && !m.layers && !m.n);
		return;
	}
	FUZZ_CHECK(m.n <= LAYERS_MAX);
	for (size_t i = 0; i < m.n; i++) {
		const struct tl_descriptor *d = &m.layers[i].payload;

		FUZZ_CHECK(tl_digest_text_is_valid(d->digest) && d->size_bytes <= BLOB_BYTES_MAX);
	}
}

static void referrers_try(const uint8_t *data, size_t n)
{
	auto_strv struct tl_strv digests = { 0 };
	struct tl_error err = { 0 };
	size_t skipped = SIZE_MAX;

	if (referrers_parse(data, n, &digests, &skipped, &err) < 0) {
		FUZZ_CHECK(err.code && !digests.n && skipped == SIZE_MAX);
		return;
	}
	FUZZ_CHECK(digests.n <= REFERRERS_MAX && skipped <= INDEX_ENTRIES_MAX);
	FUZZ_CHECK(!skipped || digests.n == REFERRERS_MAX);
	for (size_t i = 0; i < digests.n; i++)
		FUZZ_CHECK(tl_digest_text_is_valid(digests.items[i]));
}

static void payload_try(const uint8_t *data, size_t n)
{
	auto_signature_payload struct tl_signature_payload p = { 0 };
	struct tl_error err = { 0 };

	if (tl_signature_payload_read(data, n, &p, &err) < 0) {
		FUZZ_CHECK(err.code && !p.digest && !p.key && !p.algorithm);
		return;
	}
	FUZZ_CHECK(n <= TL_SIGNATURE_PAYLOAD_MAX_BYTES && tl_digest_text_is_valid(p.digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t at = newline ? (size_t)(newline - data) + 1 : 0;

	if (newline && data[0] == 'm')
		manifest_try(data + at, size - at);
	else if (newline && data[0] == 'r')
		referrers_try(data + at, size - at);
	else
		payload_try(data + at, size - at);
	return 0;
}
