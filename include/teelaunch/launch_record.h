/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch record: one JSON document that says what of a launch changes behaviour and is not in
 * the launch log of PCR 13. Its bytes are what is measured (PCR 15, docs/measurement.md), so one
 * input has one encoding: RFC 8785 (sorted names, no blanks, UTF-8, shortest escapes), of texts,
 * truth values and whole numbers up to 2^53 - 1. Pure: struct in, text out.
 *
 * Not in it: variables' values, and the API key of Intel Trust Authority but for whether there is
 * one. Nothing in it is secret.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>
#include <teelaunch/launch_spec.h>
#include <teelaunch/str.h>

#define TL_LAUNCH_RECORD_SCHEMA     "teelaunch.launch-record/1"
#define TL_LAUNCH_RECORD_BYTES_MAX  131072 /* as the content of any event: event_log.h */
#define TL_LAUNCH_RECORD_NUMBER_MAX ((UINT64_C(1) << 53) - 1) /* exact in every JSON reader */

/* What one option of the launcher's unit comes to, its default included. */
struct tl_record_option {
	const char *name; /* as on the command line, without "--"; '-' is written as '_' */
	enum {
		TL_RECORD_TEXT,   /* NULL: not given, and there is no default */
		TL_RECORD_NUMBER, /* in the option's own unit */
		TL_RECORD_BOOL,   /* as @number, 0 or 1 */
		TL_RECORD_TEXTS,  /* in the order given */
	} kind;
	const char *text;
	uint64_t number;
	const struct tl_strv *texts;
};

/* All borrowed. A text that may be NULL is then written as null. */
struct tl_launch_record_facts {
	const struct tl_launch_spec *spec; /* one that may be launched */
	bool is_hardened;                  /* by the kernel's command line */
	const char *root;                  /* "verity" or "any" */
	struct {
		const char *mode;                      /* "protected" or "unprotected" */
		const char *cipher, *integrity, *tags; /* NULL if unprotected */
	} disk;
	const char *runtime, *snapshotter;      /* containerd's names for them */
	const char *network;                    /* "host": the machine's own */
	uint64_t nofile;                        /* the workload's limit on open files */
	const char *verifier_url;               /* that is asked, gca-service-env considered */
	const struct tl_record_option *options; /* of the unit, all of them, in any order */
	size_t options_n;
};

/**
 * Append the document to @ret, an empty buffer whose maximum is TL_LAUNCH_RECORD_BYTES_MAX.
 *
 * -EINVAL (TL_E_LAUNCH_RECORD, denied): the document would be longer, a number is larger than
 * TL_LAUNCH_RECORD_NUMBER_MAX, or a text isn't UTF-8. -ENOMEM. @ret is worthless on failure.
 */
int tl_launch_record_build(const struct tl_launch_record_facts *facts, struct tl_buf *ret,
			   struct tl_error *err);
