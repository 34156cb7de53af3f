/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which image booted: the firmware log, which must lead to the quoted PCRs (boot_claims.h), held
 * against reference values. Only digests count: an event's type and text are the word of whoever
 * sent the log. Pure.
 *
 *   PCRs 0 to 7   one separator each: the firmware's part ended
 *   PCR 2         nothing else: no driver from a device ran (option ROM)
 *   PCR 4         after the firmware's own, exactly the programs of the image, in order; with
 * Secure Boot the last, the kernel inside of the UKI, may be missing: then systemd-stub starts it
 * past the firmware's check, which is what measures. It is in PCR 11 too PCR 5         ends with
 * the successful exit of the boot services PCRs 9, 11    exactly the events of the image, in order
 *   PCR 12        nothing: no command line or credential from outside of the image
 *   PCR 8, 10, 13 and above: nothing; no firmware, boot loader or stub of ours measures there
 *   pcrs          what the reference lists has that value in the quote, PCR 11 also with the words
 *                 that systemd-pcrphase extends later; but PCR 4, which has the firmware's own
 *                 events: the log leads to it, and its events are judged one by one
 *
 * Which firmware did this (PCRs 0 to 3, 6), the GPT (PCR 5) and the Secure Boot keys (PCR 7) are
 * not the image's and not judged here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "firmware_log.h"
#include "image_reference.h"
#include "refusals.h"

#define IMAGE_REFERENCES_MAX 64

/* The images that are accepted: all releases that are in use. */
struct image_references {
	struct image_reference *items;
	size_t n;
};
void image_references_done(struct image_references *r);

/** Parse and append. As image_reference_parse(); two references with equal events are refused. */
int image_references_add(struct image_references *r, const void *text, size_t n,
			 struct tl_error *err);

/* Where a boot leaves a reference; texts are static or borrowed from it. */
struct image_difference {
	const struct image_reference *nearest; /* most of its events are the boot's */
	const char *element;                   /* "kernel command line", "initrd", ... */
	const char *name; /* of the reference's event; "" if it has none there */
	unsigned int pcr;
	size_t event;  /* in that PCR without the firmware's own, from 1; 0: the register's value */
	uint16_t hash; /* the digests are of this bank */
	const uint8_t *expected; /* NULL: nothing more was due */
	const uint8_t *found;    /* NULL: nothing more was there */
};

/**
 * @is_secure_boot  as boot_claims_read() found it
 * @ret      the image that booted; borrowed from @refs, set if nothing was added to @refusals
 * @ret_why  may be NULL; set when no reference fits (then nearest isn't NULL)
 * Refusals: TL_E_VERIFY_IMAGE_LOG for a log that is no boot of such an image at all,
 * TL_E_VERIFY_IMAGE for one of another image, TL_E_VERIFY_BANKS for a quote that covers too little.
 */
void image_check(const struct image_references *refs, const struct firmware_log *log,
		 const struct verify_request *req, bool is_secure_boot,
		 const struct image_reference **ret, struct image_difference *ret_why,
		 struct refusals *refusals);
