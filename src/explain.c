/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>

#define COMMAND "teelaunch explain"

enum { STATUS_FAILED = 1 };

static int usage_fail(const char *what)
{
	fprintf(stderr, COMMAND ": %s\n", what);
	return -EINVAL;
}

static int set_memory(void *ctx, const struct tl_option *option, const char *value)
{
	struct explain *e = ctx;

	(void)option;
	e->judge.is_memory_known = true;
	return tl_str_parse_u64(value, UINT64_MAX, &e->judge.mem_available_kb) == 0
		       ? 0
		       : usage_fail("--mem-available-kb needs a decimal number");
}

static int set_capabilities(void *ctx, const struct tl_option *option, const char *value)
{
	struct explain *e = ctx;
	int r = 0;

	(void)option;
	e->judge.are_capabilities_known = true;
	for (const char *end; !r && *value; value = *end ? end + 1 : end) {
		end = strchrnul(value, ',');
		r = tl_strv_add_len(&e->judge.capabilities, value, (size_t)(end - value));
	}
	return r;
}

#define JUDGE       offsetof(struct explain, judge)
#define FIELD(name) offsetof(struct explain, name)

static const struct tl_option option_rows[] = {
	{ "attributes", "FILE", tl_option_text, FIELD(judge.attributes_path),
	  "what the metadata server returns for instance/attributes/?recursive=true; - is stdin" },
	{ "labels", "FILE", tl_option_text, FIELD(judge.labels_path),
	  "the image's labels: a JSON object of strings" },
	{ "image-config", "FILE", tl_option_text, FIELD(judge.image_config_path),
	  "the image's OCI configuration" },
	{ "image", "REF", judge_option_image, JUDGE,
	  "the image itself, in an OCI layout (oci:DIR[:TAG]) or in a registry (HOST/PATH:TAG or\n"
	  "@DIGEST), which is asked anonymously: no credentials are read or sent" },
	{ "registry-roots", "HOST=PEM", judge_option_registry_roots, JUDGE,
	  "the only roots that may vouch for that registry; may be repeated" },
	{ "platform", "linux/amd64|linux/arm64", judge_option_platform, JUDGE,
	  "the machine's, to choose from an index [linux/amd64]" },
	{ "hardened", NULL, judge_option_hardened, JUDGE,
	  "judge for a hardened machine (default)" },
	{ "debug", NULL, judge_option_debug, JUDGE, "judge for a debug machine" },
	{ "mem-available-kb", "N", set_memory, 0, "MemAvailable of the machine" },
	{ "capabilities", "LIST", set_capabilities, 0,
	  "capabilities the launcher has, separated by commas" },
	{ "without-ita", NULL, tl_option_flag, FIELD(judge.spec_options.is_ita_off),
	  "Intel Trust Authority is off on the machine" },
	{ "show-values", NULL, tl_option_flag, FIELD(are_values_shown),
	  "show values of variables and keys" },
	{ "json", NULL, tl_option_flag, FIELD(is_json),
	  "one JSON document, schema teelaunch.explain/1" },
	{ "schema", NULL, tl_option_flag, FIELD(is_schema),
	  "print the tables of keys and labels, judge nothing" },
};

const struct tl_options explain_options = {
	.command = COMMAND,
	.rows = option_rows,
	.n = TL_ARRAY_SIZE(option_rows),
	.usage = "teelaunch explain --attributes FILE [OPTION]...\n"
		 "                         [--labels FILE | --image-config FILE | --image REF]\n\n"
		 "Would this launch be allowed, and if not, why exactly?",
	.exit_status = "Exit status: 0 allowed, 2 denied by policy or machine, 3 attributes, "
		       "labels or\n"
		       "image can't be accepted, 1 the command itself failed, also when a registry "
		       "can't be\n"
		       "reached or doesn't show the image.",
};

static int options_check(const struct explain *e)
{
	const struct judge *j = &e->judge;

	if (e->is_schema)
		return 0;
	if (!j->attributes_path)
		return usage_fail("--attributes is needed");
	if (j->registry_roots.n && !j->image)
		return usage_fail("--registry-roots has a meaning with --image only");
	if (!!j->labels_path + !!j->image_config_path + !!j->image > 1)
		return usage_fail("--labels, --image-config and --image exclude each other");
	return 0;
}

const char *explain_unchecked(const struct explain *e, size_t i)
{
	const struct judge *j = &e->judge;
	const struct {
		const char *name;
		bool is_unchecked;
	} checks[] = {
		{ "labels", !judge_has_labels(j) },
		{ "image-config", !j->image_config_path && !j->image },
		{ "mem-available", !j->is_memory_known },
		{ "capabilities", !j->are_capabilities_known },
	};

	for (size_t k = 0; k < TL_ARRAY_SIZE(checks); k++)
		if (checks[k].is_unchecked && i-- == 0)
			return checks[k].name;
	return NULL;
}

static int explain_run(struct explain *e)
{
	struct tl_error err = { 0 };
	int r = judge_run(&e->judge, &err);

	if (r) {
		judge_failure_print(COMMAND, r, &err);
		return r;
	}
	return e->is_json ? explain_print_json(e) : explain_print_text(e);
}

int explain_main(int argc, char **argv)
{
	struct explain e = { .judge = { .command = COMMAND, .architecture = JUDGE_ARCHITECTURE } };
	int r = tl_options_parse(&explain_options, &e, argc, argv), status;

	if (!r)
		r = options_check(&e);
	if (!r)
		r = e.is_schema ? explain_print_schema(e.is_json) : explain_run(&e);
	status = r < 0 ? STATUS_FAILED : judge_exit_status(&e.judge);
	judge_done(&e.judge);
	return status;
}
