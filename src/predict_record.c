/* SPDX-License-Identifier: Apache-2.0 */
/* The launch record and PCR 15 of a launch that hasn't happened: what the unit and the VM decide.
 */
#include "predict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/record_log.h>

#include "../launcher/launch_facts.h"
#include "../launcher/launch_names.h"
#include "run_options.h"

/* What systemd/teelaunchd.service says behind `teelaunchd run`. */
/* systemd/teelaunchd.service, and what image/root-debug adds to it. */
#define UNIT_OPTIONS_DEFAULT                                                                       \
	"--root verity --disk protected --confine strict --console /dev/console"
#define UNIT_OPTIONS_DEBUG    UNIT_OPTIONS_DEFAULT " --firewall-also 22/tcp"
#define METADATA_HOST_DEFAULT "169.254.169.254"
#define UNIT_WORDS_MAX        256

static const struct verb verb_predicted = {
	.name = "run",
	.rows = run_rows,
	.rows_n = RUN_OPTIONS,
};

/* The words of a unit's line; quotes and escapes of systemd are not read, so they are refused. */
static int words_split(char *text, char *ret[UNIT_WORDS_MAX], int *ret_n, struct tl_error *err)
{
	char *rest = text;
	int n = 0;

	if (strpbrk(text, "\"'\\$%"))
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--unit-options takes plain words: no quotes, variables or "
			       "specifiers");
	for (char *word; (word = strtok_r(rest, " \t\n", &rest)); rest = rest ? rest : NULL) {
		if (n == UNIT_WORDS_MAX)
			return tl_fail(err, TL_E_USAGE, E2BIG, "--unit-options has too many words");
		ret[n++] = word;
	}
	*ret_n = n;
	return 0;
}

/* 0 with the record's text; @ret_is_open: where the disk's tags are isn't known. */
static int record_build(const struct measure *m, const struct run_arguments *a,
			const struct run_record *unit, bool *ret_is_open, struct tl_buf *ret,
			struct tl_error *err)
{
	bool is_protected = strcmp(a->launch.disk, "protected") == 0;
	const struct launch_place place = {
		.is_hardened = !m->judge.is_debug,
		.disk = { .mode = a->launch.disk,
			  .cipher = is_protected ? DISK_CIPHER : NULL,
			  .integrity = is_protected ? DISK_INTEGRITY : NULL,
			  .tags = is_protected ? m->disk_tags : NULL },
		.root = a->launch.root,
		.nofile_limit = m->nofile,
		.verifier = a->launch.verifier,
		.unit = unit->items,
		.unit_n = unit->n,
	};
	const struct tl_launch_record_facts facts = launch_record_facts_of(&m->judge.spec, &place);

	*ret_is_open = is_protected && !m->disk_tags;
	tl_buf_init(ret, TL_LAUNCH_RECORD_BYTES_MAX);
	return tl_launch_record_build(&facts, ret, err);
}

static json_t *registers_json(const struct measure *m, const struct tl_buf *text)
{
	json_t *o = json_object();

	for (size_t i = 0; i < m->banks.n; i++) {
		uint16_t hash = m->banks.hashes[i];
		uint8_t value[TL_HASH_SIZE_MAX];
		char hex[2 * TL_HASH_SIZE_MAX + 1];

		if (tl_record_replay(text->data, text->len_bytes, hash, value) < 0)
			continue;
		tl_hex_encode(value, tl_hash_size(hash), hex);
		json_object_set_new(o, tl_hash_name(hash), json_string(hex));
	}
	return o;
}

static int record_add(const struct measure *m, const struct run_arguments *a, json_t *document,
		      struct tl_error *err)
{
	auto_run_record struct run_record unit = { 0 };
	auto_buf struct tl_buf text = { 0 };
	json_t *record;
	bool is_open = false;
	int r = run_record_make(a, &unit, err);

	if (r == 0)
		r = record_build(m, a, &unit, &is_open, &text, err);
	if (r < 0)
		return r;
	record = json_loadb(tl_buf_str(&text), text.len_bytes, 0, NULL);
	if (json_object_set_new(document, "launch_record", record) < 0 ||
	    json_object_set_new(document, "pcr15",
				is_open ? json_null() : registers_json(m, &text)) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "document");
	if (is_open)
		json_array_append_new(
			json_object_get(document, "holes"),
			json_string("where the disk's integrity tags are is decided in the VM; "
				    "pass --disk-tags"));
	return 0;
}

int predict_record(const struct measure *m, json_t *document, struct tl_error *err)
{
	const char *line = m->unit_options     ? m->unit_options
			   : m->judge.is_debug ? UNIT_OPTIONS_DEBUG
					       : UNIT_OPTIONS_DEFAULT;
	auto_free char *text = strdup(line);
	struct run_arguments a =
		run_defaults(m->metadata_host ? m->metadata_host : METADATA_HOST_DEFAULT);
	char *words[UNIT_WORDS_MAX];
	int n = 0, r;

	if (!text)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the unit's options");
	r = words_split(text, words, &n, err);
	if (r == 0 && options_parse(&verb_predicted, &a, n, words) < 0)
		r = tl_fail(err, TL_E_USAGE, EINVAL, "--unit-options: no unit could have these");
	if (r == 0 && run_defaults_finish(&a) < 0)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the unit's options");
	if (r == 0)
		r = record_add(m, &a, document, err);
	run_arguments_done(&a);
	return r;
}
