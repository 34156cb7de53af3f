/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a reference to everything that must be judged before the first layer is fetched: a few
 * kilobytes of index, manifest and configuration, each verified by digest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/digest.h>
#include <teelaunch/error.h>
#include <teelaunch/image_config.h>
#include <teelaunch/image_ref.h>

#include "manifest.h"
#include "registry.h"

struct tl_layer {
	struct tl_descriptor descriptor;
	char *diff_id; /* digest of the uncompressed tar (OCI image spec, config.md) */
	struct tl_digest_text chain_id; /* of this layer on top of those before it */
};

struct tl_resolved_image {
	struct tl_image_ref ref; /* ref.text is what gets measured as the image's name */
	/*
	 * What the reference resolved to: for a multi-architecture image the INDEX. target.digest
	 * is the image digest that is logged, measured and put into claims.
	 */
	struct tl_descriptor target;
	struct tl_descriptor manifest; /* of the platform chosen; same as target without index */
	struct tl_descriptor config;   /* config.digest is the image ID */
	bool has_index;
	size_t index_entry;        /* the manifest's position in the index */
	struct tl_buf index_bytes; /* exact bytes; empty without index */
	struct tl_buf manifest_bytes;
	struct tl_buf config_bytes;
	struct tl_image_config parsed; /* labels, Env, Entrypoint, ... */
	struct tl_layer *layers;       /* lowest first; at least one */
	size_t layers_n;
	struct tl_digest_text
		chain_id;      /* of the last layer: the name of the snapshot to run from */
	uint64_t layers_bytes; /* sum of the distinct layers' sizes, as downloaded */
	/*
	 * The configuration names a platform that this machine doesn't run. The reference launcher
	 * goes on when the image isn't an index, because the label is often wrong; so do we: say
	 * it.
	 */
	bool is_platform_foreign;
};

void tl_resolved_image_done(struct tl_resolved_image *image);
#define auto_resolved_image __attribute__((cleanup(tl_resolved_image_done)))

/**
 * Resolve @ref with @registry, which was opened for it. Blocks for at most three documents with
 * their retries. No layer is touched.
 *
 * With tag and digest both given the digest decides, and what is fetched must have it; the tag is
 * not asked for (it may have moved on since), as in the reference launcher.
 *
 * @architecture  of the machine in OCI words; NULL = what this program was built for
 * @ret           set on success only; the caller calls tl_resolved_image_done()
 *
 * Failures have codes 05xx, TL_E_IMAGE_CONFIG or TL_E_NET_*; classes as in the catalogue.
 */
int tl_resolve(struct tl_registry *registry, const struct tl_image_ref *ref,
	       const char *architecture, struct tl_resolved_image *ret, struct tl_error *err);
