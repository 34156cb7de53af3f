/* SPDX-License-Identifier: Apache-2.0 */
#include "decision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/str.h>

#define CHALLENGE_SHOWN_BYTES 16

static json_t *text(const char *s)
{
	char safe[DECISION_TEXT_MAX];

	tl_str_escape(s, safe, sizeof(safe));
	return json_string(safe);
}

static json_t *challenge(const char *name)
{
	uint8_t digest[TL_HASH_SIZE_MAX];
	char hex[2 * CHALLENGE_SHOWN_BYTES + 1];

	if (tl_digest(TL_SHA256, name, strlen(name), digest) < 0)
		return json_string("");
	tl_hex_encode(digest, CHALLENGE_SHOWN_BYTES, hex);
	return json_string(hex);
}

char *decision_line(const struct verifier_decision *d, int64_t now_s, const char *challenge_name,
		    const struct refusals *refusals, const struct checks_made *made,
		    const json_t *claims)
{
	time_t t = (time_t)now_s;
	struct tm tm = { 0 };
	char when[32];
	auto_free char *json = NULL;
	char *ret = NULL;
	json_t *line;

	(void)gmtime_r(&t, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	line = json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "time", when,
			 "challenge", challenge(challenge_name), "decision",
			 d->is_accepted ? "accepted" : "refused", "reason", text(d->reason), "tee",
			 text(d->anchor), "instance", text(d->instance), "image", text(d->image),
			 "machine_image", text(d->machine_image), "checks",
			 checks_json(refusals, made), "took_ms", (json_int_t)d->took_ms);
	if (claims && line)
		(void)json_object_set(line, "claims", (json_t *)(uintptr_t)claims);
	json = line ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(line);
	return json && asprintf(&ret, "%s\n", json) >= 0 ? ret : NULL;
}
