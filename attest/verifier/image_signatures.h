/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the signatures that came along are signatures of the image that was measured. A bad one
 * is dropped and said; it refuses nothing: who put it there decides nothing about the machine.
 *
 * Algorithms, by the names that the payload's "dev.sigstore.cosign/sigalg" and the token have
 * (Confidential Space, "token-claims", container_image_signatures): ECDSA_P256_SHA256 (P-256),
 * RSASSA_PSS_SHA256 and RSASSA_PKCS1V15_SHA256 (2048 to 4096 bits). The key is the payload's own
 * (PEM in base64, with or without padding): it proves nothing before a condition on the token names
 * its key_id.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/image_signature.h>
#include <teelaunch/str.h>

/* Problems that are told one by one; the rest is one number. */
#define SIGNATURE_PROBLEMS_MAX 8

struct checked_signature {
	char key_id[65];       /* SHA-256 of the key's SubjectPublicKeyInfo in DER, hex */
	const char *algorithm; /* static */
	char *signature;       /* base64, as sent */
};

struct checked_signatures {
	struct checked_signature *items; /* by key_id, algorithm, signature */
	size_t n;
	struct tl_strv problems; /* sentences, safe to show */
	size_t dropped;
};
void checked_signatures_done(struct checked_signatures *s);

/**
 * @digest  of the measured image
 * @ret     empty; owned by the caller in any case
 * Returns 0 or -ENOMEM.
 */
int image_signatures_check(const struct tl_image_signatures *signatures, const char *digest,
			   struct checked_signatures *ret);
