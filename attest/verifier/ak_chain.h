/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate of the attestation key (AK): does it lead to a root we were given, and for which
 * instance was it issued?
 *
 * What the certificate vouches for, and what not: the quote's magic value proves that a TPM made
 * the quote only if the key is a RESTRICTED signing key, and the key's attributes are not in the
 * certificate. The CA vouches for them by issuing an AK certificate only for such keys in its own
 * virtual TPMs. So a root must be given here only if its CA does so; the claim "hwmodel" carries
 * the name under which the root was given, and says no more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

#define AK_ANCHORS_MAX 16
#define AK_CHAIN_DEPTH 5   /* certificates between the AK's and the root */
#define AK_TEXT_MAX    128 /* a text of the instance extension */

/*
 * Google's instance identity extension, 1.3.6.1.4.1.11129.2.1.21 (go-tpm-tools, server/
 * instance_info.go; layout in docs/verifier.md): SEQUENCE { zone UTF8String, projectNumber INTEGER,
 * projectId UTF8String, instanceId INTEGER, instanceName UTF8String, [0] EXPLICIT SEQUENCE {
 * [0] EXPLICIT securityVersion INTEGER OPTIONAL, [1] EXPLICIT isProduction BOOLEAN OPTIONAL }
 * OPTIONAL }.
 */
struct gce_instance {
	char zone[AK_TEXT_MAX];
	char project_id[AK_TEXT_MAX];
	char name[AK_TEXT_MAX];
	uint64_t project_number;
	uint64_t instance_id;
};

/* What a checked certificate says. */
struct ak_identity {
	char anchor[AK_TEXT_MAX]; /* name of the root set that vouches */
	bool has_instance;
	struct gce_instance instance;
	char key_sha256[65]; /* hex, of the DER SubjectPublicKeyInfo */
	EVP_PKEY *key;       /* P-256, P-384, or RSA of 2048 to 4096 bits */
};
void ak_identity_done(struct ak_identity *id);
#define auto_ak_identity __attribute__((cleanup(ak_identity_done)))

struct ak_anchors; /* read-only once filled */
struct ak_anchors *ak_anchors_new(void);
struct ak_anchors *ak_anchors_free(struct ak_anchors *a);
static inline void ak_anchors_freep(struct ak_anchors **a)
{
	*a = ak_anchors_free(*a);
}
#define auto_ak_anchors __attribute__((cleanup(ak_anchors_freep)))
size_t ak_anchors_count(const struct ak_anchors *a);

/**
 * Add the certificates of a PEM text to the root set @name; a name given before gets more roots.
 * @name  1..AK_TEXT_MAX-1 characters of [A-Za-z0-9._-]
 * Codes: TL_E_VERIFY_KEYS.
 */
int ak_anchors_add(struct ak_anchors *a, const char *name, const char *pem, size_t n,
		   struct tl_error *err);
/** Certificates that may stand between an AK's and any root; they are trusted for nothing. */
int ak_anchors_add_intermediates(struct ak_anchors *a, const char *pem, size_t n,
				 struct tl_error *err);

/**
 * @cert    DER, exactly
 * @chain   further certificates of the request, DER, in any order
 * @ret     set on success only; owned by the caller (ak_identity_done)
 *
 * Returns 0, or -EACCES with TL_E_VERIFY_AK_CERT (unreadable, wrong key type, a CA, may not sign),
 * _AK_CHAIN (no path to a root; something on it not valid at @now_s; keys or digests below 112
 * bits of security) or _INSTANCE (malformed, doubled, or not IsProduction).
 */
int ak_chain_verify(const struct ak_anchors *a, const struct tl_buf *cert,
		    const struct tl_buf *chain, size_t chain_n, int64_t now_s,
		    struct ak_identity *ret, struct tl_error *err);
