/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/str.h>

static void row_print(const struct tl_catalogue_row *row)
{
	const struct tl_catalogue_words *words = tl_catalogue_words(row->code);

	printf("%s  %s\n", row->id, words->name);
	printf("  stage    %s\n", row->stage);
	printf("  class    %s\n", tl_class_name(row->class));
	printf("  cause    %s\n", words->cause);
	printf("  effect   %s\n", row->effect);
	printf("  action   %s\n", row->action);
}

/* "TL0301", "tl0301", "0301", "301" or "TL_E_ATTRIBUTES_SYNTAX". */
static const struct tl_catalogue_row *row_find(const char *text)
{
	size_t n;
	const struct tl_catalogue_row *rows = tl_catalogue(&n);
	const char *digits = strncasecmp(text, "TL", 2) == 0 ? text + 2 : text;
	uint64_t number = 0;

	(void)tl_str_parse_u64(digits, UINT16_MAX, &number);
	for (size_t i = 0; i < n; i++)
		if ((uint64_t)rows[i].code == number ||
		    strcasecmp(tl_catalogue_words(rows[i].code)->name, text) == 0)
			return &rows[i];
	return NULL;
}

int explain_error_main(int argc, char **argv)
{
	size_t n;
	const struct tl_catalogue_row *rows = tl_catalogue(&n), *row;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("usage: teelaunch explain-error [TLnnnn]...\n\n"
		     "Says what an error code means; without a code, lists all of them.");
		return 0;
	}
	for (size_t i = 0; argc == 1 && i < n; i++)
		printf("%s  %-30s %s\n", rows[i].id, tl_catalogue_words(rows[i].code)->name,
		       tl_catalogue_words(rows[i].code)->cause);
	for (int i = 1; i < argc; i++) {
		row = row_find(argv[i]);
		if (!row) {
			fprintf(stderr, "teelaunch: '%s' is no error code; they look like %s\n",
				argv[i], rows[0].id);
			return 1;
		}
		row_print(row);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
