/* SPDX-License-Identifier: Apache-2.0 */
#include "checks.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#define CODES_MAX 5

struct check {
	const char *name;
	enum tl_code codes[CODES_MAX]; /* ends with TL_OK */
	const char *needs;             /* an earlier one, or NULL */
};

#define CHECK_IMAGE     "image"
#define CHECK_IMAGE_LOG "image_log"
#define CHECK_IDENTITY  "identity"

static const struct check checks[] = {
	{ "request",
	  { TL_E_VERIFY_REQUEST, TL_E_VERIFY_UNSUPPORTED, TL_E_VERIFY_TOO_LARGE,
	    TL_E_VERIFY_TOKEN_OPTIONS },
	  NULL },
	{ "challenge",
	  { TL_E_VERIFY_CHALLENGE_FORGED, TL_E_VERIFY_CHALLENGE_EXPIRED,
	    TL_E_VERIFY_CHALLENGE_USED },
	  "request" },
	{ "ak_certificate", { TL_E_VERIFY_AK_CERT }, "challenge" },
	{ "ak_chain", { TL_E_VERIFY_AK_CHAIN }, "ak_certificate" },
	{ "instance", { TL_E_VERIFY_INSTANCE }, "ak_chain" },
	{ "banks", { TL_E_VERIFY_BANKS }, "challenge" },
	{ "quote", { TL_E_VERIFY_QUOTE }, "challenge" },
	{ "nonce", { TL_E_VERIFY_NONCE }, "quote" },
	{ "signature", { TL_E_VERIFY_SIGNATURE }, "instance" },
	{ "pcr_digest", { TL_E_VERIFY_PCR_DIGEST }, "quote" },
	{ "firmware_log", { TL_E_VERIFY_FIRMWARE_LOG }, "challenge" },
	{ "firmware_replay", { TL_E_VERIFY_FIRMWARE_REPLAY }, "firmware_log" },
	{ "boot_claims", { TL_E_VERIFY_BOOT_CLAIMS }, "firmware_log" },
	{ CHECK_IMAGE_LOG, { TL_E_VERIFY_IMAGE_LOG }, "firmware_log" },
	{ CHECK_IMAGE, { TL_E_VERIFY_IMAGE }, CHECK_IMAGE_LOG },
	{ "launch_log", { TL_E_VERIFY_LAUNCH_LOG }, "challenge" },
	{ "launch_replay", { TL_E_VERIFY_LAUNCH_REPLAY }, "launch_log" },
	{ "launch_events", { TL_E_VERIFY_LAUNCH_EVENTS }, "launch_log" },
	{ "record_log", { TL_E_VERIFY_RECORD_LOG }, "challenge" },
	{ "record", { TL_E_VERIFY_RECORD }, "record_log" },
	{ CHECK_IDENTITY, { TL_E_VERIFY_IDENTITY }, "challenge" },
};
#define CHECKS_N TL_ARRAY_SIZE(checks)

enum outcome { PASSED, FAILED, SKIPPED };

static bool has_code(const struct check *c, enum tl_code code)
{
	for (size_t i = 0; i < CODES_MAX && c->codes[i] != TL_OK; i++)
		if (c->codes[i] == code)
			return true;
	return false;
}

const char *check_name(enum tl_code code)
{
	for (size_t i = 0; i < CHECKS_N; i++)
		if (has_code(&checks[i], code))
			return checks[i].name;
	return "other";
}

/* The codes of one check, or of all that no check has; each once. */
static json_t *codes_json(const struct refusals *r, const char *name)
{
	json_t *codes = json_array();
	enum tl_code last = TL_OK;

	for (size_t i = 0; i < refusals_kept(r); i++) {
		enum tl_code code = (enum tl_code)r->items[i].code;

		if (code == last || strcmp(check_name(code), name) != 0)
			continue;
		last = code;
		(void)json_array_append_new(codes, json_string(tl_catalogue_find(code)->id));
	}
	return codes;
}

static bool is_made(const struct check *c, const struct checks_made *made)
{
	if (strcmp(c->name, CHECK_IMAGE) == 0 || strcmp(c->name, CHECK_IMAGE_LOG) == 0)
		return made->has_images;
	return strcmp(c->name, CHECK_IDENTITY) != 0 || made->has_identity;
}

static bool is_possible(const struct check *c, const enum outcome *outcomes)
{
	for (size_t i = 0; c->needs && i < CHECKS_N; i++)
		if (strcmp(checks[i].name, c->needs) == 0)
			return outcomes[i] == PASSED;
	return true;
}

static int check_append(json_t *list, const char *name, enum outcome outcome, json_t *consume_codes)
{
	static const char *const words[] = { "passed", "failed", "skipped" };

	return json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "check", name, "outcome",
						     words[outcome], "codes", consume_codes));
}

json_t *checks_json(const struct refusals *r, const struct checks_made *made)
{
	enum outcome outcomes[CHECKS_N] = { 0 };
	json_t *list = json_array(), *others = codes_json(r, "other");
	/* What comes behind the last refusal that was kept isn't known. */
	bool is_whole = r->n <= REFUSALS_MAX && json_array_size(others) == 0;
	int bad = 0;

	for (size_t i = 0; i < CHECKS_N; i++) {
		json_t *codes = codes_json(r, checks[i].name);

		if (json_array_size(codes))
			outcomes[i] = FAILED;
		else
			outcomes[i] = is_whole && is_made(&checks[i], made) &&
						      is_possible(&checks[i], outcomes)
					      ? PASSED
					      : SKIPPED;
		bad |= check_append(list, checks[i].name, outcomes[i], codes);
	}
	if (json_array_size(others))
		bad |= check_append(list, "other", FAILED, json_incref(others));
	json_decref(others);
	if (!bad)
		return list;
	json_decref(list);
	return NULL;
}
