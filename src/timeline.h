/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `teelaunch timeline`: the stages of a launch report (teelaunch-report(5)) as a picture. A report
 * is anybody's text here: bounded, and nothing of it is believed but that it has numbers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

#define TIMELINE_SPANS_MAX  64
#define TIMELINE_TEXT_BYTES 128
/* A console's whole output may be given; the report in it is a line. */
#define TIMELINE_INPUT_MAX_BYTES ((size_t)16 << 20)
/* Above 10,000 years in milliseconds sums still can't overflow. */
#define TIMELINE_MS_MAX (UINT64_C(1) << 48)

enum span_outcome { SPAN_OK, SPAN_FAILED, SPAN_SKIPPED };

struct span {
	char name[TIMELINE_TEXT_BYTES];
	uint64_t start_ms, took_ms;
	enum span_outcome outcome;
	bool is_critical;
	uint64_t waited_ms; /* before it, if it is critical: nothing critical ran */
};

struct timeline {
	struct span spans[TIMELINE_SPANS_MAX]; /* in the report's order */
	size_t n;
	uint64_t end_ms; /* of the last */
	char result[TIMELINE_TEXT_BYTES];
	char code[TIMELINE_TEXT_BYTES];  /* "": none */
	char image[TIMELINE_TEXT_BYTES]; /* reference, cut if it is long; "": not known */
};

/**
 * Read a report: the document itself, or the last line "TEELAUNCH-REPORT {...}" of a console's
 * output. -EINVAL (TL_E_REPORT_INPUT): there is none, it can't be read, or it has no stages.
 */
int timeline_read(const void *text, size_t n, struct timeline *ret, struct tl_error *err);

/**
 * Mark the chain of spans that the end waited for: from the span that ends last, backwards, each
 * time the one that ended last before its start (a millisecond of overlap is rounding). Spans that
 * were skipped are on no path. Pure.
 */
void timeline_mark_critical(struct timeline *t);

/** SVG 1.1, the same bytes for the same report; no script, nothing from elsewhere. 0 or -ENOMEM. */
int timeline_draw(const struct timeline *t, struct tl_buf *ret);

/** The subcommand: returns the exit status of teelaunch-timeline(1). */
int timeline_main(int argc, char **argv);
