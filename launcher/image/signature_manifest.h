/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which signatures a registry has: cosign's signature manifests and lists of referrers, hostile
 * bytes in, structs out. Pure.
 *
 * Formats: cosign's SIGNATURE_SPEC.md: one layer a signature, its blob is the payload, the
 * annotation dev.cosignproject.cosign/signature the signature in base64. OCI distribution
 * specification 1.1, "Listing Referrers": an index whose entries name their artifactType.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

#include "manifest.h"

/* Signature manifests that are read out of one list of referrers. */
#define REFERRERS_MAX 16

struct signature_layer {
	struct tl_descriptor payload;
	char *signature; /* base64, not looked at; NULL: the layer has no such annotation */
};

struct signature_manifest {
	struct signature_layer *layers;
	size_t n;
};
void signature_manifest_done(struct signature_manifest *m);
#define auto_signature_manifest __attribute__((cleanup(signature_manifest_done)))

/**
 * @ret  set on success only
 * Errors as manifest_parse(); an index is refused, too.
 */
int signature_manifest_parse(const char *media_type, const void *text, size_t n,
			     struct signature_manifest *ret, struct tl_error *err);

/**
 * The digests of the first REFERRERS_MAX entries that are cosign's signature manifests.
 *
 * @ret          set on success only
 * @ret_skipped  how many more of these there are
 * Errors as manifest_parse(); what isn't an index is refused, too.
 */
int referrers_parse(const void *text, size_t n, struct tl_strv *ret, size_t *ret_skipped,
		    struct tl_error *err);
