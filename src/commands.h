/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of teelaunch, as a table; each has a file of its own. */
#pragma once

#include <stddef.h>

#include <teelaunch/option_table.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the command; returns the exit status */
	const char *summary;
	const struct tl_options *options; /* NULL: it takes words, no options */
};

/* The one without a name ends the list. */
extern const struct command commands[];
