/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pure parts of a launch, each on one fixed input, for tests/bench/gate.py to count their
 * instructions.
 *
 *   counted PART TIMES
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/event_log.h>
#include <teelaunch/verdict.h>

#include "attest/token_schedule.h"

#define VARIABLES 40
#define EVENTS    60
#define REFRESHES 2000

static char *attributes, *labels_text, *config_text;

static void need(bool is_good, const char *what)
{
	if (is_good)
		return;
	fprintf(stderr, "counted: %s\n", what);
	abort();
}

/* --- inputs -------------------------------------------------------------------------------- */

static char *text_of(json_t *consume_document)
{
	char *ret = json_dumps(consume_document, JSON_COMPACT);

	json_decref(consume_document);
	need(ret, "no memory");
	return ret;
}

static void inputs_make(void)
{
	json_t *document = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "tee-image-reference",
		"us-docker.pkg.dev/project/repository/workload:1.2.3", "tee-restart-policy",
		"OnFailure", "tee-cmd", "[\"--model\",\"/data/model\",\"--threads\",\"8\"]",
		"tee-container-log-redirect", "true", "tee-mount",
		"type=tmpfs,source=tmpfs,destination=/scratch,size=1048576;"
		"type=tmpfs,source=tmpfs,destination=/data/tmp",
		"tee-dev-shm-size-kb", "65536", "tee-added-capabilities", "[\"CAP_NET_RAW\"]",
		"ssh-keys", "nobody:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG nobody@example.com");
	json_t *config =
		json_pack("{s:s, s:s, s:{s:[s,s], s:[s], s:s, s:s}}", "architecture", "amd64", "os",
			  "linux", "config", "Entrypoint", "/usr/bin/work", "serve", "Cmd",
			  "--help", "WorkingDir", "/srv", "User", "1000:1000");
	json_t *inner = json_object_get(config, "config"), *env = json_array();
	json_t *labels =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "tee.launch_policy.allow_cmd_override",
			  "true", "tee.launch_policy.allow_env_override", "NAME_0,NAME_1,NAME_2",
			  "tee.launch_policy.log_redirect", "always",
			  "tee.launch_policy.allow_mount_destinations", "/scratch:/data",
			  "tee.launch_policy.allow_capabilities", "true",
			  "org.opencontainers.image.title", "a workload");
	char name[32], names[VARIABLES * 16] = "";

	for (int i = 0; i < VARIABLES; i++) {
		snprintf(name, sizeof(name), "tee-env-NAME_%d", i);
		json_object_set_new(document, name, json_sprintf("value number %d", i));
		json_array_append_new(env, json_sprintf("IMAGE_%d=value %d", i, i));
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%sNAME_%d",
			 i ? "," : "", i);
	}
	json_object_set_new(labels, "tee.launch_policy.allow_env_override", json_string(names));
	json_object_set(inner, "Labels", labels);
	json_object_set_new(inner, "Env", env);
	attributes = text_of(document);
	labels_text = text_of(labels);
	config_text = text_of(config);
}

/* --- parts: what is counted is what runs within run_part() --------------------------------- */

static void spec_read(struct tl_launch_spec *ret)
{
	auto_findings struct tl_findings findings = { 0 };

	need(tl_launch_spec_read(attributes, strlen(attributes), NULL, ret, &findings) == 0,
	     "the attributes are refused");
}

static void policy_read(struct tl_launch_policy *ret)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_kvs struct tl_kvs labels = { 0 };

	need(tl_labels_parse(labels_text, strlen(labels_text), &labels, NULL) == 0 &&
		     tl_launch_policy_read(&labels, ret, &findings) == 0,
	     "the labels are refused");
}

static void part_spec(void)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	spec_read(&spec);
}

static void part_policy(void)
{
	auto_launch_policy struct tl_launch_policy policy = { 0 };

	policy_read(&policy);
}

static void part_verdict(void)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	const struct tl_verdict_input in = {
		.spec = &spec, .policies = &policy, .n_policies = 1, .is_hardened = true
	};

	spec_read(&spec);
	policy_read(&policy);
	need(tl_verdict(&in, &findings) == 0, "the launch is denied");
}

static void part_config(void)
{
	auto_image_config struct tl_image_config config = { 0 };

	need(tl_image_config_parse(config_text, strlen(config_text), &config, NULL) == 0,
	     "the configuration is refused");
}

static void part_events(void)
{
	const struct tl_banks banks = { .hashes = { TL_SHA1, TL_SHA256 }, .n = 2 };
	auto_events struct tl_event_list list = { 0 };
	auto_buf struct tl_buf log = { 0 };
	auto_cel struct tl_cel cel = { 0 };
	char text[64];
	int r = 0;

	for (int i = 0; r == 0 && i < EVENTS; i++) {
		const int n = snprintf(text, sizeof(text), "NAME_%d=value number %d", i, i);

		r = tl_events_add(&list, TL_EVENT_ENV, text, (size_t)n, NULL);
	}
	tl_buf_init(&log, TL_CEL_MAX_BYTES);
	need(r == 0 && tl_cel_encode(&list, TL_CEL_TPM, &banks, &log, NULL) == 0 &&
		     tl_cel_decode(log.data, log.len_bytes, &cel, NULL, NULL) == 0 &&
		     cel.n == EVENTS,
	     "the log doesn't come back");
}

static void part_schedule(void)
{
	struct token_plan plan = { 0 };
	uint64_t now_ms = 0, bits = 4711;

	for (int i = 0; i < REFRESHES; i++) {
		bits = bits * UINT64_C(6364136223846793005) + 1442695040888963407;
		if (i % 4)
			token_plan_success(&plan, now_ms, 3600000, token_unit_random(bits));
		else
			token_plan_failure(&plan, now_ms, i % 8 ? 5000 : 0,
					   token_unit_random(bits));
		need(plan.next_at_ms >= now_ms, "time runs backwards");
		now_ms = plan.next_at_ms;
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "spec", part_spec },     { "policy", part_policy }, { "verdict", part_verdict },
	{ "config", part_config }, { "events", part_events }, { "schedule", part_schedule },
};

/* By this name the tool finds it. */
__attribute__((noinline)) static void run_part(void (*run)(void), int times)
{
	for (int i = 0; i < times; i++)
		run();
}

int main(int argc, char **argv)
{
	if (argc == 1) {
		for (size_t i = 0; i < TL_ARRAY_SIZE(parts); i++)
			puts(parts[i].name);
		return 0;
	}
	need(argc == 3, "usage: counted [PART TIMES]");
	json_object_seed(
		1); /* else the order in hash tables, and so the count, is another each time */
	inputs_make();
	for (size_t i = 0; i < TL_ARRAY_SIZE(parts); i++)
		if (strcmp(parts[i].name, argv[1]) == 0) {
			run_part(parts[i].run, argv[2][0] - '0');
			return 0;
		}
	need(false, "no such part");
}
