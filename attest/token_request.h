/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a workload may ask of the token socket, as a typed struct: checked before anything is spent.
 * Pure: bytes in, struct or one sentence out. The sentence names the field, the limit, the length.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>
#include <teelaunch/verifier_client.h>

/* Limits of the service (token-claims page). */
#define TOKEN_AUDIENCE_MAX_BYTES 512
#define TOKEN_NONCES_MAX         6
#define TOKEN_NONCE_MIN_BYTES    8
#define TOKEN_NONCE_MAX_BYTES    88
/* Ours: an image is signed by few keys. */
#define TOKEN_KEY_IDS_MAX      16
#define TOKEN_KEY_ID_MAX_BYTES 256
#define TOKEN_TYPE_MAX_BYTES   64

/* By value; owns its strings. */
struct token_request {
	char *audience;
	char *token_type;
	struct tl_strv nonces;
	struct tl_strv key_ids;
	/* AWS_PRINCIPALTAGS' options: which of the three levels were given. */
	bool has_principal_tags, has_allowed_tags, has_signature_key_ids;
};

void token_request_done(struct token_request *r);
#define auto_token_request __attribute__((cleanup(token_request_done)))

/**
 * Read the body of POST /v1/token: one JSON object, its names in any case (ASCII), null as absent,
 * bytes after it ignored. Unknown fields and fields given twice are refused; so is the audience of
 * the default token, which is only given without nonces, by GET.
 *
 * @ret  set on success only; owned by the caller
 * Returns 0, -EINVAL (TL_E_TOKEN_REQUEST), or -ENOMEM (TL_E_NO_MEMORY).
 */
int token_request_parse(const void *body, size_t n, struct token_request *ret,
			struct tl_error *err);

/** The same as options of the verifier's client; everything is borrowed from @r. */
struct tl_token_options token_request_options(const struct token_request *r);

/** True if both ask for the same token. */
bool token_request_equal(const struct token_request *a, const struct token_request *b);
