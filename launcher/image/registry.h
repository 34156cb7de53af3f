/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one repository on one registry: OCI distribution specification 1.1, pulling only,
 * with the distribution project's token protocol. Always https.
 *
 * Credentials: the access token of the machine's service account is offered to Artifact Registry
 * and Container Registry only (registry_host.h), and to a token server (realm) only if that server
 * is one of these hosts too. Everyone else is asked anonymously. A redirect never carries a
 * credential to another origin.
 *
 * Trust: a host with a HOST=PEM entry is checked against that file; else Google's hosts against
 * google_roots; else the system's store. A redirect to a host without entry keeps google_roots if
 * the registry itself is pinned. There is no way to switch verification off.
 *
 * Retries: 408, 429 (Retry-After is honoured), 5xx, and failures of the network, with full jitter.
 * 401, 403, 404 and other 4xx end at once with class "denied".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/cancel.h>
#include <teelaunch/deadline.h>
#include <teelaunch/error.h>
#include <teelaunch/image_ref.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

#include "manifest.h"

struct tl_registry_limits {
	struct tl_backoff backoff; /* one request for a document, or a blob without progress */
	uint64_t connect_timeout_ms;
	uint64_t stall_timeout_ms;   /* no byte for so long ends an attempt */
	uint64_t document_ms;        /* one document with all its retries */
	uint64_t retry_after_max_ms; /* longer waits that a registry asks for are cut to this */
	unsigned int redirects_max;
	unsigned int blob_attempts_max; /* all attempts for one blob, with progress or not */
};

/** The values of production. */
struct tl_registry_limits tl_registry_limits_default(void);

struct tl_registry_options {
	const struct tl_strv *roots; /* "HOST=PEM-FILE" or "HOST:PORT=PEM-FILE"; NULL = none */
	const char *google_roots;    /* PEM file; NULL = system's store, also for Google's hosts */
	const struct tl_secret *access_token; /* NULL or empty = anonymous everywhere; copied */
	const char *user_agent;
	const struct tl_registry_limits *limits; /* NULL = the default; copied */
	struct tl_deadline deadline;             /* for everything done with this client */
	struct tl_cancel *cancel;                /* borrowed for the client's life; NULL = none */
};

/**
 * Add the option value @entry, "HOST=PEM-FILE" or "HOST:PORT=PEM-FILE", to @roots.
 * Returns 0, -EINVAL (not of this form), -EEXIST (that host has an entry), -ENOMEM, or the -errno
 * with which the file can't be read.
 */
int tl_registry_roots_add(struct tl_strv *roots, const char *entry);

struct tl_registry; /* one thread at a time */

/**
 * Does no network I/O. @ref and @options are borrowed until return, except as said above.
 * Returns 0, -EINVAL (TL_E_REGISTRY_HOST; TL_E_USAGE for a bad entry of roots), or -ENOMEM.
 */
int tl_registry_open(const struct tl_image_ref *ref, const struct tl_registry_options *options,
		     struct tl_registry **ret, struct tl_error *err);
/** A second client of the same repository for another thread, with the same credentials. */
int tl_registry_dup(const struct tl_registry *from, struct tl_cancel *cancel,
		    struct tl_registry **ret, struct tl_error *err);
struct tl_registry *tl_registry_close(struct tl_registry *registry);
static inline void tl_registry_closep(struct tl_registry **r)
{
	*r = tl_registry_close(*r);
}
#define auto_registry __attribute__((cleanup(tl_registry_closep)))

/** HTTP requests so far, every attempt, redirect and token exchange counted. */
uint64_t tl_registry_requests(const struct tl_registry *registry);
/** Borrowed. */
const struct tl_registry_limits *tl_registry_limits(const struct tl_registry *registry);
/** "path" without tag, and the host without port: the label distribution.source.<host>=<path>. */
const char *tl_registry_host_name(const struct tl_registry *registry);
const char *tl_registry_path(const struct tl_registry *registry);

struct registry_document {
	struct tl_descriptor descriptor; /* media type as served, digest and size of the bytes */
	struct tl_buf bytes;
};

void registry_document_done(struct registry_document *d);
#define auto_registry_document __attribute__((cleanup(registry_document_done)))

/**
 * GET a manifest or an index by tag or digest, at most MANIFEST_BYTES_MAX bytes.
 *
 * By digest the bytes must have it; by tag they must have the one of Docker-Content-Digest if the
 * registry sends it. @ret is set on success only.
 * Failures: TL_E_REGISTRY_*, TL_E_IMAGE_NOT_FOUND, TL_E_MANIFEST_LIMIT, TL_E_IMAGE_DIGEST,
 * TL_E_NET_*.
 */
int registry_get_manifest(struct tl_registry *registry, const char *tag_or_digest,
			  struct registry_document *ret, struct tl_error *err);

/**
 * GET a small blob, called @what in messages ("configuration"), and check size and digest against
 * @d. @ret is unchanged on failure.
 */
int registry_get_small_blob(struct tl_registry *registry, const struct tl_descriptor *d,
			    const char *what, struct tl_buf *ret, struct tl_error *err);

/**
 * GET the index of what refers to @digest and is of @artifact_type (OCI distribution specification
 * 1.1, "Listing Referrers"): its first page, at most MANIFEST_BYTES_MAX bytes. A registry without
 * this interface fails with TL_E_IMAGE_NOT_FOUND or TL_E_REGISTRY_REQUEST. The filter is a request:
 * the answer may hold other types.
 */
int registry_get_referrers(struct tl_registry *registry, const char *digest,
			   const char *artifact_type, struct tl_buf *ret, struct tl_error *err);

/* What one attempt to read a blob came to. */
struct registry_attempt {
	bool is_retryable;       /* another attempt may help */
	uint64_t retry_after_ms; /* the registry asked for this wait; 0 = it did not */
};

/**
 * One attempt to read the bytes of @d from @offset_bytes on into @sink, which gets exactly the
 * bytes that are missing, in order, and never more than the descriptor's size. No retry but for a
 * new credential.
 *
 * @ret_attempt  set on failure
 * Returns 0 when all bytes arrived. A sink's negative value is returned as it is, @err untouched.
 */
int registry_read_blob(struct tl_registry *registry, const struct tl_descriptor *d,
		       uint64_t offset_bytes, int (*sink)(void *ctx, const void *data, size_t n),
		       void *ctx, struct registry_attempt *ret_attempt, struct tl_error *err);

/**
 * Wait before attempt number @attempt (2 = the first retry): full jitter, or a little more than
 * what the registry asked for. Returns 0, -ETIME if the attempts or the time until @deadline are
 * used up (nothing to say: report the failure itself), or -ECANCELED (TL_E_INTERRUPTED).
 */
int registry_backoff(const struct tl_registry *registry, unsigned int attempt,
		     const struct registry_attempt *last, struct tl_deadline deadline,
		     struct tl_error *err);
