/* SPDX-License-Identifier: Apache-2.0 */
/* The options of teeverifierd, as a table, and what they set. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "../attest/verifier/verifier.h"
#include "teeverifierd_decisions.h"

struct settings {
	struct verifier_options verifier;
	const char *port_file;
	const char *decision_log;
	struct decisions decisions;
	const char *log_level;
	bool is_help;
	bool is_version;
};

enum setting_kind {
	SETTING_TEXT, /* const char * */
	SETTING_LIST, /* struct tl_strv; may be given again */
	SETTING_NUMBER,
	SETTING_FLAG,
};

struct setting_row {
	const char *name;
	const char *value; /* as the help shows it; NULL: a flag */
	enum setting_kind kind;
	size_t offset;
	uint64_t max; /* of numbers */
	const char *help;
};

extern const struct setting_row setting_rows[];
extern const size_t setting_rows_n;

/** Everything at its default. settings_done() when it is no longer needed. */
struct settings settings_defaults(void);
/** 0 or -errno with TL_E_USAGE or _NO_MEMORY. Strings are borrowed from @argv. */
int settings_parse(int argc, char **argv, struct settings *s, struct tl_error *err);
/** What is missing, and the level of the log, which is set. 0 or -errno with TL_E_USAGE. */
int settings_check(const struct settings *s, struct tl_error *err);
void settings_help(void);
void settings_done(struct settings *s);
