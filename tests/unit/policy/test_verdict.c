/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/verdict.h>

#define LABEL(name) TL_LABEL_PREFIX name

static unsigned int index_of(const char *const *names, const char *name)
{
	for (unsigned int i = 0; names[i]; i++)
		if (name && strcmp(names[i], name) == 0)
			return i;
	return 0;
}

static void strings_read(const json_t *list, struct tl_strv *ret)
{
	size_t i;
	json_t *s;

	json_array_foreach(list, i, s) assert_int_equal(tl_strv_add(ret, json_string_value(s)), 0);
}

/* The vectors' short form of a spec, which has destinations that the parser would have cleaned. */
static struct tl_launch_spec spec_read(const json_t *from)
{
	static const char *const redirects[] = { "false", "serial", "cloud_logging", "true", NULL };
	static const char *const levels[] = { "none", "memoryOnly", "all", NULL };
	struct tl_launch_spec spec = { .gca_address = "" };
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(from, "envs"), i, item) assert_int_equal(
		tl_kvs_add(&spec.envs, member(item, "name"), member(item, "value")), 0);
	json_array_foreach(json_object_get(from, "mounts"), i, item)
		mount_add(&spec.mounts, json_string_value(item), 0);
	strings_read(json_object_get(from, "cmd"), &spec.cmd);
	strings_read(json_object_get(from, "added_capabilities"), &spec.added_capabilities);
	spec.log_redirect = index_of(redirects, member(from, "log_redirect"));
	spec.monitoring = index_of(levels, member(from, "monitoring"));
	spec.is_cgroup_ns = json_is_true(json_object_get(from, "cgroup_namespace"));
	return spec;
}

static struct tl_kvs labels_read(const json_t *from)
{
	struct tl_kvs labels = { 0 };
	json_t *object = json_deep_copy(from), *value;
	const char *key;

	json_object_foreach(object, key, value)
		assert_int_equal(tl_kvs_add(&labels, key, json_string_value(value)), 0);
	json_decref(object);
	return labels;
}

static json_t *strings_json(const struct tl_strv *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list, json_string(v->items[i]));
	return list;
}

static void policy_assert(const json_t *item, const struct tl_launch_policy *p)
{
	json_auto_t *got =
		json_pack("{so sb ss so ss ss sb sb}", "env", strings_json(&p->allow_envs), "cmd",
			  p->allow_cmd, "log", tl_log_policy_name(p->log_policy), "mounts",
			  strings_json(&p->allow_mounts), "debug_mon",
			  tl_monitoring_name(p->debug_monitoring), "hardened_mon",
			  tl_monitoring_name(p->hardened_monitoring), "caps", p->allow_capabilities,
			  "cgroups", p->allow_cgroups);

	if (!json_equal(got, json_object_get(item, "policy")))
		fail_msg("%s: got %s", member(item, "id"), json_dumps(got, 0));
}

/* The vectors join what is wrong with each mount: "mount:a+b". */
static void category_join(const struct tl_findings *f, char *ret, size_t cap)
{
	const struct tl_finding *first = first_forbidding(f);

	snprintf(ret, cap, "%s", first->category);
	for (size_t i = 0; i < f->n && tl_str_starts_with(first->category, "mount:"); i++)
		if (&f->items[i] != first && !f->items[i].is_warning &&
		    tl_str_starts_with(f->items[i].category, "mount:"))
			snprintf(ret + strlen(ret), cap - strlen(ret), "+%s",
				 f->items[i].category + strlen("mount:"));
}

static void vector_assert(const json_t *item)
{
	json_auto_t *expect = expectation("policy-verify", item);
	const json_t *from = json_object_get(item, "spec");
	const char *result = member(expect, "result"), *id = member(item, "id");
	auto_kvs struct tl_kvs labels = labels_read(json_object_get(item, "labels"));
	auto_launch_spec struct tl_launch_spec spec = spec_read(from);
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };
	char category[256] = "";
	int r = tl_launch_policy_parse(&labels, &policy, &findings);

	if (strcmp(result, "label-error") == 0) {
		if (r != -EINVAL ||
		    strcmp(first_forbidding(&findings)->category, member(expect, "category")))
			fail_msg("%s: got %d", id, r);
		assert_null(policy.origin);
		return;
	}
	assert_int_equal(r, 0);
	policy_assert(item, &policy);
	in.is_hardened = json_is_true(json_object_get(from, "hardened"));
	r = tl_verdict(&in, &findings);
	findings_assert_complete(&findings);
	if (strcmp(result, "allow") == 0) {
		if (r)
			fail_msg("%s: denied: %s", id, first_forbidding(&findings)->message);
		return;
	}
	if (r != -EPERM)
		fail_msg("%s: got %d", id, r);
	category_join(&findings, category, sizeof(category));
	if (strcmp(category, member(expect, "category")))
		fail_msg("%s: want %s, got %s", id, member(expect, "category"), category);
}

static void every_policy_vector_holds(void **state)
{
	size_t i;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("policy-verify", cases, i, item)
	{
		vector_assert(item);
	}
}

static void every_reason_is_given_at_once(void **state)
{
	static const enum tl_code want[] = {
		TL_E_ENV_NAME,          TL_E_ENV_HOSTNAME,
		TL_E_DENIED_ENV,        TL_E_DENIED_ENV,
		TL_E_DENIED_CMD,        TL_E_DENIED_LOG,
		TL_E_DENIED_MONITORING, TL_E_MOUNT_PROTECTED,
		TL_E_DENIED_MOUNT,      TL_E_DENIED_CAPABILITIES,
		TL_E_DENIED_CGROUPS,    TL_E_IMAGE_ENV,
		TL_E_IMAGE_ENV,         TL_E_IMAGE_PORT,
	};
	json_auto_t *from = json_loads(
		"{\"envs\":[{\"name\":\"a b\",\"value\":\"CANARY\"},{\"name\":\"HOSTNAME\","
		"\"value\":\"CANARY\"}],\"cmd\":[\"CANARY\"],\"log_redirect\":\"true\","
		"\"monitoring\":\"all\",\"mounts\":[\"/proc\",\"/x\"],"
		"\"added_capabilities\":[\"C\"],\"cgroup_namespace\":true}",
		0, NULL);
	auto_launch_spec struct tl_launch_spec spec = spec_read(from);
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_image_config struct tl_image_config image = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_verdict_input in = { .spec = &spec,
				       .policies = &policy,
				       .n_policies = 1,
				       .image = &image,
				       .is_hardened = true };
	struct tl_kvs none = { 0 };

	(void)state;
	assert_int_equal(tl_strv_add(&image.env, "no-dash=CANARY"), 0);
	assert_int_equal(tl_strv_add(&image.env, "CANARY"), 0);
	assert_int_equal(tl_strv_add(&image.env, ""), 0);
	assert_int_equal(tl_strv_add(&image.env, "GOOD=1"), 0);
	assert_int_equal(tl_strv_add(&image.exposed_ports, "80"), 0);
	assert_int_equal(tl_strv_add(&image.exposed_ports, "80/tcp"), 0);
	assert_int_equal(tl_launch_policy_parse(&none, &policy, &findings), 0);
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < findings.n; i++)
		assert_int_equal(findings.items[i].code, want[i]);
	findings_assert_complete(&findings);
	assert_false(findings_hold(&findings, "CANARY"));
	assert_string_equal(findings.items[1].key, "tee-env-HOSTNAME");
}

static void protected_paths_are_refused_whatever_the_policies_say(void **state)
{
	static const struct {
		const char *destination;
		bool is_allowed;
	} cases[] = {
		{ "/", false },
		{ "/proc", false },
		{ "/proc/sys", false },
		{ "/sys", false },
		{ "/sys/fs/cgroup", false },
		{ "/dev", false },
		{ "/dev/shm", false },
		{ "/run/container_launcher", false },
		{ "/run/container_launcher/x", false },
		{ "/x/../proc", false },
		{ "//proc", false },
		{ "/proc/", false },
		{ "/./dev/../sys/.", false },
		{ "/..", false },
		{ "/processes", true },
		{ "/system", true },
		{ "/devices", true },
		{ "/run", true },
		{ "/run/container_launcher2", true },
		{ "/x/proc", true },
	};
	struct tl_launch_policy policy = { .origin = "test" };

	(void)state;
	assert_int_equal(tl_strv_add(&policy.allow_mounts, "/"), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_launch_spec struct tl_launch_spec spec = { 0 };
		struct tl_verdict_input in = { .spec = &spec, .policies = &policy };

		mount_add(&spec.mounts, cases[i].destination, 0);
		for (in.n_policies = 0; in.n_policies <= 1; in.n_policies++) {
			auto_findings struct tl_findings findings = { 0 };

			assert_int_equal(tl_verdict(&in, &findings),
					 cases[i].is_allowed ? 0 : -EPERM);
			assert_int_equal(findings.n, cases[i].is_allowed ? 0 : 1);
		}
	}
	tl_launch_policy_done(&policy);
}

static void all_policies_must_allow(void **state)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_policy policies[] = { { .allow_cmd = true }, { .allow_cmd = false } };
	struct tl_verdict_input in = { .spec = &spec, .policies = policies, .n_policies = 1 };

	(void)state;
	assert_int_equal(tl_strv_add(&spec.cmd, "a"), 0);
	assert_int_equal(tl_verdict(&in, &findings), 0);
	in.n_policies = 2;
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, 1);
}

/* What operators' scripts look for in the reference's log; the value is ours to leave out. */
static void denials_keep_the_words_of_the_reference(void **state)
{
	static const char *const want[] = {
		"tee-env-OUT: env var {OUT [REDACTED]} is not allowed to be overridden on this "
		"image; "
		"allowed envs to be overridden: [A B]",
		"tee-cmd: CMD is not allowed to be overridden on this image",
		"tee-container-log-redirect is 'serial': logging redirection not allowed by image",
		"error verifying monitoring config: 'all' is asked for; this image allows at most "
		"'none' on hardened machines",
		"tee-mount: destination mount points are not allowed: '/x': policy only allows "
		"mounts "
		"in the following paths: [/a /b]",
		"tee-added-capabilities: additional capabilities are not allowed",
		"tee-cgroup-ns: cgroups usage is not allowed",
	};
	json_auto_t *from =
		json_loads("{\"envs\":[{\"name\":\"OUT\",\"value\":\"a\"}],\"cmd\":[\"x\"],"
			   "\"log_redirect\":\"serial\",\"monitoring\":\"all\",\"mounts\":[\"/x\"],"
			   "\"added_capabilities\":[\"C\"],\"cgroup_namespace\":true}",
			   0, NULL);
	auto_launch_spec struct tl_launch_spec spec = spec_read(from);
	auto_launch_policy struct tl_launch_policy policy = { .log_policy = TL_LOG_POLICY_NEVER };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_verdict_input in = {
		.spec = &spec, .policies = &policy, .n_policies = 1, .is_hardened = true
	};

	(void)state;
	tl_strv_add(&policy.allow_envs, "A");
	tl_strv_add(&policy.allow_envs, "B");
	tl_strv_add(&policy.allow_mounts, "/a");
	tl_strv_add(&policy.allow_mounts, "/b");
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < findings.n; i++)
		assert_string_equal(findings.items[i].message, want[i]);
}

static void a_long_list_of_what_is_allowed_is_cut(void **state)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };

	(void)state;
	tl_kvs_add(&spec.envs, "A", "v");
	for (size_t i = 0; i < 1000; i++)
		tl_strv_add(&policy.allow_envs, "LONG_NAME");
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, 1);
	assert_in_range(strlen(findings.items[0].message), 400, TL_FINDING_MSG_BYTES_MAX);
}

static void label_problems_are_all_reported_in_order(void **state)
{
	static const struct {
		const char *category;
		enum tl_code code;
		bool is_warning;
	} want[] = {
		{ "env", TL_E_LABEL_ELEMENT, true },
		{ "label-cmd-bool", TL_E_LABEL_VALUE, false },
		{ "label-log-policy", TL_E_LABEL_VALUE, false },
		{ "label-monitoring-both", TL_E_LABEL_MONITORING_BOTH, false },
		{ "mount:allow-entry-not-absolute", TL_E_LABEL_ELEMENT, true },
		{ "label-caps-bool", TL_E_LABEL_VALUE, false },
		{ "label-cgroups-bool", TL_E_LABEL_LIMIT, false },
		{ "env", TL_E_LABEL_UNKNOWN, true },
		{ "env", TL_E_LABEL_UNKNOWN, true },
	};
	auto_kvs struct tl_kvs labels = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_policy policy = { .origin = "untouched" };
	char *huge = calloc(1, TL_LABEL_BYTES_MAX + 2);

	(void)state;
	memset(huge, 't', TL_LABEL_BYTES_MAX + 1);
	tl_kvs_add(&labels, LABEL("allow_cgroups"), huge);
	free(huge);
	tl_kvs_add(&labels, LABEL("allow_capabilities"), "");
	tl_kvs_add(&labels, LABEL("allow_mount_destinations"), "rel/..:/a");
	tl_kvs_add(&labels, LABEL("debug_monitoring"), "x");
	tl_kvs_add(&labels, LABEL("monitoring_memory_allow"), "x");
	tl_kvs_add(&labels, LABEL("log_redirect"), "sometimes");
	tl_kvs_add(&labels, LABEL("allow_cmd_override"), "yes");
	tl_kvs_add(&labels, LABEL("allow_env_override"), "A, B");
	tl_kvs_add(&labels, LABEL("allow_cmd_overide"), "true");
	tl_kvs_add(&labels, LABEL("something_else"), "true");
	tl_kvs_add(&labels, "org.opencontainers.image.title", "x");
	assert_int_equal(tl_launch_policy_parse(&labels, &policy, &findings), -EINVAL);
	assert_string_equal(policy.origin, "untouched");
	assert_int_equal(findings.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < findings.n; i++) {
		assert_string_equal(findings.items[i].category, want[i].category);
		assert_int_equal(findings.items[i].code, want[i].code);
		assert_int_equal(findings.items[i].is_warning, want[i].is_warning);
	}
	findings_assert_complete(&findings);
	assert_string_equal(findings.items[7].fix,
			    "did you mean tee.launch_policy.allow_cmd_override?");
}

static void a_label_that_only_looks_right_is_told_why(void **state)
{
	auto_kvs struct tl_kvs labels = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };

	(void)state;
	tl_kvs_add(&labels, LABEL("Allow_Cmd_Override"), "true");
	tl_kvs_add(&labels, LABEL("allow_\xd1\x81md_override"), "true");
	assert_int_equal(tl_launch_policy_parse(&labels, &policy, &findings), 0);
	assert_false(policy.allow_cmd);
	assert_int_equal(findings.n, 2);
	for (size_t i = 0; i < findings.n; i++)
		assert_string_equal(findings.items[i].fix,
				    "did you mean " LABEL("allow_cmd_override") "?");
	assert_non_null(strstr(findings.items[0].message, "upper case is another name"));
	assert_non_null(strstr(findings.items[1].message, "character 25 is U+0441"));
}

static void the_legacy_monitoring_label_is_trimmed_and_refused_when_unknown(void **state)
{
	static const struct {
		const char *value;
		int want;
		enum tl_monitoring hardened, debug;
	} cases[] = {
		{ " Always\n", 0, TL_MONITORING_MEMORY_ONLY, TL_MONITORING_MEMORY_ONLY },
		{ "\xe2\x80\x83never\xc2\xa0", 0, TL_MONITORING_NONE, TL_MONITORING_NONE },
		{ "debugonly", 0, TL_MONITORING_NONE, TL_MONITORING_MEMORY_ONLY },
		{ "true", -EINVAL, 0, 0 },
		{ "", -EINVAL, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_kvs struct tl_kvs labels = { 0 };
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_policy struct tl_launch_policy policy = { 0 };

		tl_kvs_add(&labels, LABEL("monitoring_memory_allow"), cases[i].value);
		assert_int_equal(tl_launch_policy_parse(&labels, &policy, &findings),
				 cases[i].want);
		if (cases[i].want) {
			assert_string_equal(findings.items[0].category, "label-memory-policy");
			continue;
		}
		assert_int_equal(policy.hardened_monitoring, cases[i].hardened);
		assert_int_equal(policy.debug_monitoring, cases[i].debug);
	}
}

static void memory_is_checked_as_a_sum_that_never_wraps(void **state)
{
	static const struct {
		uint64_t mount_bytes[2], shm_kb, free_kb;
		const char *categories[2];
	} cases[] = {
		{ { 1024, 1024 }, 1, 3, { NULL } },
		{ { 1024, 1024 }, 1, 2, { "post-mount-memory" } },
		{ { 2047, 1023 }, 0, 1, { NULL } },
		{ { 0, 0 }, 5, 4, { "post-dev-shm-memory" } },
		{ { 8192, 0 }, 5, 4, { "post-mount-memory", "post-dev-shm-memory" } },
		{ { UINT64_MAX, UINT64_MAX }, INT64_MAX, UINT64_MAX, { NULL } },
		{ { UINT64_MAX, UINT64_MAX }, INT64_MAX, INT64_MAX, { "post-mount-memory" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_spec struct tl_launch_spec spec = { .dev_shm_size_kb =
									cases[i].shm_kb };
		struct tl_machine_facts facts = { .mem_available_kb = &cases[i].free_kb };
		size_t want = !!cases[i].categories[0] + !!cases[i].categories[1];

		mount_add(&spec.mounts, "/a", cases[i].mount_bytes[0]);
		mount_add(&spec.mounts, "/b", cases[i].mount_bytes[1]);
		assert_int_equal(tl_machine_check(&spec, &facts, &findings), want ? -EPERM : 0);
		assert_int_equal(findings.n, want);
		for (size_t k = 0; k < want; k++) {
			assert_string_equal(findings.items[k].category, cases[i].categories[k]);
			assert_int_equal(findings.items[k].code, TL_E_MEMORY);
			assert_string_equal(findings.items[k].key,
					    strstr(cases[i].categories[k], "shm")
						    ? "tee-dev-shm-size-kb"
						    : "tee-mount");
			assert_non_null(strstr(findings.items[k].message, findings.items[k].key));
		}
	}
}

#define OLD_MONITORING                                                                             \
	"{\"tee-image-reference\":\"h/p:t\",\"tee-monitoring-memory-enable\":\"true\"}"

static void what_the_launcher_lacks_is_refused_or_warned_of_by_name(void **state)
{
	auto_launch_spec struct tl_launch_spec spec = { .is_gpu_driver_wanted = true,
							.monitoring = TL_MONITORING_ALL,
							.ita_region = strdup("US") };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_machine_facts facts = { 0 };

	(void)state;
	tl_strv_add(&spec.signed_image_repos, "r");
	tl_strv_add(&spec.impersonate_service_accounts, "a");
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), -EPERM);
	assert_int_equal(findings.n, 5);
	for (size_t i = 0; i < findings.n; i++) {
		assert_int_equal(findings.items[i].code, TL_E_FEATURE);
		assert_int_equal(findings.items[i].is_warning, i >= 2);
	}
	assert_string_equal(findings.items[2].key, "tee-monitoring-enable");
	tl_findings_done(&findings);
	tl_launch_spec_done(&spec);
	assert_int_equal(tl_launch_spec_parse(OLD_MONITORING, strlen(OLD_MONITORING), NULL, &spec,
					      &findings),
			 0);
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), 0);
	assert_int_equal(findings.n, 1);
	assert_string_equal(findings.items[0].key, "tee-monitoring-memory-enable");
	tl_findings_done(&findings);
	facts.features = ~0u;
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), 0);
	assert_int_equal(findings.n, 0);
}

static void a_capability_is_an_exact_name_that_the_launcher_has(void **state)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_strv struct tl_strv have = { 0 };
	struct tl_machine_facts facts = { .capabilities = &have };

	(void)state;
	tl_strv_add(&have, "CAP_NET_ADMIN");
	tl_strv_add(&spec.added_capabilities, "CAP_NET_ADMIN");
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), 0);
	tl_strv_add(&spec.added_capabilities, "cap_net_admin");
	tl_strv_add(&spec.added_capabilities, "");
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), -EPERM);
	assert_int_equal(findings.n, 2);
	assert_int_equal(findings.items[0].code, TL_E_CAPABILITY_MISSING);
}

static void an_image_that_does_not_fit_is_refused(void **state)
{
	auto_findings struct tl_findings findings = { 0 };

	(void)state;
	assert_int_equal(tl_disk_space_check(100, 100, &findings), 0);
	assert_int_equal(findings.n, 0);
	assert_int_equal(tl_disk_space_check(101, 100, &findings), -EPERM);
	assert_int_equal(findings.items[0].code, TL_E_DISK_SPACE);
	assert_string_equal(tl_finding_source_name(findings.items[0].source), "machine");
	findings_assert_complete(&findings);
}

static void the_label_table_documents_every_label_once(void **state)
{
	size_t n = 0;

	(void)state;
	for (const struct tl_key_doc *doc; (doc = tl_launch_policy_label(n)); n++) {
		assert_true(tl_str_starts_with(doc->name, TL_LABEL_PREFIX));
		assert_true(strlen(doc->description) > 10);
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(doc->name, tl_launch_policy_label(i)->name);
	}
	assert_int_equal(n, 10);
}

static void a_reference_that_cannot_be_pulled_is_refused_with_what_is_missing(void **state)
{
	static const char text[] = "{\"tee-image-reference\":\"user:SECRET@nginx\"}";
	static const struct tl_machine_facts facts = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(tl_launch_spec_read(text, strlen(text), NULL, &spec, &findings), 0);
	assert_int_equal(findings.n, 0);
	assert_int_equal(tl_spec_check(&spec, &facts, &findings), -EPERM);
	assert_int_equal(findings.n, 1);
	assert_int_equal(findings.items[0].code, TL_E_IMAGE_REF);
	assert_false(findings.items[0].is_warning);
	assert_string_equal(findings.items[0].key, "tee-image-reference");
	assert_non_null(strstr(findings.items[0].message, "no registry host"));
	assert_non_null(strstr(findings.items[0].fix, "HOST/PATH:TAG"));
	assert_false(findings_hold(&findings, "SECRET"));
}

static void what_could_be_read_of_a_refused_document_is_judged_too(void **state)
{
	static const char text[] =
		"{\"tee-restart-policy\":\"x\",\"tee-env-1X\":\"\",\"tee-env-HOSTNAME\":\"h\","
		"\"tee-install-gpu-driver\":\"true\",\"tee-cmd\":\"x\","
		"\"tee-added-capabilities\":\"[\\\"CAP_NO\\\"]\","
		"\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/proc\"}";
	static const enum tl_code want[] = {
		TL_E_IMAGE_REF_MISSING, TL_E_RESTART_POLICY,  TL_E_CMD,     TL_E_ENV_NAME,
		TL_E_ENV_HOSTNAME,      TL_E_MOUNT_PROTECTED, TL_E_FEATURE, TL_E_CAPABILITY_MISSING,
	};
	auto_strv struct tl_strv none = { 0 };
	const struct tl_machine_facts facts = { .capabilities = &none };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(tl_launch_spec_read(text, strlen(text), NULL, &spec, &findings), 1);
	assert_null(spec.image_ref);
	assert_int_equal(spec.cmd.n, 0);
	assert_int_equal(spec.restart_policy, TL_RESTART_NEVER);
	assert_int_equal(tl_spec_check(&spec, &facts, &findings), -EPERM);
	assert_int_equal(findings.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < findings.n; i++)
		assert_int_equal(findings.items[i].code, want[i]);
	findings_assert_complete(&findings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_vector_holds),
		cmocka_unit_test(every_reason_is_given_at_once),
		cmocka_unit_test(protected_paths_are_refused_whatever_the_policies_say),
		cmocka_unit_test(all_policies_must_allow),
		cmocka_unit_test(denials_keep_the_words_of_the_reference),
		cmocka_unit_test(a_long_list_of_what_is_allowed_is_cut),
		cmocka_unit_test(label_problems_are_all_reported_in_order),
		cmocka_unit_test(a_label_that_only_looks_right_is_told_why),
		cmocka_unit_test(the_legacy_monitoring_label_is_trimmed_and_refused_when_unknown),
		cmocka_unit_test(memory_is_checked_as_a_sum_that_never_wraps),
		cmocka_unit_test(what_the_launcher_lacks_is_refused_or_warned_of_by_name),
		cmocka_unit_test(a_capability_is_an_exact_name_that_the_launcher_has),
		cmocka_unit_test(an_image_that_does_not_fit_is_refused),
		cmocka_unit_test(the_label_table_documents_every_label_once),
		cmocka_unit_test(a_reference_that_cannot_be_pulled_is_refused_with_what_is_missing),
		cmocka_unit_test(what_could_be_read_of_a_refused_document_is_judged_too),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
