/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launch log says, once it leads to the quoted PCR 13 of every bank, or to the quoted
 * RTMR 3. Pure.
 *
 * One complete launch has each of the events 0 (image reference), 1 (image digest), 2 (restart
 * policy) once, 3 (image id) and 9 (memory monitor) at most once, and ends with 8 (separator).
 * Nothing may follow it. Events of other types are refused: claiming nothing about something
 * measured would be a claim that it isn't there. GPU events (10, 11) are not checked yet, so they
 * are refused too.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/str.h>

#include "refusals.h"
#include "request.h"

struct launch_claims {
	char *image_ref;
	char *image_digest;
	char *image_id; /* "" if it wasn't measured */
	char *restart_policy;
	struct tl_strv args;
	struct tl_kvs env;
	struct tl_strv override_args;
	struct tl_kvs override_env;
	bool is_memory_monitored;
};
void launch_claims_done(struct launch_claims *c);
#define auto_launch_claims __attribute__((cleanup(launch_claims_done)))

/**
 * @ret  good only if nothing was added to @refusals; owned by the caller in any case
 * Refusals: TL_E_VERIFY_LAUNCH_LOG, _LAUNCH_REPLAY, _LAUNCH_EVENTS.
 */
void launch_log_check(const struct verify_request *req, struct launch_claims *ret,
		      struct refusals *refusals);
/** The same of a log in the TDX form. @rtmr3: SHA-384, as quoted. */
void launch_log_check_cc(const struct tl_buf *log, const uint8_t *rtmr3, struct launch_claims *ret,
			 struct refusals *refusals);

/** Two logs of one machine must have the same events. Refusal: TL_E_VERIFY_LAUNCH_EVENTS. */
void launch_logs_compare(const struct tl_buf *a, const struct tl_buf *b, struct refusals *refusals);
