/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of a tool's command as one table: a row per option, and the help is written from
 * the rows that are parsed by. It prints: what is wrong on standard error, help on standard output.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TL_OPTIONS_MAX 64 /* rows of one table; "--help" is none of them */

struct tl_option {
	const char *name;     /* without "--" */
	const char *argument; /* what the help calls it; NULL: it takes none */
	/*
	 * 0 or -errno; -EINVAL once the reason is printed. @value is borrowed and lives as long as
	 * argv; NULL without an argument.
	 */
	int (*set)(void *ctx, const struct tl_option *option, const char *value);
	size_t offset;           /* of the field in the context, for functions of several rows */
	const char *description; /* one line, or several parted by '\n' */
};

struct tl_options {
	const char *command; /* "teelaunch measure"; in front of every message */
	const struct tl_option *rows;
	size_t n;
	const char *usage;       /* above the rows in the help */
	const char *exit_status; /* below them */
};

/**
 * Call the row's function for each option. 0, 1 (help was printed), -EINVAL (the reason was
 * printed) or what a row's function returned. No thread-safety: getopt_long(3) has one state.
 */
int tl_options_parse(const struct tl_options *o, void *ctx, int argc, char **argv);

/* For rows: a borrowed text that isn't empty (const char *), and what is said by being there
 * (bool).
 */
int tl_option_text(void *ctx, const struct tl_option *option, const char *value);
int tl_option_flag(void *ctx, const struct tl_option *option, const char *value);

/** Say "--NAME takes ARGUMENT, not 'VALUE'"; -EINVAL. */
int tl_option_refuse(const struct tl_option *option, const char *value);
