/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the token socket's work is done: two threads, each with a short queue. Whoever asks what is
 * already being asked joins in; the callers' shares say how often the verifier is called for whom;
 * the default token is kept for a moment. Knows no socket.
 */
#pragma once

#include <teelaunch/token_server.h>

#include "token_api.h"
#include "token_peer.h"

/* Different tokens asked for at the same time; the verifier answers them one after the other. */
#define DESK_TOKENS_MAX 8
/* Evidence is large (both event logs): so many answers at most, until they were taken. */
#define DESK_EVIDENCE_MAX 4

/* A request that waits, in its owner's memory. */
struct desk_waiter {
	struct desk_waiter *next;
	struct token_reply *reply; /* set before @done */
	/* In one of the desk's threads; it holds no lock. The waiter is its owner's again. */
	void (*done)(struct desk_waiter *w);
};

struct token_desk;

/** @options is borrowed until desk_close(). */
int desk_open(const struct tl_token_server_options *options, struct token_desk **ret,
	      struct tl_error *err);
/** From now on all is refused; what waits is answered. Ends the threads; they call nothing after.
 */
void desk_stop(struct token_desk *d);
/** After desk_stop(), and when no reply of it is held any more. NULL is fine; returns NULL. */
struct token_desk *desk_close(struct token_desk *d);

/**
 * @consume_ask  taken over in every case
 * @ret_reply    set if there is an answer at once (a kept token, a refusal; owned by the caller);
 *               NULL when out of memory
 * Returns true then; else false: @w->done is called, perhaps before this returns.
 */
bool desk_submit(struct token_desk *d, struct token_ask *consume_ask,
		 const struct token_peer *caller, struct desk_waiter *w,
		 struct token_reply **ret_reply);
void desk_counts(struct token_desk *d, struct tl_token_counts *ret);
