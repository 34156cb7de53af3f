/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/str.h>

enum { STATUS_FAILED = 1, STATUS_MALFORMED = 3 };

static int set_events(struct measure *m, const char *value)
{
	m->events_path = value;
	return 0;
}

static int set_decode(struct measure *m, const char *value)
{
	m->decode_path = value;
	return 0;
}

static int bank_add(struct tl_banks *banks, const char *name, size_t n)
{
	auto_free char *copy = strndup(name, n);
	uint16_t hash = copy ? tl_hash_by_name(copy) : 0;

	if (!hash || banks->n == TL_BANKS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < banks->n; i++)
		if (banks->hashes[i] == hash)
			return -EINVAL;
	banks->hashes[banks->n++] = hash;
	return 0;
}

static int set_banks(struct measure *m, const char *value)
{
	int r = 0;

	m->banks.n = 0;
	for (const char *end; r == 0 && value; value = *end ? end + 1 : NULL) {
		end = strchrnul(value, ',');
		r = bank_add(&m->banks, value, (size_t)(end - value));
	}
	if (r < 0)
		fputs("teelaunch measure: --banks takes sha1, sha256, sha384, sha512, each once, "
		      "separated by commas\n",
		      stderr);
	return r;
}

static int set_json(struct measure *m, const char *value)
{
	(void)value;
	m->is_json = true;
	return 0;
}

static const struct option_row {
	const char *name;
	const char *argument; /* NULL: takes none */
	int (*set)(struct measure *m, const char *value);
	const char *description;
} option_rows[] = {
	{ "events", "FILE", set_events,
	  "encode these events: a JSON list of {\"type\": N, \"content_b64\": \"...\"}; - is "
	  "stdin" },
	{ "decode", "FILE", set_decode, "decode this event log, and replay it; - is stdin" },
	{ "banks", "LIST", set_banks,
	  "the TPM's hash algorithms, for --events [sha1,sha256,sha384]" },
	{ "json", NULL, set_json, "one JSON document, schema teelaunch.measure/1" },
	{ "help", NULL, NULL, "this text" },
};

#define OPTIONS TL_ARRAY_SIZE(option_rows)

static void usage_print(void)
{
	puts("usage: teelaunch measure --events FILE [--banks LIST] [--json]\n"
	     "       teelaunch measure --decode FILE [--json]\n\n"
	     "What an event log makes of PCR 13 and RTMR 3.\n");
	for (size_t i = 0; i < OPTIONS; i++)
		printf("  --%-8s %-5s %s\n", option_rows[i].name,
		       option_rows[i].argument ? option_rows[i].argument : "",
		       option_rows[i].description);
	puts("\nExit status: 0 done, 3 the events or the log can't be read as such, 1 the command\n"
	     "itself failed.");
}

static int fail_usage(const char *what)
{
	fprintf(stderr, "teelaunch measure: %s\n", what);
	return -EINVAL;
}

/* 0, 1 (help was printed) or -errno (the reason was printed). */
static int options_parse(struct measure *m, int argc, char **argv)
{
	struct option options[OPTIONS + 1] = { 0 };
	int index, r = 0;

	for (size_t i = 0; i < OPTIONS; i++)
		options[i] = (struct option){ .name = option_rows[i].name,
					      .has_arg = option_rows[i].argument != NULL };
	while (!r) {
		int c = getopt_long(argc, argv, "", options, &index);

		if (c == -1)
			break;
		if (c != 0)
			return -EINVAL;
		if (!option_rows[index].set) {
			usage_print();
			return 1;
		}
		r = option_rows[index].set(m, optarg);
	}
	if (r)
		return r;
	if (optind < argc)
		return fail_usage("it takes no arguments but options");
	if (!!m->events_path + !!m->decode_path != 1)
		return fail_usage("one of --events and --decode is needed");
	return 0;
}

static const char *path_of(const char *given)
{
	return strcmp(given, "-") == 0 ? "/dev/stdin" : given;
}

/* What is wrong with the input itself, as against a file that can't be read. */
static bool is_malformed(const struct tl_error *err)
{
	static const enum tl_code codes[] = { TL_E_EVENT_INPUT, TL_E_EVENT_LIMIT, TL_E_EVENT_ORDER,
					      TL_E_CEL_MALFORMED, TL_E_CEL_DIGEST };

	for (size_t i = 0; i < TL_ARRAY_SIZE(codes); i++)
		if (err->code == codes[i])
			return true;
	return false;
}

static int measure_print(const struct measure *m, struct tl_error *err)
{
	json_auto_t *document = measure_document(m, err);

	if (!document)
		return -ENOMEM;
	if (!m->is_json)
		return measure_print_text(m, document);
	if (json_dumpf(document, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF ||
	    fflush(stdout) != 0)
		return tl_fail_sys(err, TL_E_IO, errno, "standard output");
	return 0;
}

int measure_main(int argc, char **argv)
{
	struct measure m = { .banks = { .hashes = { TL_SHA1, TL_SHA256, TL_SHA384 }, .n = 3 } };
	struct tl_error err = { 0 };
	int r = options_parse(&m, argc, argv);

	if (r)
		return r == 1 ? 0 : STATUS_FAILED;
	if (m.events_path)
		r = measure_events_read(path_of(m.events_path), &m.events, &err);
	else
		r = measure_log_read(path_of(m.decode_path), &m.events, &m.banks, &err);
	if (r == 0)
		r = measure_print(&m, &err);
	tl_events_done(&m.events);
	if (r == 0)
		return 0;
	fprintf(stderr, "teelaunch measure: %s: %s\n", tl_catalogue_find(err.code)->id, err.msg);
	return is_malformed(&err) ? STATUS_MALFORMED : STATUS_FAILED;
}
