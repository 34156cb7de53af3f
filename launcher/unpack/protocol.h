/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What teelaunchd and teelaunch-unpack say to each other: one process unpacks one layer.
 *
 * The unpacker's descriptors: 0 the layer as the registry sent it (its end is the layer's end),
 * 1 and 2 /dev/null, 3 a SOCK_SEQPACKET socket. No arguments, no environment. Each message is one
 * packet that starts with struct tl_unpack_head, in this machine's byte order: both ends are of the
 * same build. Exactly the size of its struct; padding is zero.
 *
 *     teelaunchd                     teelaunch-unpack
 *     START (+ 1 descriptor)    ->
 *     the layer, on 0           ->
 *                               <-   EXTRACTED, when the stream's end was read
 *     FINISH (+ n descriptors)  ->
 *                               <-   DONE, and exit code 0
 *
 * Instead of any answer: FAILED, and an exit code other than 0. teelaunchd takes every answer for
 * hostile; what it says itself is trusted by the unpacker, but checked.
 */
#pragma once

#include <stdint.h>

#define TL_UNPACK_VERSION    1
#define TL_UNPACK_CONTROL_FD 3
/* Bytes of text in FAILED, with the NUL. */
#define TL_UNPACK_TEXT_MAX 256
/* Lower layers that come with FINISH: containerd's own limit of layers is 128. */
#define TL_UNPACK_LOWER_MAX 127

enum tl_unpack_kind {
	TL_UNPACK_START = 1, /* struct tl_unpack_start, 1 descriptor */
	TL_UNPACK_EXTRACTED, /* struct tl_unpack_extracted */
	TL_UNPACK_FAILED,    /* struct tl_unpack_failed; the last thing the unpacker says */
	TL_UNPACK_FINISH,    /* struct tl_unpack_head alone, 0 to TL_UNPACK_LOWER_MAX descriptors */
	TL_UNPACK_DONE,      /* struct tl_unpack_head alone; then exit code 0 */
};

enum tl_unpack_why {
	TL_UNPACK_BROKEN = 1,  /* no layer that containerd would take: bad gzip, cut tar... */
	TL_UNPACK_UNSUPPORTED, /* containerd may take it, and has to */
	TL_UNPACK_NO_SPACE,    /* ENOSPC or EDQUOT */
	TL_UNPACK_IO,          /* reading or writing failed otherwise, or no memory */
	TL_UNPACK_LIMIT,       /* more than START or the built-in limits allow */
	TL_UNPACK_PROTOCOL,    /* what came on the control socket makes no sense */
};

struct tl_unpack_head {
	uint32_t version; /* TL_UNPACK_VERSION */
	uint32_t kind;    /* enum tl_unpack_kind */
};

/* Its descriptor is the target: a directory (O_DIRECTORY, not O_PATH) without an entry. */
struct tl_unpack_start {
	struct tl_unpack_head head;
	/* 0 = the built-in limit (launcher/unpack/layer.h). */
	uint64_t max_bytes;   /* of the layer, inflated */
	uint64_t max_entries; /* of the archive */
	uint64_t max_ratio;   /* inflated to compressed bytes */
};

struct tl_unpack_extracted {
	struct tl_unpack_head head;
	uint8_t diff_id[32];     /* sha256 of the inflated stream, to its end */
	uint64_t bytes_inflated; /* its length */
	uint64_t entries;        /* of the archive */
	uint64_t implicit_dirs;  /* directories made though the archive didn't name them (yet) */
};

struct tl_unpack_failed {
	struct tl_unpack_head head;
	uint32_t why;  /* enum tl_unpack_why */
	int32_t error; /* errno, or 0 */
	char text[TL_UNPACK_TEXT_MAX];
};

/*
 * The descriptors of FINISH are the roots of the lower layers (O_PATH is enough), the topmost
 * first: directories that the archive didn't name take mode, owner, times and extended attributes
 * from them. None: the layer has no parent. containerd then removes files for whiteouts, and writes
 * none, so that a layer with whiteouts is TL_UNPACK_UNSUPPORTED at this point.
 *
 * A directory that lies outside of the unpacker's root is a way out of it, by "..", for whoever has
 * taken it over. So each is a read-only mount of its own: tl_view_open() (view.h).
 */
