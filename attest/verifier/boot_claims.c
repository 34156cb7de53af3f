/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/cmdline.h>

#define PCR_SECURE_BOOT         7
#define PCR_GRUB_TEXT           8
#define PCR_SHIM                14
#define CC_REGISTER_SECURE_BOOT 1 /* RTMR 0 */
#define PCRS_BOOT               UINT32_C(0x3ff)
#define CMDLINE_MAX             4096 /* Linux COMMAND_LINE_SIZE on x86 is 2,048 */
#define PREFIX_CMDLINE          "kernel_cmdline: "
#define PREFIX_COMMAND          "grub_cmd: "
#define VARIABLE_HEAD           32 /* GUID, UnicodeNameLength, VariableDataLength */
#define SECURE_BOOT_CHARS       10

/* EFI_GLOBAL_VARIABLE (UEFI 2.10, 3.3), little-endian, then the lengths of what follows. */
static const uint8_t secure_boot_head[VARIABLE_HEAD - 8] = {
	0x61,
	0xdf,
	0xe4,
	0x8b,
	0xca,
	0x93,
	0xd2,
	0x11,
	0xaa,
	0x0d,
	0x00,
	0xe0,
	0x98,
	0x03,
	0x2b,
	0x8c,
	SECURE_BOOT_CHARS,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
};

/* Where a log has Secure Boot's policy. */
struct policy_register {
	unsigned int index;
	const char *name;
	/* Other things are in it too, of which the log needn't have what was measured. */
	bool has_others;
};

struct boot {
	const struct firmware_log *log;
	const uint16_t *banks;
	size_t banks_n;
	const struct policy_register *policy;
	struct refusals *refusals;
};

static bool digest_is_of(const struct boot *b, size_t i, const void *data, size_t n)
{
	return firmware_log_is_of(b->log, b->banks, b->banks_n, i, data, n);
}

static bool is_separator(const struct boot *b, size_t i)
{
	return firmware_log_is_separator(b->log, b->banks, b->banks_n, i);
}

static bool is_secure_boot_variable(const struct firmware_event *e)
{
	static const char name[SECURE_BOOT_CHARS + 1] = "SecureBoot";

	if (e->data_n < VARIABLE_HEAD + 2 * SECURE_BOOT_CHARS ||
	    memcmp(e->data, secure_boot_head, sizeof(secure_boot_head)) != 0)
		return false;
	for (size_t i = 0; i < SECURE_BOOT_CHARS; i++)
		if (e->data[VARIABLE_HEAD + 2 * i] != (uint8_t)name[i] ||
		    e->data[VARIABLE_HEAD + 2 * i + 1] != 0)
			return false;
	return true;
}

static bool secure_boot_value(const struct firmware_event *e, bool *ret)
{
	const size_t at = VARIABLE_HEAD + 2 * SECURE_BOOT_CHARS;
	static const uint8_t one[8] = { 1 };
	static const uint8_t none[8] = { 0 };

	/* A firmware that doesn't know Secure Boot measures the variable without a value. */
	if (e->data_n == at && memcmp(e->data + 24, none, 8) == 0)
		*ret = false;
	else if (e->data_n == at + 1 && memcmp(e->data + 24, one, 8) == 0 && e->data[at] <= 1)
		*ret = e->data[at] == 1;
	else
		return false;
	return true;
}

/*
 * What is wrong with an event before the separator, or NULL. Where other things are measured too,
 * they come first: the firmware measures its policy right before the separator, SecureBoot first,
 * so that a text that a host could have brought in can't stand in for the variable.
 */
static const char *policy_event_read(const struct boot *b, size_t i, bool *is_seen, bool *ret)
{
	const struct firmware_event *e = &b->log->events[i];

	if (!digest_is_of(b, i, e->data, e->data_n))
		return b->policy->has_others && !*is_seen
			       ? NULL
			       : "an event whose data is not what was measured";
	if (!is_secure_boot_variable(e))
		return NULL;
	if (*is_seen)
		return "the SecureBoot variable twice";
	*is_seen = true;
	return secure_boot_value(e, ret) ? NULL : "a SecureBoot variable that is neither 0 nor 1";
}

static const char *secure_boot_event_read(const struct boot *b, size_t i, bool *is_closed,
					  bool *is_seen, bool *ret)
{
	const struct firmware_event *e = &b->log->events[i];

	if (is_separator(b, i) != (e->type == FIRMWARE_EV_SEPARATOR))
		return "a separator with another type or value";
	if (e->type == FIRMWARE_EV_SEPARATOR) {
		*is_closed = true;
		return NULL;
	}
	if (!*is_closed)
		return policy_event_read(b, i, is_seen, ret);
	return is_secure_boot_variable(e) ? "the SecureBoot variable after the separator" : NULL;
}

static void secure_boot_read(const struct boot *b, struct boot_claims *ret)
{
	bool is_closed = false, is_seen = false;

	for (size_t i = 0; i < b->log->n; i++) {
		const struct firmware_event *e = &b->log->events[i];
		const char *fault;

		if (e->pcr != b->policy->index || e->type == FIRMWARE_EV_NO_ACTION)
			continue;
		fault = secure_boot_event_read(b, i, &is_closed, &is_seen, &ret->is_secure_boot);
		if (fault) {
			refuse(b->refusals, TL_E_VERIFY_BOOT_CLAIMS,
			       "firmware log, byte %zu: %s has %s", e->offset, b->policy->name,
			       fault);
			return;
		}
	}
	if (!is_closed)
		refuse(b->refusals, TL_E_VERIFY_BOOT_CLAIMS,
		       "firmware log: %s has no separator, so what is in it may be anybody's",
		       b->policy->name);
}

static bool is_path(const char *text)
{
	return *text == '/' || *text == '(' || tl_str_starts_with(text, "BOOT_IMAGE=");
}

/*
 * The measured text behind @prefix as a string, or NULL when the event has another prefix or
 * another digest. Some versions of GRUB hash the terminating NUL too.
 */
static char *grub_text(const struct boot *b, size_t i, const char *prefix)
{
	const struct firmware_event *e = &b->log->events[i];
	size_t skip = strlen(prefix), n = e->data_n;
	const char *text = (const char *)e->data + skip;

	if (n < skip || memcmp(e->data, prefix, skip) != 0)
		return NULL;
	n -= skip;
	if (n && text[n - 1] == '\0')
		n--;
	if (memchr(text, '\0', n))
		return NULL;
	if (!digest_is_of(b, i, text, n) &&
	    !(n + skip < e->data_n && digest_is_of(b, i, text, n + 1)))
		return NULL;
	return strndup(text, n);
}

/* One event of PCR 8. @ret_cmdline gets the command line, if it is one. */
static const char *grub_event_read(const struct boot *b, size_t i, char **ret_cmdline)
{
	auto_free char *command = grub_text(b, i, PREFIX_COMMAND);
	auto_free char *cmdline = grub_text(b, i, PREFIX_CMDLINE);

	if (b->log->events[i].type == FIRMWARE_EV_SEPARATOR && is_separator(b, i))
		return NULL;
	if (b->log->events[i].type != FIRMWARE_EV_IPL || (!command && !cmdline))
		return "neither a command nor a command line as GRUB measures them, or not the "
		       "measured text";
	if (command && is_path(command))
		return "a command that starts like a kernel command line";
	if (cmdline && !is_path(cmdline))
		return "a kernel command line that doesn't start with a path";
	if (cmdline && *ret_cmdline)
		return "a second kernel command line";
	if (cmdline && strlen(cmdline) > CMDLINE_MAX)
		return "a kernel command line of more than 4096 bytes";
	if (cmdline)
		*ret_cmdline = take_ptr(cmdline);
	return NULL;
}

static void debug_read(const struct boot *b, struct boot_claims *ret)
{
	auto_free char *cmdline = NULL;
	struct tl_error err = { 0 };

	for (size_t i = 0; i < b->log->n; i++) {
		const struct firmware_event *e = &b->log->events[i];
		const char *fault;

		if (e->pcr != PCR_GRUB_TEXT || e->type == FIRMWARE_EV_NO_ACTION)
			continue;
		fault = grub_event_read(b, i, &cmdline);
		if (fault) {
			refuse(b->refusals, TL_E_VERIFY_BOOT_CLAIMS,
			       "firmware log, byte %zu: PCR 8 has %s", e->offset, fault);
			return;
		}
	}
	if (cmdline && tl_cmdline_is_hardened(cmdline, &ret->is_debug_disabled, &err) < 0)
		refuse(b->refusals, TL_E_VERIFY_BOOT_CLAIMS, "%s", err.msg);
}

void boot_claims_read(const struct firmware_log *log, const uint16_t *banks, size_t banks_n,
		      struct boot_claims *ret, struct refusals *refusals)
{
	static void (*const readers[])(const struct boot *b, struct boot_claims *ret) = {
		secure_boot_read,
		debug_read,
	};
	static const struct policy_register policy = { PCR_SECURE_BOOT, "PCR 7", false };
	const struct boot b = { log, banks, banks_n, &policy, refusals };
	struct boot_claims claims = { 0 };

	for (size_t i = 0; i < TL_ARRAY_SIZE(readers); i++)
		readers[i](&b, &claims);
	*ret = claims;
}

void boot_claims_read_cc(const struct firmware_log *log, struct boot_claims *ret,
			 struct refusals *refusals)
{
	static const struct policy_register policy = { CC_REGISTER_SECURE_BOOT, "RTMR 0", true };
	static const uint16_t banks[] = { TL_SHA384 };
	const struct boot b = { log, banks, TL_ARRAY_SIZE(banks), &policy, refusals };
	struct boot_claims claims = { 0 };

	secure_boot_read(&b, &claims);
	*ret = claims;
}

static void bank_replay_check(const struct firmware_log *log, const struct bank_evidence *bank,
			      struct refusals *refusals)
{
	const char *name = tl_hash_name(bank->hash);
	auto_free struct pcr_values *pcrs = calloc(1, sizeof(*pcrs));
	size_t size = tl_hash_size(bank->hash);
	uint32_t due = PCRS_BOOT;

	if (!pcrs || firmware_log_replay(log, bank->hash, pcrs) < 0) {
		refuse(refusals, TL_E_VERIFY_FIRMWARE_REPLAY,
		       "the firmware log has no digests for the quoted bank %s", name);
		return;
	}
	due |= pcrs->mask & UINT32_C(1) << PCR_SHIM;
	for (unsigned int i = 0; i < PCRS_MAX; i++)
		if ((due & bank->pcrs.mask) >> i & 1 &&
		    memcmp(pcrs->value[i], bank->pcrs.value[i], size) != 0) {
			refuse(refusals, TL_E_VERIFY_FIRMWARE_REPLAY,
			       "the firmware log doesn't lead to the quoted PCR %u of bank %s", i,
			       name);
			refuse_bytes(refusals, bank->pcrs.value[i], size, pcrs->value[i], size);
		}
}

void firmware_replay_check(const struct firmware_log *log, const struct verify_request *req,
			   struct refusals *refusals)
{
	for (size_t i = 0; i < req->banks_n; i++)
		bank_replay_check(log, &req->banks[i], refusals);
}
