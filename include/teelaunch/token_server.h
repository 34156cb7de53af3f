/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token socket: HTTP/1.1 on a unix socket in the workload's folder, where the workload asks for
 * tokens with audience and nonces of its own, and for raw evidence (docs/authors.md).
 *
 * Everything about it is bounded, since the workload is not trusted: connections, headers, bodies,
 * the time of a request and of its answer, waiting requests, calls upstream. Requests for the same
 * token share one call. The launcher's own refresh has nothing to do with any of it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/evidence.h>
#include <teelaunch/verifier_client.h>

#define TL_TOKEN_SOCKET_NAME "teeserver.sock"
/* An answer isn't worth more than this to whoever wants more; 16 KiB is 20 times the largest
 * request. */
#define TL_TOKEN_SERVER_BODY_MAX        (16 * 1024)
#define TL_TOKEN_SERVER_HEADERS_MAX     (8 * 1024)
#define TL_TOKEN_SERVER_CONNECTIONS_MAX 64
#define TL_TOKEN_CONTAINERS_MAX         16
/* To send a request; again, to take its answer. */
#define TL_TOKEN_SERVER_TRANSFER_MS 15000
/* ... while all connections are taken. */
#define TL_TOKEN_SERVER_PRESSED_MS 1000

/* What the socket may spend. */
struct tl_token_limits {
	uint64_t per_minute; /* calls to the verifier; at least 1 */
	uint64_t burst;      /* so many at once after a quiet time; at least 1 */
	uint64_t cache_ms;   /* so long one default token answers GET; 0 = never */
};

/* One call that came to its end, for the log. */
struct tl_token_call {
	const char *path;
	int status;
	/* The first caller, as the kernel says it (SO_PEERCRED, /proc). */
	pid_t pid; /* as the launcher sees it; -1: unknown, as are the others then */
	uid_t uid;
	gid_t gid;
	const char *cgroup;   /* "": unknown */
	unsigned int callers; /* who share it; 0: refused, nothing was called */
	uint64_t took_ms;
	const struct tl_error *err; /* NULL: there is a token, or evidence */
};

/* How a token is got: as tl_verifier_attest_once(). @options NULL = the default. */
typedef int (*tl_token_get)(void *ctx, const struct tl_token_options *options,
			    struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
			    struct tl_error *err);

/* All borrowed until tl_token_server_stop(). */
struct tl_token_server_options {
	const char *dir; /* of the socket; exists */
	struct tl_token_limits limits;
	/* The cgroups of the containers, "/a/b", NULL-terminated, TL_TOKEN_CONTAINERS_MAX at most.
	 * Each of them is one caller, and all the rest of the machine is another. Callers who ask
	 * at the same time share the limits equally. NULL: no container */
	const char *const *containers;
	/* Both in the thread "tl-serve" alone; NULL: there is no such client. */
	tl_token_get token;
	tl_token_get intel_token;
	/* In the thread "tl-evidence" alone. */
	int (*evidence)(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
			struct tl_error *err);
	uint16_t evidence_hash; /* of its nonce: TL_SHA256 for a TPM, TL_SHA512 for TDX */
	void *ctx;
	struct tl_cancel *quit; /* requested by the stop; what the three above block on */
	/* Called in any of the server's threads, several at a time. May be NULL. */
	void (*event)(void *ctx, const struct tl_token_call *call);
	void *event_ctx;
};

struct tl_token_counts {
	uint64_t requests; /* for a token or evidence */
	uint64_t refused;  /* of these: by a limit (429) */
	uint64_t upstream; /* calls of @token and @intel_token */
};

struct tl_token_server;

/**
 * Serve from now on, in three threads. The socket has mode 0777; one that was left there is
 * replaced. TL_E_TOKEN_SOCKET, TL_E_NO_MEMORY.
 */
int tl_token_server_start(const struct tl_token_server_options *options,
			  struct tl_token_server **ret, struct tl_error *err);

/** So far. Any thread. */
void tl_token_server_counts(struct tl_token_server *s, struct tl_token_counts *ret);

/**
 * Remove the socket, break off what is under way, end the threads. Blocks for what @token and
 * @evidence need to notice @quit. NULL is fine; returns NULL.
 */
struct tl_token_server *tl_token_server_stop(struct tl_token_server *s);

/** Remove what a server that was killed left in @dir. Nothing there is fine. TL_E_TOKEN_SOCKET. */
int tl_token_socket_remove(const char *dir, struct tl_error *err);
