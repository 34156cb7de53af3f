/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workload sees of its token: two files in the folder that it shares read-only. Each is
 * replaced atomically: a reader sees the old one or the new one, never a part. Calls block on the
 * file system only.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#define TL_TOKEN_FILE_NAME   "attestation_verifier_claims_token"
#define TL_TOKEN_STATUS_NAME "token.status"

enum tl_token_state {
	TL_TOKEN_NONE,    /* never had one */
	TL_TOKEN_VALID,   /* the last attempt succeeded */
	TL_TOKEN_STALE,   /* the last attempt failed; the token in the file is still good */
	TL_TOKEN_EXPIRED, /* the token in the file is no longer good */
};

struct tl_token_status {
	enum tl_token_state state;
	int64_t expires_at_s;      /* seconds since the epoch, like all here; 0 = unknown */
	int64_t refreshed_at_s;    /* last success */
	int64_t next_attempt_at_s; /* 0 = none planned */
	unsigned int attempts;     /* since the last success */
	enum tl_code last_error;   /* TL_OK = none */
	int64_t clock_skew_s;      /* this clock less the verifier's, at the last success */
};

/** "none", "valid", "stale", "expired". */
const char *tl_token_state_name(enum tl_token_state state);

/**
 * Put the bare JWT into @dir/TL_TOKEN_FILE_NAME, mode 0644. @dir is made (0755) if it is missing;
 * its parent must exist; a link is refused. TL_E_TOKEN_FILE; an old token file stays on failure.
 */
int tl_token_file_write(const char *dir, const struct tl_secret *jwt, struct tl_error *err);

/**
 * Put the status into @dir/TL_TOKEN_STATUS_NAME, mode 0644, as one JSON object of schema
 * teelaunch.token-status/1: state, expires_at, refreshed_at, next_attempt_at (seconds since the
 * epoch, or null), attempts, last_error ({"code": "TLnnnn"} or null), clock_skew_s.
 */
int tl_token_status_write(const char *dir, const struct tl_token_status *status,
			  struct tl_error *err);

/** Remove both; what is not there is fine. */
int tl_token_files_remove(const char *dir, struct tl_error *err);
