/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kind of token a request wants: "options" of :verifyConfidentialSpace and "tokenOptions" of
 * :verifyAttestation (Confidential Computing REST API, v1). Enums by number or name, as proto3 JSON
 * allows. Every refusal is TL_E_VERIFY_TOKEN_OPTIONS naming the field, and its limit and length
 * where it has them, or TL_E_VERIFY_REQUEST for another type of value. Pure.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

/* Limits of the service (token-claims page): an audience and up to six nonces. */
#define REQUEST_AUDIENCE_MAX  512
#define REQUEST_NONCES_MAX    6
#define REQUEST_NONCE_MIN_LEN 8
#define REQUEST_NONCE_MAX_LEN 88
/* What a client that names neither audience nor nonces gets (contract of the launcher). */
#define REQUEST_AUDIENCE_DEFAULT "https://sts.googleapis.com"
/* Key ids that a principal tag may name: far more than fit a tag (TOKEN_TAG_MAX). */
#define REQUEST_KEY_IDS_MAX    64
#define REQUEST_KEY_ID_MAX_LEN 128
/* AWS STS, "Passing session tags": a tag's value has at most 256 characters. */
#define TOKEN_TAG_MAX 256

enum token_claims {
	TOKEN_CLAIMS_ALL,         /* Confidential Space's own profile */
	TOKEN_CLAIMS_LIMITED_AWS, /* without submods: AWS limits a token's size */
	TOKEN_CLAIMS_AWS_TAGS,    /* the same, and https://aws.amazon.com/tags */
};

struct token_options {
	char *audience; /* never NULL once finished; "" if only nonces were given */
	struct tl_strv nonces;
	enum token_claims claims;
	bool is_pki;            /* header x5c instead of kid */
	struct tl_strv key_ids; /* for the tag container.signatures.key_ids; empty: image digest */
};
void token_options_done(struct token_options *o);

/**
 * @value  the object
 * @path   its name, for messages
 * @ret    zeroed; the caller's in any case (token_options_done)
 */
int token_options_parse_space(const json_t *value, const char *path, struct token_options *ret,
			      struct tl_error *err);
int token_options_parse_attestation(const json_t *value, const char *path,
				    struct token_options *ret, struct tl_error *err);

/** Fill in the default audience and refuse what doesn't go together. Once, at the end. */
int token_options_finish(struct token_options *o, struct tl_error *err);
