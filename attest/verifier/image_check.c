/* SPDX-License-Identifier: Apache-2.0 */
#include "image_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/event_log.h>
#include <teelaunch/str.h>

#define PCR_DRIVERS   2
#define PCR_EXIT      5
#define PCRS_FIRMWARE 8  /* 0 to 7 */
#define DIGEST_SHOWN  16 /* hex digits in a message; two whole digests don't fit in */
#define NO_EVENT      SIZE_MAX

/* TCG PC Client Platform Firmware Profile 1.05, 10.4.4: EV_EFI_ACTION strings. */
#define ACTION_BOOT        "Calling EFI Application from Boot Option"
#define ACTION_RETURNED    "Returning from EFI Application from Boot Option"
#define ACTION_EXIT        "Exit Boot Services Invocation"
#define ACTION_EXIT_RESULT "Exit Boot Services Returned with Success"

/* Events of these registers are the image's; in the order in which a difference says most. */
static const unsigned int judged[] = { IMAGE_PCR_UKI, IMAGE_PCR_OVERRIDES, IMAGE_PCR_KERNEL,
				       IMAGE_PCR_PROGRAMS };
#define JUDGED_N TL_ARRAY_SIZE(judged)

/* Nobody has events there in a boot of a unified kernel image. */
static const struct {
	unsigned int pcr;
	const char *whose;
} empty[] = {
	{ 8, "a boot loader's text (GRUB)" },
	{ 10, "the kernel's own file measurements, which have another log" },
	{ 13, "a system extension from outside of the image" },
	{ 14, "keys of a boot loader (shim)" },
};

/* By a word in an event's name. */
static const struct {
	unsigned int pcr;
	const char *word;
	const char *element;
} elements[] = {
	{ IMAGE_PCR_UKI, ".cmdline", "kernel command line (with the root hash)" },
	{ IMAGE_PCR_UKI, ".initrd", "initrd" },
	{ IMAGE_PCR_UKI, ".linux", "kernel" },
	{ IMAGE_PCR_UKI, ".osrel", "os-release" },
	{ IMAGE_PCR_KERNEL, "initrd", "initrd" },
	{ IMAGE_PCR_KERNEL, "", "kernel command line (with the root hash)" },
	{ IMAGE_PCR_PROGRAMS, "uki", "UKI" },
	{ IMAGE_PCR_PROGRAMS, "kernel", "kernel" },
	{ IMAGE_PCR_PROGRAMS, "", "program" },
};

/* What an event behind the image's own is. */
static const struct {
	unsigned int pcr;
	const char *element;
} additions[] = {
	{ IMAGE_PCR_UKI, "measurement behind the image's parts" },
	{ IMAGE_PCR_OVERRIDES, "command line or credential from outside of the image" },
	{ IMAGE_PCR_KERNEL, "measurement behind the kernel's" },
	{ IMAGE_PCR_PROGRAMS, "program that isn't the image's" },
};

/* systemd-pcrphase.service(8): each may be missing, none comes earlier than the one before it. */
static const char *const phases[] = { "enter-initrd", "leave-initrd", "sysinit",
				      "ready",        "shutdown",     "final" };

struct boot {
	const struct firmware_log *log;
	uint16_t banks[REQUEST_BANKS_MAX]; /* quoted, and known to references */
	size_t banks_n;
	bool is_secure_boot;
	struct refusals *refusals;
};

void image_references_done(struct image_references *r)
{
	for (size_t i = 0; i < r->n; i++)
		image_reference_done(&r->items[i]);
	free(r->items);
	*r = (struct image_references){ 0 };
}

static bool is_same_image(const struct image_reference *a, const struct image_reference *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->events[i].pcr != b->events[i].pcr ||
		    memcmp(&a->events[i].digests, &b->events[i].digests,
			   sizeof(struct image_digests)) != 0)
			return false;
	return true;
}

int image_references_add(struct image_references *r, const void *text, size_t n,
			 struct tl_error *err)
{
	auto_image_reference struct image_reference ref = { 0 };
	struct image_reference *items;
	int e = image_reference_parse(text, n, &ref, err);

	if (e < 0)
		return e;
	if (r->n == IMAGE_REFERENCES_MAX)
		return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL, "more than %d references",
			       IMAGE_REFERENCES_MAX);
	for (size_t i = 0; i < r->n; i++)
		if (is_same_image(&r->items[i], &ref))
			return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL,
				       "it is the image that '%s %s' is, given before",
				       r->items[i].name, r->items[i].version);
	items = reallocarray(r->items, r->n + 1, sizeof(*items));
	if (!items)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for references");
	r->items = items;
	r->items[r->n++] = ref;
	ref = (struct image_reference){ 0 };
	return 0;
}

static bool is_of(const struct boot *b, size_t i, const char *text)
{
	return firmware_log_is_of(b->log, b->banks, b->banks_n, i, text, strlen(text));
}

static bool is_event_of(const struct boot *b, size_t i, unsigned int pcr)
{
	return b->log->events[i].type != FIRMWARE_EV_NO_ACTION && b->log->events[i].pcr == pcr;
}

/* What a firmware puts into a register of the image's: told by what was measured. */
static bool is_firmwares_own(const struct boot *b, size_t i)
{
	unsigned int pcr = b->log->events[i].pcr;

	if (pcr != IMAGE_PCR_PROGRAMS)
		return false;
	return firmware_log_is_separator(b->log, b->banks, b->banks_n, i) ||
	       is_of(b, i, ACTION_BOOT) || is_of(b, i, ACTION_RETURNED);
}

/* The next event of a register, without the firmware's own; NO_EVENT at the end. */
static size_t event_next(const struct boot *b, unsigned int pcr, size_t from)
{
	for (size_t i = from; i < b->log->n; i++)
		if (is_event_of(b, i, pcr) && !is_firmwares_own(b, i))
			return i;
	return NO_EVENT;
}

static void separators_check(const struct boot *b)
{
	unsigned int seen[PCRS_FIRMWARE] = { 0 };

	for (size_t i = 0; i < b->log->n; i++) {
		unsigned int pcr = b->log->events[i].pcr;

		if (b->log->events[i].type != FIRMWARE_EV_NO_ACTION && pcr < PCRS_FIRMWARE &&
		    firmware_log_is_separator(b->log, b->banks, b->banks_n, i))
			seen[pcr]++;
		else if (is_event_of(b, i, PCR_DRIVERS))
			refuse(b->refusals, TL_E_VERIFY_IMAGE_LOG,
			       "firmware log, byte %zu: PCR 2 has more than the separator: a "
			       "driver from a device (option ROM) ran before the image",
			       b->log->events[i].offset);
		else if (is_event_of(b, i, IMAGE_PCR_PROGRAMS) && !seen[IMAGE_PCR_PROGRAMS] &&
			 !is_firmwares_own(b, i))
			refuse(b->refusals, TL_E_VERIFY_IMAGE_LOG,
			       "firmware log, byte %zu: PCR 4 has a program before the separator",
			       b->log->events[i].offset);
	}
	for (unsigned int pcr = 0; pcr < PCRS_FIRMWARE; pcr++)
		if (seen[pcr] != 1)
			refuse(b->refusals, TL_E_VERIFY_IMAGE_LOG,
			       "firmware log: PCR %u has %u separators; one was due", pcr,
			       seen[pcr]);
}

/* Before that the firmware's services were still there, for whoever made the later events. */
static void exit_check(const struct boot *b)
{
	size_t last = NO_EVENT, before = NO_EVENT;

	for (size_t i = 0; i < b->log->n; i++) {
		if (!is_event_of(b, i, PCR_EXIT))
			continue;
		before = last;
		last = i;
	}
	if (before == NO_EVENT || !is_of(b, last, ACTION_EXIT_RESULT) ||
	    !is_of(b, before, ACTION_EXIT))
		refuse(b->refusals, TL_E_VERIFY_IMAGE_LOG,
		       "firmware log: PCR 5 doesn't end with the exit of the boot services");
}

static void empty_check(const struct boot *b)
{
	for (size_t i = 0; i < b->log->n; i++) {
		const struct firmware_event *e = &b->log->events[i];
		const char *whose = e->pcr > 14 ? "nobody's before systemd" : NULL;

		for (size_t k = 0; k < TL_ARRAY_SIZE(empty); k++)
			if (e->pcr == empty[k].pcr)
				whose = empty[k].whose;
		if (e->type != FIRMWARE_EV_NO_ACTION && whose)
			refuse(b->refusals, TL_E_VERIFY_IMAGE_LOG,
			       "firmware log, byte %zu: PCR %u has an event: %s", e->offset, e->pcr,
			       whose);
	}
}

static const struct image_event *reference_next(const struct image_reference *ref, unsigned int pcr,
						size_t *at)
{
	while (*at < ref->n)
		if (ref->events[(*at)++].pcr == pcr)
			return &ref->events[*at - 1];
	return NULL;
}

/* The first quoted bank in which a logged event is another than the reference's; 0: in none. */
static uint16_t differing_bank(const struct boot *b, size_t i, const struct image_event *e)
{
	for (size_t k = 0; k < b->banks_n; k++)
		if (memcmp(firmware_log_digest(b->log, i, b->banks[k]),
			   image_digest(&e->digests, b->banks[k]), tl_hash_size(b->banks[k])) != 0)
			return b->banks[k];
	return 0;
}

static const char *element_of(unsigned int pcr, const struct image_event *e)
{
	for (size_t i = 0; e && i < TL_ARRAY_SIZE(elements); i++)
		if (elements[i].pcr == pcr && strstr(e->name, elements[i].word))
			return elements[i].element;
	for (size_t i = 0; !e && i < TL_ARRAY_SIZE(additions); i++)
		if (additions[i].pcr == pcr)
			return additions[i].element;
	return e ? e->name : "measurement";
}

/* The kernel inside of a UKI that the firmware has checked as a whole (Secure Boot). */
static bool may_be_missing(const struct boot *b, const struct image_reference *ref,
			   unsigned int pcr, size_t at, size_t equal)
{
	return b->is_secure_boot && pcr == IMAGE_PCR_PROGRAMS && equal > 0 &&
	       !reference_next(ref, pcr, &at);
}

/*
 * One register's events against a reference's. Returns how many are equal before the first that
 * differs. @why gets that one if it has none yet.
 */
static size_t register_compare(const struct boot *b, const struct image_reference *ref,
			       unsigned int pcr, struct image_difference *why)
{
	size_t at = 0, equal = 0, i = 0;

	for (;; i++, equal++) {
		const struct image_event *e = reference_next(ref, pcr, &at);
		uint16_t hash = b->banks[0];

		i = event_next(b, pcr, i);
		if (i == NO_EVENT && (!e || may_be_missing(b, ref, pcr, at, equal)))
			return equal;
		if (e && i != NO_EVENT)
			hash = differing_bank(b, i, e);
		if (!hash)
			continue;
		if (!why->nearest)
			*why = (struct image_difference){
				.nearest = ref,
				.element = element_of(pcr, e),
				.name = e ? e->name : "",
				.pcr = pcr,
				.event = equal + 1,
				.hash = hash,
				.expected = e ? image_digest(&e->digests, hash) : NULL,
				.found =
					i == NO_EVENT ? NULL : firmware_log_digest(b->log, i, hash),
			};
		return equal;
	}
}

/* True if @value is @start, or @start with some of the phases, in their order, extended. */
static bool is_with_phases(uint16_t hash, const uint8_t *start, const uint8_t *value)
{
	for (unsigned int chosen = 0; chosen < 1u << TL_ARRAY_SIZE(phases); chosen++) {
		uint8_t reg[TL_HASH_SIZE_MAX], digest[TL_HASH_SIZE_MAX];

		memcpy(reg, start, tl_hash_size(hash));
		for (size_t i = 0; i < TL_ARRAY_SIZE(phases); i++)
			if ((chosen >> i & 1) &&
			    (tl_digest(hash, phases[i], strlen(phases[i]), digest) < 0 ||
			     tl_register_extend(hash, reg, digest) < 0))
				return false;
		if (memcmp(reg, value, tl_hash_size(hash)) == 0)
			return true;
	}
	return false;
}

static void value_compare(const struct image_reference *ref, const struct bank_evidence *bank,
			  unsigned int pcr, struct image_difference *why)
{
	const uint8_t *due = image_digest(&ref->pcrs[pcr], bank->hash);
	const uint8_t *value = bank->pcrs.value[pcr];

	if (why->nearest || !due || !(bank->pcrs.mask >> pcr & 1) ||
	    memcmp(due, value, tl_hash_size(bank->hash)) == 0 ||
	    (pcr == IMAGE_PCR_UKI && is_with_phases(bank->hash, due, value)))
		return;
	*why = (struct image_difference){
		.nearest = ref,
		.element = "register's value",
		.name = "",
		.pcr = pcr,
		.hash = bank->hash,
		.expected = due,
		.found = value,
	};
}

/* How many events are equal; @why->nearest stays NULL if all is. */
static size_t image_compare(const struct boot *b, const struct image_reference *ref,
			    const struct verify_request *req, struct image_difference *why)
{
	uint32_t due = ref->pcr_mask & ~(UINT32_C(1) << IMAGE_PCR_PROGRAMS);
	size_t equal = 0;

	for (size_t i = 0; i < JUDGED_N; i++)
		equal += register_compare(b, ref, judged[i], why);
	for (unsigned int pcr = 0; pcr < PCRS_MAX; pcr++)
		for (size_t k = 0; (due >> pcr & 1) && k < req->banks_n; k++)
			value_compare(ref, &req->banks[k], pcr, why);
	return equal;
}

static void digest_show(const uint8_t *digest, char ret[DIGEST_SHOWN + 1])
{
	(void)snprintf(ret, DIGEST_SHOWN + 1, "nothing");
	if (digest)
		tl_hex_encode(digest, DIGEST_SHOWN / 2, ret);
}

static void difference_refuse(const struct image_difference *why, struct refusals *refusals)
{
	char expected[DIGEST_SHOWN + 1], found[DIGEST_SHOWN + 1], place[64] = "";

	digest_show(why->expected, expected);
	digest_show(why->found, found);
	if (why->event)
		(void)snprintf(place, sizeof(place), ", event %zu%s%.32s%s", why->event,
			       *why->name ? " (" : "", why->name, *why->name ? ")" : "");
	refuse(refusals, TL_E_VERIFY_IMAGE,
	       "%s differs from reference '%.48s %.24s %s': PCR %u%s: expected %s %s, found %s",
	       why->element, why->nearest->name, why->nearest->version, why->nearest->flavour,
	       why->pcr, place, tl_hash_name(why->hash), expected, found);
	refuse_bytes(refusals, why->expected, tl_hash_size(why->hash), why->found,
		     tl_hash_size(why->hash));
}

static void references_compare(const struct boot *b, const struct image_references *refs,
			       const struct verify_request *req, const struct image_reference **ret,
			       struct image_difference *ret_why)
{
	struct image_difference nearest = { 0 };
	size_t most = 0;

	for (size_t i = 0; i < refs->n; i++) {
		struct image_difference why = { 0 };
		size_t equal = image_compare(b, &refs->items[i], req, &why);

		if (!why.nearest) {
			*ret = &refs->items[i];
			return;
		}
		if (!nearest.nearest || equal > most) {
			nearest = why;
			most = equal;
		}
	}
	*ret_why = nearest;
}

/* False if what the check needs isn't there. */
static bool boot_init(struct boot *b, const struct verify_request *req)
{
	uint32_t needed = UINT32_C(1) << IMAGE_PCR_UKI | UINT32_C(1) << IMAGE_PCR_OVERRIDES;
	const struct image_digests none = { 0 };
	bool is_whole = true, has_strong = false;

	for (size_t i = 0; i < req->banks_n; i++) {
		uint16_t hash = req->banks[i].hash;

		if ((req->banks[i].pcrs.mask & needed) != needed) {
			is_whole = false;
			refuse(b->refusals, TL_E_VERIFY_BANKS,
			       "the %s quote doesn't cover PCRs 11 and 12, which name the image",
			       tl_hash_name(hash));
		}
		if (!image_digest(&none, hash) || b->log->n == 0 ||
		    !firmware_log_digest(b->log, 0, hash))
			continue;
		has_strong = has_strong || hash != TL_SHA1;
		b->banks[b->banks_n++] = hash;
	}
	if (!has_strong)
		refuse(b->refusals, TL_E_VERIFY_IMAGE_LOG,
		       "the firmware log has no digests of a quoted sha256 or sha384 bank");
	return is_whole && has_strong;
}

void image_check(const struct image_references *refs, const struct firmware_log *log,
		 const struct verify_request *req, bool is_secure_boot,
		 const struct image_reference **ret, struct image_difference *ret_why,
		 struct refusals *refusals)
{
	struct boot b = { .log = log, .is_secure_boot = is_secure_boot, .refusals = refusals };
	const struct image_reference *image = NULL;
	struct image_difference why = { 0 };
	size_t before = refusals->n;

	if (!boot_init(&b, req))
		return;
	separators_check(&b);
	exit_check(&b);
	empty_check(&b);
	references_compare(&b, refs, req, &image, &why);
	if (!image) {
		difference_refuse(&why, refusals);
		if (ret_why)
			*ret_why = why;
	} else if (refusals->n == before) {
		*ret = image;
	}
}
