/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of a container image as cosign makes them: data that goes to the verifier, which
 * judges it. Pure; by value, owns everything.
 *
 * Formats: cosign's SIGNATURE_SPEC.md ("simple signing" payload, base64 signature in an annotation
 * of the layer); the public key and the algorithm stand in the payload's "optional" object, as the
 * Confidential Space launcher's documentation has them signed.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>
#include <teelaunch/evidence.h>

/* Some 500 bytes are usual, 1,700 with an RSA key of 4096 bits; the rest is for annotations. */
#define TL_SIGNATURE_PAYLOAD_MAX_BYTES (16 * 1024)
#define TL_SIGNATURE_MAX_BYTES         1024 /* RSA 4096: 512 */
/* All repositories together; one release is signed by a few keys. */
#define TL_SIGNATURES_MAX 128
/* All payloads and signatures together: leaves the request its room for the event logs. */
#define TL_SIGNATURES_MAX_BYTES (512 * 1024)

struct tl_image_signature {
	struct tl_blob payload; /* exactly the bytes that were signed */
	struct tl_blob signature;
};

/* No two are the same. */
struct tl_image_signatures {
	struct tl_image_signature *items;
	size_t n;
	size_t bytes; /* payloads and signatures */
};

/** Copies. 0; 1 if it is there already; -ENOBUFS when a limit above would be passed; -ENOMEM. */
int tl_image_signatures_add(struct tl_image_signatures *v, const struct tl_blob *payload,
			    const struct tl_blob *signature);
/** @ret  an empty list; unchanged on failure (-ENOMEM) */
int tl_image_signatures_copy(const struct tl_image_signatures *from,
			     struct tl_image_signatures *ret);
void tl_image_signatures_done(struct tl_image_signatures *v);
#define auto_image_signatures __attribute__((cleanup(tl_image_signatures_done)))

struct tl_signature_payload {
	char *digest;    /* of the image that was signed; valid per tl_digest_text_is_valid() */
	char *key;       /* optional "dev.sigstore.cosign/pub": PEM in base64; NULL = none */
	char *algorithm; /* optional "dev.sigstore.cosign/sigalg"; NULL = none */
};
void tl_signature_payload_done(struct tl_signature_payload *p);
#define auto_signature_payload __attribute__((cleanup(tl_signature_payload_done)))

/**
 * Read a payload. Hostile bytes; duplicate keys are refused: another reader could take the other.
 *
 * @ret  set on success only
 * Returns 0, -EINVAL (TL_E_IMAGE_SIGNATURE) or -ENOMEM. The message quotes nothing of the payload.
 */
int tl_signature_payload_read(const void *bytes, size_t n, struct tl_signature_payload *ret,
			      struct tl_error *err);
