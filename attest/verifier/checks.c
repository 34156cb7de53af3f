/* SPDX-License-Identifier: Apache-2.0 */
#include "checks.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#define CODES_MAX        5
#define CHECK_TDX_QUOTE  "tdx_quote"
#define CHECK_SNP_REPORT "snp_report"

struct check {
	const char *name;
	enum tl_code codes[CODES_MAX]; /* ends with TL_OK */
	const char *needs;             /* an earlier one, or NULL */
	enum {
		ALWAYS,
		FOR_QUOTES, /* whichever there are; a TD's must be readable */
		FOR_NONCES, /* likewise, and so must a report be that stands beside */
		FOR_TPM,
		FOR_TDX,
		FOR_TDX_TCB,
		FOR_IMAGES,
		FOR_TDX_IMAGES,
		FOR_SNP,
		FOR_SNP_TCB,
		FOR_SNP_IMAGES,
		FOR_REQUIRED_TEE,
		FOR_IDENTITY
	} made;
};

static const struct check checks[] = {
	{ "request",
	  { TL_E_VERIFY_REQUEST, TL_E_VERIFY_UNSUPPORTED, TL_E_VERIFY_TOO_LARGE,
	    TL_E_VERIFY_TOKEN_OPTIONS },
	  NULL,
	  ALWAYS },
	{ "challenge",
	  { TL_E_VERIFY_CHALLENGE_FORGED, TL_E_VERIFY_CHALLENGE_EXPIRED,
	    TL_E_VERIFY_CHALLENGE_USED },
	  "request",
	  ALWAYS },
	{ "ak_certificate", { TL_E_VERIFY_AK_CERT }, "challenge", ALWAYS },
	{ "ak_chain", { TL_E_VERIFY_AK_CHAIN }, "ak_certificate", ALWAYS },
	{ "instance", { TL_E_VERIFY_INSTANCE }, "ak_chain", ALWAYS },
	{ "banks", { TL_E_VERIFY_BANKS }, "challenge", FOR_TPM },
	{ "quote", { TL_E_VERIFY_QUOTE }, "challenge", FOR_TPM },
	{ CHECK_TDX_QUOTE, { TL_E_VERIFY_TDX_QUOTE }, "challenge", FOR_TDX },
	{ CHECK_SNP_REPORT, { TL_E_VERIFY_SNP_REPORT }, "challenge", FOR_SNP },
	{ "required_tee", { TL_E_VERIFY_TEE }, "challenge", FOR_REQUIRED_TEE },
	{ "nonce", { TL_E_VERIFY_NONCE }, "quote", FOR_NONCES },
	{ "signature", { TL_E_VERIFY_SIGNATURE }, "instance", FOR_TPM },
	{ "pcr_digest", { TL_E_VERIFY_PCR_DIGEST }, "quote", FOR_TPM },
	{ "tdx_chain", { TL_E_VERIFY_TDX_CHAIN }, CHECK_TDX_QUOTE, FOR_TDX },
	{ "tdx_signature", { TL_E_VERIFY_TDX_SIGNATURE }, "tdx_chain", FOR_TDX },
	{ "tdx_td", { TL_E_VERIFY_TDX_TD }, CHECK_TDX_QUOTE, FOR_TDX },
	{ "tdx_tcb", { TL_E_VERIFY_TDX_TCB }, "tdx_chain", FOR_TDX_TCB },
	{ "snp_chain", { TL_E_VERIFY_SNP_CHAIN }, CHECK_SNP_REPORT, FOR_SNP },
	{ "snp_signature", { TL_E_VERIFY_SNP_SIGNATURE }, "snp_chain", FOR_SNP },
	{ "snp_guest", { TL_E_VERIFY_SNP_GUEST }, CHECK_SNP_REPORT, FOR_SNP },
	{ "snp_tcb", { TL_E_VERIFY_SNP_TCB }, "snp_chain", FOR_SNP_TCB },
	{ "firmware_log", { TL_E_VERIFY_FIRMWARE_LOG }, "challenge", FOR_QUOTES },
	{ "firmware_replay", { TL_E_VERIFY_FIRMWARE_REPLAY }, "firmware_log", FOR_QUOTES },
	{ "boot_claims", { TL_E_VERIFY_BOOT_CLAIMS }, "firmware_log", FOR_QUOTES },
	{ "image_log", { TL_E_VERIFY_IMAGE_LOG }, "firmware_log", FOR_IMAGES },
	{ "image", { TL_E_VERIFY_IMAGE }, "image_log", FOR_IMAGES },
	{ "tdx_image", { TL_E_VERIFY_TDX_IMAGE }, CHECK_TDX_QUOTE, FOR_TDX_IMAGES },
	{ "snp_image", { TL_E_VERIFY_SNP_IMAGE }, "image", FOR_SNP_IMAGES },
	{ "launch_log", { TL_E_VERIFY_LAUNCH_LOG }, "challenge", FOR_QUOTES },
	{ "launch_replay", { TL_E_VERIFY_LAUNCH_REPLAY }, "launch_log", FOR_QUOTES },
	{ "launch_events", { TL_E_VERIFY_LAUNCH_EVENTS }, "launch_log", FOR_QUOTES },
	{ "record_log", { TL_E_VERIFY_RECORD_LOG }, "challenge", FOR_TPM },
	{ "record", { TL_E_VERIFY_RECORD }, "record_log", FOR_TPM },
	{ "identity", { TL_E_VERIFY_IDENTITY }, "challenge", FOR_IDENTITY },
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
	switch (c->made) {
	case ALWAYS:
	case FOR_QUOTES:
	case FOR_NONCES:
		return true;
	case FOR_TPM:
		return made->has_tpm;
	case FOR_TDX:
		return made->has_tdx;
	case FOR_TDX_TCB:
		return made->has_tdx_tcb;
	case FOR_IMAGES:
		return made->has_images && made->has_tpm;
	case FOR_TDX_IMAGES:
		return made->has_images && made->has_tdx;
	case FOR_SNP:
		return made->has_snp;
	case FOR_SNP_TCB:
		return made->has_snp_tcb;
	case FOR_SNP_IMAGES:
		return made->has_images && made->has_snp;
	case FOR_REQUIRED_TEE:
		return made->has_required_tee;
	case FOR_IDENTITY:
		return made->has_identity;
	}
	return false;
}

static size_t check_find(const char *name)
{
	size_t i = 0;

	while (strcmp(checks[i].name, name) != 0)
		i++;
	return i;
}

/* Behind a check that nobody wanted made is the one that it rests on itself. */
static bool is_possible(const struct check *c, const struct checks_made *made,
			const enum outcome *outcomes)
{
	if ((c->made == FOR_QUOTES || c->made == FOR_NONCES) && made->has_tdx &&
	    outcomes[check_find(CHECK_TDX_QUOTE)] != PASSED)
		return false;
	if (c->made == FOR_NONCES && made->has_snp &&
	    outcomes[check_find(CHECK_SNP_REPORT)] != PASSED)
		return false;
	for (const char *needs = c->needs; needs;) {
		size_t i = check_find(needs);

		if (is_made(&checks[i], made))
			return outcomes[i] == PASSED;
		needs = checks[i].needs;
	}
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
						      is_possible(&checks[i], made, outcomes)
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
