/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "../launcher/image/registry.h"

enum { STATUS_FAILED = 1 };

/* Larger than any limit of policy/, which then says what is wrong with the size. */
#define INPUT_BYTES_MAX (8 * 1024 * 1024)

static const int exit_statuses[] = {
	[EXPLAIN_ALLOW] = 0,
	[EXPLAIN_DENY] = 2,
	[EXPLAIN_INVALID] = 3,
};

static int option_is_usable(bool is_usable, const char *what)
{
	if (!is_usable)
		fprintf(stderr, "teelaunch explain: %s\n", what);
	return is_usable ? 0 : -EINVAL;
}

static int set_attributes(struct explain *e, const char *value)
{
	e->attributes_path = value;
	return 0;
}

static int set_labels(struct explain *e, const char *value)
{
	e->labels_path = value;
	return 0;
}

static int set_image_config(struct explain *e, const char *value)
{
	e->image_config_path = value;
	return 0;
}

static int set_image(struct explain *e, const char *value)
{
	e->image = value;
	return 0;
}

static int set_platform(struct explain *e, const char *value)
{
	/* Those teelaunchd can be built for; it takes no variant but the plain one. */
	static const char *const platforms[] = { "linux/amd64", "linux/arm64" };

	e->architecture = NULL;
	for (size_t i = 0; i < TL_ARRAY_SIZE(platforms); i++)
		if (strcmp(value, platforms[i]) == 0)
			e->architecture = strchr(value, '/') + 1;
	return option_is_usable(e->architecture, "--platform must be linux/amd64 or linux/arm64");
}

static int set_registry_roots(struct explain *e, const char *value)
{
	int r = tl_registry_roots_add(&e->registry_roots, value);

	if (r < 0)
		fprintf(stderr,
			"teelaunch explain: --registry-roots takes HOST=PEM-FILE, not '%s' (%s)\n",
			value, strerrordesc_np(-r));
	return r;
}

static int set_hardened(struct explain *e, const char *value)
{
	(void)value;
	e->is_debug = false;
	return 0;
}

static int set_debug(struct explain *e, const char *value)
{
	(void)value;
	e->is_debug = true;
	return 0;
}

static int set_memory(struct explain *e, const char *value)
{
	e->is_memory_known = true;
	return option_is_usable(!tl_str_parse_u64(value, UINT64_MAX, &e->mem_available_kb),
				"--mem-available-kb needs a decimal number");
}

static int set_capabilities(struct explain *e, const char *value)
{
	int r = 0;

	e->are_capabilities_known = true;
	for (const char *end; !r && *value; value = *end ? end + 1 : end) {
		end = strchrnul(value, ',');
		r = tl_strv_add_len(&e->capabilities, value, (size_t)(end - value));
	}
	return r;
}

static int set_json(struct explain *e, const char *value)
{
	(void)value;
	e->is_json = true;
	return 0;
}

static int set_show_values(struct explain *e, const char *value)
{
	(void)value;
	e->are_values_shown = true;
	return 0;
}

static int set_without_ita(struct explain *e, const char *value)
{
	(void)value;
	e->spec_options.is_ita_off = true;
	return 0;
}

static int set_schema(struct explain *e, const char *value)
{
	(void)value;
	e->is_schema = true;
	return 0;
}

struct option_row {
	const char *name;
	const char *argument; /* NULL: takes none */
	int (*set)(struct explain *e, const char *value);
	const char *description; /* may have several lines */
};

static const struct option_row option_rows[] = {
	{ "attributes", "FILE", set_attributes,
	  "what the metadata server returns for instance/attributes/?recursive=true; - is stdin" },
	{ "labels", "FILE", set_labels, "the image's labels: a JSON object of strings" },
	{ "image-config", "FILE", set_image_config, "the image's OCI configuration" },
	{ "image", "REF", set_image,
	  "the image itself, in an OCI layout (oci:DIR[:TAG]) or in a registry (HOST/PATH:TAG or\n"
	  "@DIGEST), which is asked anonymously: no credentials are read or sent" },
	{ "registry-roots", "HOST=PEM", set_registry_roots,
	  "the only roots that may vouch for that registry; may be repeated" },
	{ "platform", "OS/ARCH", set_platform,
	  "the machine's, to choose from an index: linux/amd64 (default) or linux/arm64" },
	{ "hardened", NULL, set_hardened, "judge for a hardened machine (default)" },
	{ "debug", NULL, set_debug, "judge for a debug machine" },
	{ "mem-available-kb", "N", set_memory, "MemAvailable of the machine" },
	{ "capabilities", "LIST", set_capabilities,
	  "capabilities the launcher has, separated by commas" },
	{ "without-ita", NULL, set_without_ita, "Intel Trust Authority is off on the machine" },
	{ "show-values", NULL, set_show_values, "show values of variables and keys" },
	{ "json", NULL, set_json, "one JSON document, schema teelaunch.explain/1" },
	{ "schema", NULL, set_schema, "print the tables of keys and labels, judge nothing" },
	{ "help", NULL, NULL, "this text" },
};

#define OPTIONS TL_ARRAY_SIZE(option_rows)

static void option_print(const struct option_row *row)
{
	const char *text = row->description;

	printf("  --%-16s %-8s ", row->name, row->argument ? row->argument : "");
	for (size_t n; n = strcspn(text, "\n"), text[n]; text += n + 1)
		printf("%.*s\n%*s", (int)n, text, 30, "");
	puts(text);
}

static void usage_print(void)
{
	puts("usage: teelaunch explain --attributes FILE [OPTION]...\n"
	     "                         [--labels FILE | --image-config FILE | --image REF]\n\n"
	     "Would this launch be allowed, and if not, why exactly?\n");
	for (size_t i = 0; i < OPTIONS; i++)
		option_print(&option_rows[i]);
	puts("\nExit status: 0 allowed, 2 denied by policy or machine, 3 attributes, labels or\n"
	     "image can't be accepted, 1 the command itself failed, also when a registry can't be\n"
	     "reached or doesn't show the image.");
}

static int options_check(const struct explain *e)
{
	if (e->is_schema)
		return 0;
	if (!e->attributes_path)
		return option_is_usable(false, "--attributes is needed");
	if (e->registry_roots.n && !e->image)
		return option_is_usable(false, "--registry-roots has a meaning with --image only");
	return option_is_usable(!!e->labels_path + !!e->image_config_path + !!e->image <= 1,
				"--labels, --image-config and --image exclude each other");
}

/* 0, 1 (help was printed) or -errno (the reason was printed). */
static int options_parse(struct explain *e, int argc, char **argv)
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
		r = option_rows[index].set(e, optarg);
	}
	if (r)
		return r;
	if (optind < argc)
		return option_is_usable(false, "it takes no arguments but options");
	return options_check(e);
}

static int input_read(const char *path, struct tl_buf *ret, struct tl_error *err)
{
	tl_buf_init(ret, INPUT_BYTES_MAX);
	return tl_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, ret, err);
}

/*
 * What is wrong with the image itself, and so would end its launch too. Anything else (a network, a
 * registry that shows it to others only, content that isn't what its digest says) means that
 * nothing is known of the image.
 */
static const struct image_fault {
	struct tl_finding_row row;
	enum explain_verdict verdict;
} image_faults[] = {
	{ { TL_E_IMAGE_CONFIG, "json-syntax", TL_SOURCE_LABELS, false }, EXPLAIN_INVALID },
	{ { TL_E_MANIFEST_SYNTAX, "json-syntax", TL_SOURCE_LABELS, false }, EXPLAIN_INVALID },
	{ { TL_E_MANIFEST_LIMIT, "json-syntax", TL_SOURCE_LABELS, false }, EXPLAIN_INVALID },
	{ { TL_E_MANIFEST_TYPE, "json-type", TL_SOURCE_LABELS, false }, EXPLAIN_INVALID },
	{ { TL_E_LAYER_TYPE, "json-type", TL_SOURCE_LABELS, false }, EXPLAIN_INVALID },
	{ { TL_E_IMAGE_LAYERS, "json-type", TL_SOURCE_LABELS, false }, EXPLAIN_INVALID },
	{ { TL_E_IMAGE_PLATFORM, "json-type", TL_SOURCE_MACHINE, false }, EXPLAIN_DENY },
};

/* 0 when @err became a finding, else @r. */
static int image_fault_add(struct explain *e, int r, const struct tl_error *err)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(image_faults); i++) {
		const struct image_fault *fault = &image_faults[i];

		if (fault->row.code != err->code)
			continue;
		if (e->verdict < fault->verdict)
			e->verdict = fault->verdict;
		return tl_findings_add(&e->findings, &fault->row, "", NULL, "%s", err->msg);
	}
	return r;
}

static bool has_labels_given(const struct explain *e)
{
	return e->labels_path || e->image_config_path || e->image;
}

static int image_text_read(struct explain *e, struct tl_buf *ret, struct tl_error *err)
{
	if (!e->image)
		return input_read(e->labels_path ? e->labels_path : e->image_config_path, ret, err);
	tl_buf_init(ret, INPUT_BYTES_MAX);
	return explain_image_read(e, ret, err);
}

/* The labels to judge by; 0 with @ret_has false when there are none, -errno when it failed. */
static int labels_load(struct explain *e, struct tl_kvs *ret, bool *ret_has, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r;

	if (!has_labels_given(e))
		return 0;
	r = image_text_read(e, &text, err);
	if (!r && e->labels_path)
		r = tl_labels_parse(tl_buf_str(&text), text.len_bytes, ret, err);
	else if (!r)
		r = tl_image_config_parse(tl_buf_str(&text), text.len_bytes, &e->image_config, err);
	if (r)
		return image_fault_add(e, r, err);
	*ret_has = true;
	e->has_image = !e->labels_path;
	return 0;
}

static int policy_load(struct explain *e, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };
	bool has_labels = false;
	int r = labels_load(e, &labels, &has_labels, err);

	if (r || !has_labels)
		return r;
	r = tl_launch_policy_read(e->has_image ? &e->image_config.labels : &labels, &e->policy,
				  &e->findings);
	e->has_policy = r == 0;
	e->is_policy_judged = r >= 0;
	if (r == 1)
		e->verdict = EXPLAIN_INVALID;
	return r == 1 ? 0 : r;
}

static int spec_load(struct explain *e, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r = input_read(e->attributes_path, &text, err);

	if (r)
		return r;
	r = tl_launch_spec_read(tl_buf_str(&text), text.len_bytes, &e->spec_options, &e->spec,
				&e->findings);
	e->has_spec = r == 0;
	if (r == 1)
		e->verdict = EXPLAIN_INVALID;
	return r == 1 ? 0 : r;
}

/* Also what could be read of a spec or an image that is refused: all reasons at once. */
static int judge(struct explain *e)
{
	const struct tl_verdict_input in = {
		.spec = &e->spec,
		.policies = &e->policy,
		.n_policies = e->is_policy_judged,
		.image = e->has_image ? &e->image_config : NULL,
		.is_hardened = !e->is_debug,
	};
	const struct tl_machine_facts facts = {
		.mem_available_kb = e->is_memory_known ? &e->mem_available_kb : NULL,
		.capabilities = e->are_capabilities_known ? &e->capabilities : NULL,
		.features = TL_FEATURES_OF_RELEASE,
	};
	int verdict, machine;

	verdict = tl_verdict(&in, &e->findings);
	machine = tl_machine_check(&e->spec, &facts, &e->findings);
	if (verdict == -ENOMEM || machine == -ENOMEM)
		return -ENOMEM;
	if ((verdict || machine) && e->verdict == EXPLAIN_ALLOW)
		e->verdict = EXPLAIN_DENY;
	return 0;
}

const char *explain_verdict_name(enum explain_verdict verdict)
{
	static const char *const names[] = {
		[EXPLAIN_ALLOW] = "allow",
		[EXPLAIN_DENY] = "deny",
		[EXPLAIN_INVALID] = "invalid",
	};

	return names[verdict];
}

const char *explain_unchecked(const struct explain *e, size_t i)
{
	const struct {
		const char *name;
		bool is_unchecked;
	} checks[] = {
		{ "labels", !has_labels_given(e) },
		{ "image-config", !e->image_config_path && !e->image },
		{ "mem-available", !e->is_memory_known },
		{ "capabilities", !e->are_capabilities_known },
	};

	for (size_t k = 0; k < TL_ARRAY_SIZE(checks); k++)
		if (checks[k].is_unchecked && i-- == 0)
			return checks[k].name;
	return NULL;
}

static void explain_done(struct explain *e)
{
	tl_launch_spec_done(&e->spec);
	tl_launch_policy_done(&e->policy);
	tl_image_config_done(&e->image_config);
	tl_strv_done(&e->capabilities);
	tl_strv_done(&e->registry_roots);
	tl_findings_done(&e->findings);
}

static void failure_print(int r, const struct tl_error *err)
{
	const struct tl_catalogue_row *row = err->code ? tl_catalogue_find(err->code) : NULL;

	if (!row)
		fprintf(stderr, "teelaunch explain: %s\n", strerrordesc_np(-r));
	else
		fprintf(stderr, "teelaunch explain: %s: %s\n        -> %s\n", row->id, err->msg,
			row->action);
}

static int explain_run(struct explain *e)
{
	struct tl_error err = { 0 };
	int r = spec_load(e, &err);

	if (!r)
		r = policy_load(e, &err);
	if (!r)
		r = judge(e);
	if (r) {
		failure_print(r, &err);
		return r;
	}
	return e->is_json ? explain_print_json(e) : explain_print_text(e);
}

int explain_main(int argc, char **argv)
{
	struct explain e = { .architecture = "amd64" };
	int r = options_parse(&e, argc, argv), status;

	if (!r)
		r = e.is_schema ? explain_print_schema(e.is_json) : explain_run(&e);
	status = r < 0 ? STATUS_FAILED : exit_statuses[e.verdict];
	explain_done(&e);
	return status;
}
