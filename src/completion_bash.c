/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a program's part of its bash completion to standard output, out of the very tables that
 * its command line is parsed by; src/completion.bash is the other part. Runs while building; not
 * installed.
 */
#include <stdio.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>

#include "commands.h"
#include "teelaunchd_options.h"
#include "teeverifierd_options.h"

/* The options of a verb, whichever table they come from. */
struct options {
	size_t n;
	struct {
		const char *name; /* without "--" */
		const char *argument;
	} rows[TL_OPTIONS_MAX];
};

/* What the placeholder of a value stands for. */
static const struct {
	const char *placeholder, *follows;
} kinds[] = {
	{ "CODE.fd", "<file>" }, { "DIR", "<dir>" },       { "DISK.raw", "<file>" },
	{ "FILE", "<file>" },    { "HOST=PEM", "<pair>" }, { "NAME=FILE", "<pair>" },
	{ "PATH", "<file>" },    { "PEM", "<file>" },      { "SOCKET", "<file>" },
	{ "VARS.fd", "<file>" },
};

static void option_add(struct options *o, const char *name, const char *argument)
{
	if (o->n == TL_ARRAY_SIZE(o->rows))
		return;
	o->rows[o->n].name = name;
	o->rows[o->n++].argument = argument;
}

/* NULL: a word that stands for itself, or nothing that can be known here. */
static const char *kind_find(const char *s, size_t n)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].placeholder) == n && strncmp(kinds[i].placeholder, s, n) == 0)
			return kinds[i].follows;
	return NULL;
}

/* "protected|unprotected" is two words, "FILE|URL" files, "N" nothing. Words begin with a small
 * letter; what has "=" or "[" in it is a pattern.
 */
static void value_print(const char *argument)
{
	const char *kind = NULL;
	size_t n;

	for (const char *s = argument; *s && !kind; s += n + (s[n] == '|')) {
		n = strcspn(s, "|");
		kind = kind_find(s, n);
	}
	if (kind)
		fputs(kind, stdout);
	for (const char *s = argument; *s && !kind; s += n + (s[n] == '|')) {
		n = strcspn(s, "|");
		if (*s >= 'a' && *s <= 'z' && strcspn(s, "=[") >= n)
			printf(" %.*s", (int)n, s);
	}
}

/* The keys are "VERB" and "VERB --OPTION"; the program itself is the verb "". */
static void verb_print(const char *verb, const struct options *o)
{
	printf("\t'%s') echo '", verb);
	for (size_t i = 0; i < o->n; i++)
		printf("--%s ", o->rows[i].name);
	puts("--help' ;;");
	for (size_t i = 0; i < o->n; i++) {
		if (!o->rows[i].argument)
			continue;
		printf("\t'%s --%s') echo '", verb, o->rows[i].name);
		value_print(o->rows[i].argument);
		puts("' ;;");
	}
}

static void codes_print(const char *verb)
{
	size_t n;
	const struct tl_catalogue_row *rows = tl_catalogue(&n);

	printf("\t'%s') echo '", verb);
	for (size_t i = 0; i < n; i++)
		printf("%s ", rows[i].id);
	puts("--help' ;;");
}

static void teelaunch_print(void)
{
	fputs("\t'') echo '", stdout);
	for (const struct command *c = commands; c->name; c++)
		printf("%s ", c->name);
	puts("--help --version' ;;");
	for (const struct command *c = commands; c->name; c++) {
		struct options o = { 0 };

		for (size_t i = 0; c->options && i < c->options->n; i++)
			option_add(&o, c->options->rows[i].name, c->options->rows[i].argument);
		if (c->options)
			verb_print(c->name, &o);
		else
			codes_print(c->name);
	}
}

static void teelaunchd_print(void)
{
	fputs("\t'') echo '", stdout);
	for (size_t i = 0; verbs[i]; i++)
		printf("%s ", verbs[i]->name);
	puts("--help --version' ;;");
	for (size_t i = 0; verbs[i]; i++) {
		struct options o = { 0 };

		for (size_t k = 0; k < verbs[i]->rows_n; k++)
			option_add(&o, verbs[i]->rows[k].name + strlen("--"),
				   verbs[i]->rows[k].arg);
		verb_print(verbs[i]->name, &o);
	}
}

static void teeverifierd_print(void)
{
	struct options o = { 0 };

	for (size_t i = 0; i < setting_rows_n; i++)
		if (strcmp(setting_rows[i].name, "help") != 0)
			option_add(&o, setting_rows[i].name, setting_rows[i].value);
	verb_print("", &o);
}

static const struct {
	const char *name; /* also the argument */
	void (*print)(void);
} programs[] = {
	{ "teelaunch", teelaunch_print },
	{ "teelaunchd", teelaunchd_print },
	{ "teeverifierd", teeverifierd_print },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < TL_ARRAY_SIZE(programs); i++) {
		if (strcmp(argv[1], programs[i].name) != 0)
			continue;
		printf("# bash completion for %s; generated from its tables of options\n\n"
		       "_%s_follows()\n{\n\tcase $1 in\n",
		       argv[1], argv[1]);
		programs[i].print();
		printf("\t*) return 1 ;;\n\tesac\n}\ncomplete -F _teelaunch_complete %s\n\n",
		       argv[1]);
		return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
	}
	fputs("usage: completion_bash teelaunch|teelaunchd|teeverifierd\n", stderr);
	return 1;
}
