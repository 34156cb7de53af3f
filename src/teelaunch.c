/* SPDX-License-Identifier: Apache-2.0 */
/* teelaunch: the operators' and authors' tool. */
#include <stdio.h>
#include <string.h>

#include "commands.h"

static void usage_print(FILE *to)
{
	fputs("usage: teelaunch COMMAND [OPTION]...\n\n", to);
	for (size_t i = 0; commands[i].name; i++)
		fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].summary);
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
	for (size_t i = 0; commands[i].name; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "teelaunch: '%s' is no command\n", argv[1]);
	usage_print(stderr);
	return 1;
}
