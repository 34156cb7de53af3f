/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher: parse the command line of a unit, call one function, return its code. */
#include <stdio.h>
#include <string.h>

#include <teelaunch/catalogue.h>

#include "teelaunchd_options.h"

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; name && verbs[i]; i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

static void usage(FILE *to)
{
	for (size_t i = 0; verbs[i]; i++) {
		if (i)
			fputc('\n', to);
		options_help(verbs[i], to);
	}
}

int main(int argc, char **argv)
{
	const struct verb *verb = verb_find(argc > 1 ? argv[1] : NULL);

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout), 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("teelaunchd %s (%s)\n", TL_VERSION, TL_COMMIT) < 0;
	if (!verb) {
		fprintf(stderr, "teelaunchd: %s: a verb is needed%s%s\n\n",
			tl_catalogue_find(TL_E_USAGE)->id, argc < 2 ? "" : ", not ",
			argc < 2 ? "" : argv[1]);
		return usage(stderr), EXIT_USAGE;
	}
	if (argc == 3 && strcmp(argv[2], "--help") == 0)
		return options_help(verb, stdout), 0;
	return verb->run(verb, argc - 2, argv + 2);
}
