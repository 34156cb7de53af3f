/* SPDX-License-Identifier: Apache-2.0 */
/* One layer, from its compressed bytes to files, in one pass: inflate, hash, read, write. */
#pragma once

#include <stdint.h>

#include "fault.h"
#include "inflate.h"
#include "tree.h"

/* What no layer of a real image comes near; who wants less says so in START. */
#define TL_LAYER_BYTES_MAX   (UINT64_C(1) << 40)
#define TL_LAYER_ENTRIES_MAX (UINT64_C(1) << 24)
/* deflate's own limit is 1032, so that this only meets Zstandard: what gzip can say is let pass. It
 * counts once a layer is larger than it is worth a word. */
#define TL_LAYER_RATIO_MAX        1100
#define TL_LAYER_RATIO_FREE_BYTES (UINT64_C(256) << 20)

#define TL_LAYER_DIFF_ID_BYTES 32

struct tl_layer_limits {
	uint64_t max_bytes; /* inflated; 0 in any of them: the built-in */
	uint64_t max_entries;
	uint64_t max_ratio;
};

struct tl_layer_facts {
	uint8_t diff_id[TL_LAYER_DIFF_ID_BYTES]; /* sha256 of the inflated stream, to its end */
	uint64_t bytes;                          /* its length */
	uint64_t entries;
};

/** Put the archive that @inflate gives into @tree; reads to the stream's end. @ret: on success
 * only. */
int tl_layer_extract(struct tl_inflate *inflate, struct tl_tree *tree,
		     const struct tl_layer_limits *limits, struct tl_layer_facts *ret,
		     struct tl_unpack_fault *fault);
