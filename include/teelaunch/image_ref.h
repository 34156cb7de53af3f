/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image references: HOST[:PORT]/PATH with :TAG, @DIGEST or both. Nothing is filled in: no default
 * registry, no "library/", no "latest". Pure.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>

#define TL_IMAGE_REF_BYTES_MAX 1024

struct tl_image_ref {
	char *text;   /* verbatim; what is measured */
	char *host;   /* with ":PORT" if given */
	char *path;   /* OCI distribution specification 1.1, <name> */
	char *tag;    /* NULL if there is none */
	char *digest; /* "sha256:<hex>" or "sha512:<hex>"; NULL if there is none */
};

/**
 * @ret  set on success only; the caller calls tl_image_ref_done()
 * Returns 0, -EINVAL (TL_E_IMAGE_REF, denied) saying what is missing, or -ENOMEM. The message
 * doesn't repeat the reference: it may hold a credential by mistake.
 */
int tl_image_ref_parse(const char *text, struct tl_image_ref *ret, struct tl_error *err);

/**
 * A reference as it may be shown: credentials, which don't belong there (what stands before an '@'
 * that begins no digest), are replaced. @text may be any text.
 *
 * Returns a string for the caller to free(); NULL without memory.
 */
char *tl_image_ref_shown(const char *text);
void tl_image_ref_done(struct tl_image_ref *ref);
#define auto_image_ref __attribute__((cleanup(tl_image_ref_done)))
