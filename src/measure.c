/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/str.h>

#include "predict.h"

#define COMMAND            "teelaunch measure"
#define HOSTNAME_BYTES_MAX 64 /* HOST_NAME_MAX of Linux */

enum { STATUS_FAILED = 1, STATUS_MALFORMED = 3 };

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

static int set_banks(void *ctx, const struct tl_option *option, const char *value)
{
	struct measure *m = ctx;
	int r = 0;

	(void)option;
	m->banks.n = 0;
	for (const char *end; r == 0 && value; value = *end ? end + 1 : NULL) {
		end = strchrnul(value, ',');
		r = bank_add(&m->banks, value, (size_t)(end - value));
	}
	if (r < 0)
		fputs(COMMAND ": --banks takes sha1, sha256, sha384, sha512, each once, separated "
			      "by commas\n",
		      stderr);
	return r;
}

static int set_disk_tags(void *ctx, const struct tl_option *option, const char *value)
{
	struct measure *m = ctx;

	if (strcmp(value, "memory") != 0 && strcmp(value, "disk") != 0)
		return tl_option_refuse(option, value);
	m->disk_tags = value;
	return 0;
}

static int set_nofile(void *ctx, const struct tl_option *option, const char *value)
{
	struct measure *m = ctx;

	return tl_str_parse_u64(value, INT64_MAX, &m->nofile) < 0 || !m->nofile
		       ? tl_option_refuse(option, value)
		       : 0;
}

#define JUDGE       offsetof(struct measure, judge)
#define FIELD(name) offsetof(struct measure, name)

static const struct tl_option option_rows[] = {
	{ "attributes", "FILE", tl_option_text, FIELD(judge.attributes_path),
	  "predict the launch with these attributes: what the metadata server returns for\n"
	  "instance/attributes/?recursive=true; - is stdin" },
	{ "image", "REF", judge_option_image, JUDGE,
	  "and with this image, in an OCI layout (oci:DIR[:TAG]) or in a registry (HOST/PATH:TAG\n"
	  "or @DIGEST), which is asked anonymously" },
	{ "registry-roots", "HOST=PEM", judge_option_registry_roots, JUDGE,
	  "the only roots that may vouch for that registry; may be repeated" },
	{ "platform", "linux/amd64|linux/arm64", judge_option_platform, JUDGE,
	  "the machine's, to choose from an index [linux/amd64]" },
	{ "hostname", "NAME", tl_option_text, FIELD(hostname),
	  "the VM's host name (gethostname(2)), which is measured in HOSTNAME" },
	{ "unit-options", "WORDS", tl_option_text, FIELD(unit_options),
	  "what the unit says behind `teelaunchd run`: plain words; files are read here\n"
	  "[those of teelaunchd.service, with --debug of the debug image's]" },
	{ "metadata-host", "HOST", tl_option_text, FIELD(metadata_host),
	  "GCE_METADATA_HOST of the unit [169.254.169.254]" },
	{ "disk-tags", "memory|disk", set_disk_tags, 0,
	  "where the protected disk has its integrity tags" },
	{ "nofile", "N", set_nofile, 0,
	  "the launcher's own hard limit on open files, if it is below 131072" },
	{ "hardened", NULL, judge_option_hardened, JUDGE, "on a hardened machine (default)" },
	{ "debug", NULL, judge_option_debug, JUDGE, "on a debug machine" },
	{ "events", "FILE", tl_option_text, FIELD(events_path),
	  "encode these events: a JSON list of {\"type\": N, \"content_b64\": \"...\"}; - is "
	  "stdin" },
	{ "decode", "FILE", tl_option_text, FIELD(decode_path),
	  "decode this event log, and replay it; - is stdin" },
	{ "banks", "LIST", set_banks, 0,
	  "the TPM's hash algorithms, not for --decode [sha1,sha256,sha384]" },
	{ "json", NULL, tl_option_flag, FIELD(is_json),
	  "one JSON document, schema teelaunch.measure/1" },
};

const struct tl_options measure_options = {
	.command = COMMAND,
	.rows = option_rows,
	.n = TL_ARRAY_SIZE(option_rows),
	.usage = "teelaunch measure --attributes FILE --image REF [--hostname NAME] [OPTION]...\n"
		 "       teelaunch measure --events FILE [--banks LIST] [--json]\n"
		 "       teelaunch measure --decode FILE [--json]\n\n"
		 "What a launch would measure and a token would say of it; what an event log makes "
		 "of\n"
		 "PCR 13 and RTMR 3.",
	.exit_status = "Exit status: 0 done, 2 the launch would be denied, 3 attributes, image, "
		       "events or log\n"
		       "can't be read as such, 1 the command itself failed.",
};

static int fail_usage(const char *what)
{
	fprintf(stderr, COMMAND ": %s\n", what);
	return -EINVAL;
}

static int options_check(const struct measure *m)
{
	const struct judge *j = &m->judge;

	if (!!m->events_path + !!m->decode_path + !!j->attributes_path != 1)
		return fail_usage("one of --attributes, --events and --decode is needed");
	if (!j->attributes_path != !j->image)
		return fail_usage("--attributes and --image need each other");
	if (!j->attributes_path &&
	    (m->hostname || j->registry_roots.n || j->is_debug || m->unit_options ||
	     m->metadata_host || m->nofile || m->disk_tags))
		return fail_usage("what tells of a launch is for --attributes");
	if (m->hostname && strlen(m->hostname) > HOSTNAME_BYTES_MAX)
		return fail_usage("--hostname has at most 64 bytes");
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

static int measure_print(struct measure *m, struct tl_error *err)
{
	json_auto_t *document = measure_document(m, err);
	int r;

	if (!document)
		return -ENOMEM;
	r = m->judge.attributes_path ? predict_document(m, document, err) : 0;
	if (r < 0)
		return r;
	if (!m->is_json)
		return measure_print_text(m, document);
	if (json_dumpf(document, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF ||
	    fflush(stdout) != 0)
		return tl_fail_sys(err, TL_E_IO, errno, "standard output");
	return 0;
}

static int predict(struct measure *m, struct tl_error *err)
{
	int r = judge_run(&m->judge, err);

	if (r == 0)
		r = predict_events(m, err);
	return r < 0 ? r : measure_print(m, err);
}

static int measure(struct measure *m, struct tl_error *err)
{
	int r;

	if (m->judge.attributes_path)
		return predict(m, err);
	if (m->events_path)
		r = measure_events_read(path_of(m->events_path), &m->events, err);
	else
		r = measure_log_read(path_of(m->decode_path), &m->events, &m->banks, err);
	return r < 0 ? r : measure_print(m, err);
}

int measure_main(int argc, char **argv)
{
	struct measure m = { .banks = { .hashes = { TL_SHA1, TL_SHA256, TL_SHA384 }, .n = 3 },
			     .judge = { .command = COMMAND, .architecture = JUDGE_ARCHITECTURE },
			     .open_event = SIZE_MAX };
	struct tl_error err = { 0 };
	int r = tl_options_parse(&measure_options, &m, argc, argv), status;

	if (r == 0)
		r = options_check(&m);
	if (r) {
		judge_done(&m.judge);
		return r == 1 ? 0 : STATUS_FAILED;
	}
	r = measure(&m, &err);
	status = judge_exit_status(&m.judge);
	tl_events_done(&m.events);
	judge_done(&m.judge);
	if (r == 0)
		return status;
	judge_failure_print(COMMAND, r, &err);
	return is_malformed(&err) ? STATUS_MALFORMED : STATUS_FAILED;
}
