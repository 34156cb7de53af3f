/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One verification as one line of JSON, for machines to read. No token, no secret; foreign text is
 * escaped to ASCII and capped. Fields: time (UTC), challenge (half of the SHA-256 of its name, hex:
 * to find retries without giving the challenge away), decision, reason, checks (checks.h), tee (the
 * claim hwmodel), instance, image (measured digest), machine_image, took_ms; and claims, if wanted.
 * What stands in a refused line beside the refusals was not checked. Pure.
 */
#pragma once

#include <stdint.h>

#include "checks.h"
#include "verifier.h"

#define DECISION_TEXT_MAX 256

/** @claims  borrowed; NULL: none. Returns the line and its end, the caller's; or NULL. */
char *decision_line(const struct verifier_decision *d, int64_t now_s, const char *challenge_name,
		    const struct refusals *refusals, const struct checks_made *made,
		    const json_t *claims);
