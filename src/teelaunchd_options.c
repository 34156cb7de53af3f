/* SPDX-License-Identifier: Apache-2.0 */
#include "teelaunchd_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "launcher/firewall.h"

/* A unit that waits for longer than a day is a mistake. */
#define DAY_MS (24 * 3600 * 1000)
/* Far beyond any quota. */
#define RATE_MAX 10000

int parse_ms(const char *value, void *field)
{
	return tl_str_parse_u64(value, DAY_MS, field);
}

/* At least one: a budget of nothing is a mistake. */
int parse_budget_ms(const char *value, void *field)
{
	uint64_t ms;
	int r = tl_str_parse_u64(value, DAY_MS, &ms);

	if (r < 0 || ms == 0)
		return -EINVAL;
	*(uint64_t *)field = ms;
	return 0;
}

/* None at all would be no socket, which is another thing than a limit. */
int parse_rate(const char *value, void *field)
{
	uint64_t n;
	int r = tl_str_parse_u64(value, RATE_MAX, &n);

	if (r < 0 || n == 0)
		return -EINVAL;
	*(uint64_t *)field = n;
	return 0;
}

int parse_absolute(const char *value, void *field)
{
	if (*value != '/' || !value[1])
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

int parse_ports(const char *value, void *field)
{
	return ((struct tl_strv *)field)->n ? -EEXIST : firewall_list_parse(value, field);
}

int parse_log_level(const char *value, void *field)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "error", LOG_ERR },
		{ "warning", LOG_WARNING },
		{ "info", LOG_INFO },
		{ "debug", LOG_DEBUG },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(levels); i++) {
		if (strcmp(levels[i].name, value) == 0) {
			tl_log_set_level(levels[i].level);
			*(const char **)field = value;
			return 0;
		}
	}
	return -EINVAL;
}

static int option_set(const struct option_row *row, void *arguments, const char *value)
{
	void *field = (char *)arguments + row->offset;
	const char *id = tl_catalogue_find(TL_E_USAGE)->id;
	int r;

	if (!value || !*value) {
		fprintf(stderr, "teelaunchd: %s: %s needs a value: %s\n", id, row->name, row->arg);
		return -EINVAL;
	}
	if (!row->parse) {
		*(const char **)field = value;
		return 0;
	}
	r = row->parse(value, field);
	if (r == 0)
		return 0;
	fprintf(stderr, "teelaunchd: %s: %s takes %s, not '%s' (%s): %s\n", id, row->name, row->arg,
		value, strerrordesc_np(-r), row->help);
	return -EINVAL;
}

int options_parse(const struct verb *verb, void *arguments, int argc, char **argv)
{
	for (int i = 0; i < argc; i += 2) {
		const struct option_row *row = verb->rows;
		const struct option_row *end = row + verb->rows_n;

		while (row < end && strcmp(row->name, argv[i]) != 0)
			row++;
		if (row == end) {
			fprintf(stderr,
				"teelaunchd: %s: unknown option '%s'; see teelaunchd %s --help\n",
				tl_catalogue_find(TL_E_USAGE)->id, argv[i], verb->name);
			return -EINVAL;
		}
		if (option_set(row, arguments, i + 1 < argc ? argv[i + 1] : NULL) < 0)
			return -EINVAL;
	}
	return 0;
}

void options_help(const struct verb *verb, FILE *to)
{
	fprintf(to, "Usage: teelaunchd %s [OPTION VALUE]...\n%s\n\n", verb->name, verb->summary);
	for (size_t i = 0; i < verb->rows_n; i++)
		fprintf(to, "  %s %s\n        %s\n", verb->rows[i].name, verb->rows[i].arg,
			verb->rows[i].help);
	fprintf(to, "\n%s See teelaunchd(8).\n", verb->exit_status);
}

/*
 * What libraries would read from the environment (key logs, trust stores, configuration) is the
 * image's to decide, by options: none of it stays. sd_notify(3) finds the service manager by these
 * names.
 */
static void environment_clear(void)
{
	static const char *const kept[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID" };
	char *values[TL_ARRAY_SIZE(kept)];

	for (size_t i = 0; i < TL_ARRAY_SIZE(kept); i++) {
		const char *value = getenv(kept[i]);

		values[i] = value ? strdup(value) : NULL;
	}
	clearenv();
	for (size_t i = 0; i < TL_ARRAY_SIZE(kept); i++) {
		if (values[i])
			setenv(kept[i], values[i], 1);
		free(values[i]);
	}
	/* tpm2-tss would print to standard error what comes back as an error anyway. */
	setenv("TSS2_LOG", "all+none", 1);
}

void process_harden(void)
{
	const struct rlimit none = { 0 };

	environment_clear();
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	umask(0077);
}
