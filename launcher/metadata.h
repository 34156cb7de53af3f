/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata server of Compute Engine ("Access VM metadata", v1). Plain http on a link-local
 * address: what it says is the operator's word, hostile until policy has judged it.
 *
 * Every value is read once and kept: nothing is read twice, so nothing can change in between. Only
 * tokens are asked for again. A reader belongs to one thread.
 *
 * Calls that go out block at most some 40 s: 6 attempts of 5 s (2 s to connect) and the pauses
 * between them; retried are 5xx, broken or refused connections and timeouts, never 4xx. Failures
 * have codes TL_E_METADATA_* and TL_E_NET_*, or TL_E_INTERRUPTED.
 */
#pragma once

#include <teelaunch/buf.h>
#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#define METADATA_HOST_DEFAULT         "169.254.169.254"
#define METADATA_ATTRIBUTES_MAX_BYTES (1024 * 1024) /* the cloud's limit is 512 KiB, unescaped */
#define METADATA_TOKEN_MAX_BYTES      (16 * 1024)

struct metadata;

/**
 * @host    host or host:port, as GCE_METADATA_HOST has it; NULL or "" = METADATA_HOST_DEFAULT
 * @cancel  borrowed until metadata_close(); NULL = can't be cancelled
 * No I/O. TL_E_METADATA_HOST, TL_E_NO_MEMORY.
 */
int metadata_open(const char *host, struct tl_cancel *cancel, struct metadata **ret,
		  struct tl_error *err);
struct metadata *metadata_close(struct metadata *m);
static inline void metadata_closep(struct metadata **m)
{
	*m = metadata_close(*m);
}
#define auto_metadata __attribute__((cleanup(metadata_closep)))

/* What these set is borrowed from @m, and set on success only. */

/** All instance attributes, as the JSON text that came. */
int metadata_attributes(struct metadata *m, const struct tl_buf **ret, struct tl_error *err);
int metadata_project(struct metadata *m, const char **ret, struct tl_error *err);
/** "us-central1-a" */
int metadata_zone(struct metadata *m, const char **ret, struct tl_error *err);
/** "us-central1": the zone up to its last dash. */
int metadata_region(struct metadata *m, const char **ret, struct tl_error *err);
int metadata_instance_id(struct metadata *m, const char **ret, struct tl_error *err);
int metadata_instance_name(struct metadata *m, const char **ret, struct tl_error *err);

/**
 * Access token of the VM's default service account: asked for anew when the kept one has less than
 * a minute left.
 * @ret  empty or filled; replaced on success only
 */
int metadata_access_token(struct metadata *m, struct tl_secret *ret, struct tl_error *err);

/** Identity token (a JWT, format=full) of the default service account for @audience: @n bytes. */
int metadata_identity_token(struct metadata *m, const char *audience, size_t n,
			    struct tl_secret *ret, struct tl_error *err);
