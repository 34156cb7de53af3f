/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/option_table.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/str.h>

#define LEFT_COLUMNS 2 /* before "--" */

int tl_option_text(void *ctx, const struct tl_option *option, const char *value)
{
	if (!*value)
		return tl_option_refuse(option, value);
	*(const char **)((char *)ctx + option->offset) = value;
	return 0;
}

int tl_option_flag(void *ctx, const struct tl_option *option, const char *value)
{
	(void)value;
	*(bool *)((char *)ctx + option->offset) = true;
	return 0;
}

int tl_option_refuse(const struct tl_option *option, const char *value)
{
	char shown[256];

	tl_str_escape(value, shown, sizeof(shown));
	fprintf(stderr, "teelaunch: %s: --%s takes %s, not '%s': %s\n",
		tl_catalogue_find(TL_E_USAGE)->id, option->name, option->argument, shown,
		option->description);
	return -EINVAL;
}

static size_t widest(const struct tl_options *o, bool is_argument)
{
	size_t width = is_argument ? 0 : strlen("help");

	for (size_t i = 0; i < o->n; i++) {
		const char *text = is_argument ? o->rows[i].argument : o->rows[i].name;

		if (text && strlen(text) > width)
			width = strlen(text);
	}
	return width;
}

static void row_print(const struct tl_option *row, int name_width, int argument_width)
{
	const char *text = row->description;
	int indent = LEFT_COLUMNS + 2 + name_width + 1 + argument_width + 1;

	printf("%*s--%-*s %-*s ", LEFT_COLUMNS, "", name_width, row->name, argument_width,
	       row->argument ? row->argument : "");
	for (size_t n; n = strcspn(text, "\n"), text[n]; text += n + 1)
		printf("%.*s\n%*s", (int)n, text, indent, "");
	puts(text);
}

static void help_print(const struct tl_options *o)
{
	const struct tl_option help = { .name = "help", .description = "this text" };
	int name_width = (int)widest(o, false), argument_width = (int)widest(o, true);

	printf("usage: %s\n\n", o->usage);
	for (size_t i = 0; i < o->n; i++)
		row_print(&o->rows[i], name_width, argument_width);
	row_print(&help, name_width, argument_width);
	printf("\n%s\n", o->exit_status);
}

int tl_options_parse(const struct tl_options *o, void *ctx, int argc, char **argv)
{
	struct option options[TL_OPTIONS_MAX + 2] = { 0 };
	int index, r = 0;

	if (o->n > TL_OPTIONS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < o->n; i++)
		options[i] = (struct option){ .name = o->rows[i].name,
					      .has_arg = o->rows[i].argument != NULL };
	options[o->n].name = "help";
	optind = 1;
	while (!r) {
		int c = getopt_long(argc, argv, "", options, &index);

		if (c == -1)
			break;
		if (c != 0)
			return -EINVAL;
		if ((size_t)index == o->n) {
			help_print(o);
			return 1;
		}
		r = o->rows[index].set(ctx, &o->rows[index], optarg);
	}
	/* What else is refused was told by the row. */
	if (r == -ENOMEM)
		fprintf(stderr, "%s: %s: the command line\n", o->command,
			tl_catalogue_find(TL_E_NO_MEMORY)->id);
	if (r == 0 && optind < argc) {
		fprintf(stderr, "%s: it takes no arguments but options\n", o->command);
		return -EINVAL;
	}
	return r;
}
