/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings: everything that is wrong with (or odd about) a launch, each with the reason and what
 * would be right. The functions that enforce a rule write the finding themselves, so that an
 * explanation can't differ from the decision.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/error.h>

/* More would not be read by anyone; what comes after is counted, not kept. */
#define TL_FINDINGS_MAX          512
#define TL_FINDING_MSG_BYTES_MAX 512

enum tl_finding_source {
	TL_SOURCE_ATTRIBUTES, /* a metadata key, set by the operator */
	TL_SOURCE_LABELS,     /* the image, made by its author */
	TL_SOURCE_MACHINE,    /* the machine, or what this launcher can do */
};

struct tl_finding {
	enum tl_code code;
	const char *category; /* a row of tl_finding_categories(); static storage */
	enum tl_finding_source source;
	bool is_warning; /* says something, forbids nothing */
	char *key;       /* metadata key, image label or field; escaped; may be "" */
	char *message;   /* one escaped line; never a value of a variable, key or token */
	char *fix;       /* what would be right */
};

struct tl_findings {
	struct tl_finding *items;
	size_t n;
	size_t dropped; /* findings beyond TL_FINDINGS_MAX */
};

void tl_findings_done(struct tl_findings *f);
#define auto_findings __attribute__((cleanup(tl_findings_done)))

/** True if any finding is more than a warning. */
bool tl_findings_forbid(const struct tl_findings *f);

/** "attributes", "labels", "machine". */
const char *tl_finding_source_name(enum tl_finding_source source);

/** NULL-terminated list of every category a finding can have; static storage. */
const char *const *tl_finding_categories(void);

/**
 * Turn findings into one error for the log: the first forbidding finding, and how many more.
 * Returns 0 (and leaves @err alone) if nothing is forbidden, else -EPERM.
 */
int tl_findings_error(const struct tl_findings *f, struct tl_error *err);

/* What a finding says; used by policy/ and by checks elsewhere that report the same way. */
struct tl_finding_row {
	enum tl_code code;
	const char *category;
	enum tl_finding_source source;
	bool is_warning;
};

/**
 * Append one finding. Foreign text is escaped and cut here.
 *
 * @key, @fix  copied; NULL counts as ""
 * Returns 0 or -ENOMEM; beyond TL_FINDINGS_MAX it only counts (a warning is dropped in favour of a
 * forbidding finding, so that the verdict is never changed by the limit).
 */
int tl_findings_add(struct tl_findings *f, const struct tl_finding_row *row, const char *key,
		    const char *fix, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
