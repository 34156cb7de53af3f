/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "../launcher/image/registry.h"

/* Larger than any limit of policy/, which then says what is wrong with the size. */
#define INPUT_BYTES_MAX (8 * 1024 * 1024)

/* --- options ------------------------------------------------------------------------------ */

static struct judge *judge_of(void *ctx, const struct tl_option *option)
{
	return (struct judge *)((char *)ctx + option->offset);
}

int judge_option_image(void *ctx, const struct tl_option *option, const char *value)
{
	judge_of(ctx, option)->image = value;
	return 0;
}

int judge_option_registry_roots(void *ctx, const struct tl_option *option, const char *value)
{
	struct judge *j = judge_of(ctx, option);
	int r = tl_registry_roots_add(&j->registry_roots, value);

	if (r < 0)
		fprintf(stderr, "%s: --registry-roots takes HOST=PEM-FILE, not '%s' (%s)\n",
			j->command, value, strerrordesc_np(-r));
	return r;
}

int judge_option_platform(void *ctx, const struct tl_option *option, const char *value)
{
	/* Those teelaunchd can be built for; it takes no variant but the plain one. */
	static const char *const platforms[] = { "linux/amd64", "linux/arm64" };
	struct judge *j = judge_of(ctx, option);

	for (size_t i = 0; i < TL_ARRAY_SIZE(platforms); i++) {
		if (strcmp(value, platforms[i]) != 0)
			continue;
		j->architecture = strchr(value, '/') + 1;
		return 0;
	}
	fprintf(stderr, "%s: --platform must be linux/amd64 or linux/arm64\n", j->command);
	return -EINVAL;
}

int judge_option_hardened(void *ctx, const struct tl_option *option, const char *value)
{
	(void)value;
	judge_of(ctx, option)->is_debug = false;
	return 0;
}

int judge_option_debug(void *ctx, const struct tl_option *option, const char *value)
{
	(void)value;
	judge_of(ctx, option)->is_debug = true;
	return 0;
}

/* --- reading ------------------------------------------------------------------------------ */

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
	enum judge_verdict verdict;
} image_faults[] = {
	{ { TL_E_IMAGE_CONFIG, "json-syntax", TL_SOURCE_LABELS, false }, JUDGE_INVALID },
	{ { TL_E_MANIFEST_SYNTAX, "json-syntax", TL_SOURCE_LABELS, false }, JUDGE_INVALID },
	{ { TL_E_MANIFEST_LIMIT, "json-syntax", TL_SOURCE_LABELS, false }, JUDGE_INVALID },
	{ { TL_E_MANIFEST_TYPE, "json-type", TL_SOURCE_LABELS, false }, JUDGE_INVALID },
	{ { TL_E_LAYER_TYPE, "json-type", TL_SOURCE_LABELS, false }, JUDGE_INVALID },
	{ { TL_E_IMAGE_LAYERS, "json-type", TL_SOURCE_LABELS, false }, JUDGE_INVALID },
	{ { TL_E_IMAGE_PLATFORM, "json-type", TL_SOURCE_MACHINE, false }, JUDGE_DENY },
};

/* 0 when @err became a finding, else @r. */
static int image_fault_add(struct judge *j, int r, const struct tl_error *err)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(image_faults); i++) {
		const struct image_fault *fault = &image_faults[i];

		if (fault->row.code != err->code)
			continue;
		if (j->verdict < fault->verdict)
			j->verdict = fault->verdict;
		return tl_findings_add(&j->findings, &fault->row, "", NULL, "%s", err->msg);
	}
	return r;
}

static int image_text_read(struct judge *j, struct tl_buf *ret, struct tl_error *err)
{
	if (!j->image)
		return input_read(j->labels_path ? j->labels_path : j->image_config_path, ret, err);
	tl_buf_init(ret, INPUT_BYTES_MAX);
	return judge_image_read(j, ret, err);
}

/* The labels to judge by; 0 with @ret_has false when there are none, -errno when it failed. */
static int labels_load(struct judge *j, struct tl_kvs *ret, bool *ret_has, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r;

	if (!judge_has_labels(j))
		return 0;
	r = image_text_read(j, &text, err);
	if (!r && j->labels_path)
		r = tl_labels_parse(tl_buf_str(&text), text.len_bytes, ret, err);
	else if (!r)
		r = tl_image_config_parse(tl_buf_str(&text), text.len_bytes, &j->image_config, err);
	if (r)
		return image_fault_add(j, r, err);
	*ret_has = true;
	j->has_image = !j->labels_path;
	return 0;
}

static int policy_load(struct judge *j, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };
	bool has_labels = false;
	int r = labels_load(j, &labels, &has_labels, err);

	if (r || !has_labels)
		return r;
	r = tl_launch_policy_read(j->has_image ? &j->image_config.labels : &labels, &j->policy,
				  &j->findings);
	j->has_policy = r == 0;
	j->is_policy_judged = r >= 0;
	if (r == 1)
		j->verdict = JUDGE_INVALID;
	return r == 1 ? 0 : r;
}

static int spec_load(struct judge *j, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r = input_read(j->attributes_path, &text, err);

	if (r)
		return r;
	r = tl_launch_spec_read(tl_buf_str(&text), text.len_bytes, &j->spec_options, &j->spec,
				&j->findings);
	j->has_spec = r == 0;
	if (r == 1)
		j->verdict = JUDGE_INVALID;
	return r == 1 ? 0 : r;
}

/* Also what could be read of a spec or an image that is refused: all reasons at once. */
static int judge_all(struct judge *j)
{
	const struct tl_verdict_input in = {
		.spec = &j->spec,
		.policies = &j->policy,
		.n_policies = j->is_policy_judged,
		.image = j->has_image ? &j->image_config : NULL,
		.is_hardened = !j->is_debug,
	};
	const struct tl_machine_facts facts = {
		.mem_available_kb = j->is_memory_known ? &j->mem_available_kb : NULL,
		.capabilities = j->are_capabilities_known ? &j->capabilities : NULL,
		.features = TL_FEATURES_OF_RELEASE,
	};
	int verdict, machine;

	verdict = tl_verdict(&in, &j->findings);
	machine = tl_machine_check(&j->spec, &facts, &j->findings);
	if (verdict == -ENOMEM || machine == -ENOMEM)
		return -ENOMEM;
	if ((verdict || machine) && j->verdict == JUDGE_ALLOW)
		j->verdict = JUDGE_DENY;
	return 0;
}

int judge_run(struct judge *j, struct tl_error *err)
{
	int r = spec_load(j, err);

	if (!r)
		r = policy_load(j, err);
	return r ? r : judge_all(j);
}

void judge_done(struct judge *j)
{
	tl_launch_spec_done(&j->spec);
	tl_launch_policy_done(&j->policy);
	tl_image_config_done(&j->image_config);
	tl_strv_done(&j->capabilities);
	tl_strv_done(&j->registry_roots);
	tl_findings_done(&j->findings);
	free(j->image_digest);
	free(j->manifest_digest);
	free(j->image_id);
}

int judge_digests_keep(struct judge *j, const char *image, const char *manifest, const char *config,
		       struct tl_error *err)
{
	j->image_digest = strdup(image);
	j->manifest_digest = strdup(manifest);
	j->image_id = strdup(config);
	if (!j->image_digest || !j->manifest_digest || !j->image_id)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "digests of an image");
	return 0;
}

/* --- telling ------------------------------------------------------------------------------ */

const char *judge_verdict_name(enum judge_verdict verdict)
{
	static const char *const names[] = {
		[JUDGE_ALLOW] = "allow",
		[JUDGE_DENY] = "deny",
		[JUDGE_INVALID] = "invalid",
	};

	return names[verdict];
}

void judge_failure_print(const char *command, int r, const struct tl_error *err)
{
	const struct tl_catalogue_row *row = err->code ? tl_catalogue_find(err->code) : NULL;

	if (!row)
		fprintf(stderr, "%s: %s\n", command, strerrordesc_np(-r));
	else
		fprintf(stderr, "%s: %s: %s\n        -> %s\n", command, row->id, err->msg,
			row->action);
}

int judge_exit_status(const struct judge *j)
{
	static const int statuses[] = {
		[JUDGE_ALLOW] = 0,
		[JUDGE_DENY] = 2,
		[JUDGE_INVALID] = 3,
	};

	return statuses[j->verdict];
}
