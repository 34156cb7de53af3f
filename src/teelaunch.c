/* SPDX-License-Identifier: Apache-2.0 */
/* teelaunch: the operators' and authors' tool. A table of subcommands; each has a file of its own.
 */
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "explain.h"
#include "measure.h"
#include "verify.h"
#include "vm/vm.h"

static const struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns the exit status */
	const char *summary;
} subcommands[] = {
	{ "explain", explain_main, "would this launch be allowed, and if not, why exactly?" },
	{ "explain-error", explain_error_main, "what an error code means and what to do" },
	{ "measure", measure_main,
	  "what a launch measures, and what an event log makes of the registers" },
	{ "verify", verify_main, "is this evidence, or this token, good?" },
	{ "vm", vm_main, "boot an image with a software TPM and tell what became of the launch" },
};

static void usage_print(FILE *to)
{
	fputs("usage: teelaunch COMMAND [OPTION]...\n\n", to);
	for (size_t i = 0; i < TL_ARRAY_SIZE(subcommands); i++)
		fprintf(to, "  %-14s %s\n", subcommands[i].name, subcommands[i].summary);
	fputs("\n`teelaunch COMMAND --help` describes a command.\n", to);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage_print(stderr);
		return 1;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage_print(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("teelaunch " TL_VERSION);
		return 0;
	}
	for (size_t i = 0; i < TL_ARRAY_SIZE(subcommands); i++)
		if (strcmp(argv[1], subcommands[i].name) == 0)
			return subcommands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "teelaunch: '%s' is no command\n", argv[1]);
	usage_print(stderr);
	return 1;
}
