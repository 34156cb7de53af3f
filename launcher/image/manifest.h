/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image manifests and indexes, as a registry sends them: hostile bytes in, structs out. Pure.
 *
 * Formats: OCI image specification 1.1, descriptor.md, manifest.md, image-index.md; Docker image
 * manifest version 2, schema 2 ("application/vnd.docker.distribution.manifest.v2+json" and
 * "...manifest.list.v2+json").
 *
 * Nothing here follows a descriptor's "urls" or reads its "data": content comes from the registry
 * of the reference alone, by digest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

/* As the reference launcher: larger documents are refused before they are read. */
#define MANIFEST_BYTES_MAX (4 * 1048 * 1048)
#define LAYERS_MAX         1000
#define INDEX_ENTRIES_MAX  1000
/* One blob. 1,000 layers of this size still add up within 64 bits. */
#define BLOB_BYTES_MAX (UINT64_C(1) << 40)

enum media_kind {
	MEDIA_UNKNOWN,
	MEDIA_MANIFEST,
	MEDIA_INDEX,
	MEDIA_SCHEMA1, /* Docker's signed manifests of before 2016 */
	MEDIA_CONFIG,
	MEDIA_LAYER,         /* tar, tar+gzip, tar+zstd */
	MEDIA_LAYER_FOREIGN, /* the same, "non-distributable" */
};

/** The kind of a media type, parameters ("; charset=...") and case ignored. */
enum media_kind media_kind_of(const char *media_type);

struct tl_descriptor {
	char *media_type;
	char *digest; /* valid per tl_digest_text_is_valid() */
	uint64_t size_bytes;
};

void tl_descriptor_done(struct tl_descriptor *d);
int tl_descriptor_copy(const struct tl_descriptor *from, struct tl_descriptor *ret);

struct platform {
	char *os;
	char *architecture;
	char *variant; /* "" if absent */
};

struct index_entry {
	struct tl_descriptor descriptor;
	bool has_platform;
	struct platform platform; /* empty unless has_platform */
};

/* A manifest or an index; the fields of the other kind are empty. */
struct manifest {
	enum media_kind kind; /* MEDIA_MANIFEST or MEDIA_INDEX */
	struct tl_descriptor config;
	struct tl_descriptor *layers; /* at most LAYERS_MAX */
	size_t layers_n;
	struct index_entry *entries; /* at most INDEX_ENTRIES_MAX */
	size_t entries_n;
};

void manifest_done(struct manifest *m);
#define auto_manifest __attribute__((cleanup(manifest_done)))

/**
 * Read @n bytes that were served (or described by a parent) as @media_type.
 *
 * Refused: a document whose own "mediaType" or fields are of the other kind, both kinds at once,
 * schema 1, duplicate keys, a known key in another case (another reader could take it), a
 * "schemaVersion" other than 2, digests that are not sha256 or sha512, and whatever is over the
 * limits above. Media types of layers and configuration are not judged here.
 *
 * @ret  set on success only; the caller calls manifest_done()
 * Returns 0, -EINVAL (TL_E_MANIFEST_SYNTAX, TL_E_MANIFEST_TYPE), -EFBIG (TL_E_MANIFEST_LIMIT), or
 * -ENOMEM. All classes but lack of memory are "denied".
 */
int manifest_parse(const char *media_type, const void *text, size_t n, struct manifest *ret,
		   struct tl_error *err);

/**
 * Can this manifest be run as a container? The configuration and every layer must be of a known
 * type. 0 or -EINVAL (TL_E_LAYER_TYPE, denied), naming the first that is not.
 */
int manifest_check_runnable(const struct manifest *m, struct tl_error *err);

/**
 * Choose the entry of an index for @architecture (OCI words: "amd64", "arm64") and Linux.
 *
 * Order of preference: the machine's own architecture; on amd64 then 386; then entries that name
 * no platform. Within one rank the first entry of the index wins, as in the reference launcher.
 *
 * @ret  index into m->entries; set on success only
 * Returns 0, or -ENOENT (TL_E_IMAGE_PLATFORM, denied) naming what there is.
 */
int manifest_choose(const struct manifest *m, const char *architecture, size_t *ret,
		    struct tl_error *err);

/** True if an image of this platform runs on a Linux machine of @architecture by preference 1 or 2.
 */
bool platform_matches(const char *os, const char *arch, const char *variant,
		      const char *architecture);
