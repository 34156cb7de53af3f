/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `teelaunch explain`: would this launch be allowed, and if not, why exactly? It links the very
 * functions that teelaunchd enforces with.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "judge.h"

/* What was asked and what came out. */
struct explain {
	struct judge judge;
	bool is_json;
	bool are_values_shown;
	bool is_schema; /* print the tables, judge nothing */
};

/** The subcommand: returns the exit status of cli.md. */
int explain_main(int argc, char **argv);
extern const struct tl_options explain_options;

/** What was not checked because it wasn't given: name @i, or NULL past the end. */
const char *explain_unchecked(const struct explain *e, size_t i);

/* Print on standard output; 0 or -errno. */
int explain_print_json(const struct explain *e);
int explain_print_text(const struct explain *e);
int explain_print_schema(bool is_json);

/** The list "findings", or that of the warnings. A new reference. */
json_t *explain_findings(const struct tl_findings *f, bool are_warnings);
/** The reasons, or the warnings, for people. */
void explain_print_findings(const struct tl_findings *f, bool are_warnings);

/** `teelaunch explain-error [CODE]`: returns the exit status. */
int explain_error_main(int argc, char **argv);
