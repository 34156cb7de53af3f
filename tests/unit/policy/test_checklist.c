/* SPDX-License-Identifier: Apache-2.0 */
/* Items of the checklist in docs/THREAT_MODEL.md that policy/ answers; the names hold the ids. */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/env_names.h>
#include <teelaunch/image_config.h>
#include <teelaunch/verdict.h>

#define IMAGE "\"tee-image-reference\":\"h.example/p:t\""

struct judged {
	struct tl_launch_spec spec;
	struct tl_findings findings;
	bool is_allowed;
};

static void judged_done(struct judged *j)
{
	tl_launch_spec_done(&j->spec);
	tl_findings_done(&j->findings);
}
#define auto_judged __attribute__((cleanup(judged_done)))

/* The whole way of a launch on a hardened machine: @keys and @labels stand between the braces. */
static struct judged judge(const char *keys, const char *labels_text)
{
	static char chown[] = "CAP_CHOWN", net_raw[] = "CAP_NET_RAW";
	static char *held[] = { chown, net_raw };
	static const struct tl_strv capabilities = { .items = held, .n = TL_ARRAY_SIZE(held) };
	static const struct tl_machine_facts facts = { .capabilities = &capabilities };
	auto_free char *document = NULL, *label_document = NULL;
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_kvs struct tl_kvs labels = { 0 };
	struct judged j = { .is_allowed = false };
	struct tl_verdict_input in = {
		.spec = &j.spec, .policies = &policy, .n_policies = 1, .is_hardened = true
	};
	int r;

	assert_true(asprintf(&document, "{" IMAGE "%s%s}", *keys ? "," : "", keys) > 0);
	assert_true(asprintf(&label_document, "{%s}", labels_text) > 0);
	r = tl_labels_parse(label_document, strlen(label_document), &labels, NULL);
	if (r == 0) {
		assert_in_range(
			tl_launch_spec_read(document, strlen(document), NULL, &j.spec, &j.findings),
			0, 1);
		assert_in_range(tl_launch_policy_read(&labels, &policy, &j.findings), 0, 1);
		(void)tl_verdict(&in, &j.findings);
		(void)tl_machine_check(&j.spec, &facts, &j.findings);
		j.is_allowed = !tl_findings_forbid(&j.findings);
	}
	return j;
}

#define LABEL(name, value) "\"" TL_LABEL_PREFIX name "\":\"" value "\""

/* @n_want codes of what forbids, in order */
static void denial_assert(const char *keys, const char *labels, const enum tl_code *want,
			  size_t n_want)
{
	auto_judged struct judged j = judge(keys, labels);
	size_t n = 0;

	for (size_t i = 0; i < j.findings.n; i++) {
		if (j.findings.items[i].is_warning)
			continue;
		if (n >= n_want || j.findings.items[i].code != want[n])
			fail_msg("%s: %s", keys, j.findings.items[i].message);
		n++;
	}
	if (n < n_want)
		fail_msg("%s: reason %zu is missing", keys, n + 1);
	assert_int_equal(j.is_allowed, n == 0);
}
#define DENIED(keys, labels, ...)                                                                  \
	denial_assert(keys, labels, (const enum tl_code[]){ __VA_ARGS__ },                         \
		      sizeof((const enum tl_code[]){ __VA_ARGS__ }) / sizeof(enum tl_code))
#define ALLOWED(keys, labels) denial_assert(keys, labels, NULL, 0)

/* Case variants, look-alikes and spaces are told, and set nothing. */
static void test_s03_keys_that_only_look_like_ours_are_reported_and_set_nothing(void **state)
{
	static const char *const keys[] = {
		"TEE-CMD",
		"Tee-Cmd",
		"tee-cmd ",
		" tee-cmd",
		"tee_cmd",
		"tee-cmd\\u0000",
		"t\xd0\xb5"
		"e-cmd", /* CYRILLIC SMALL LETTER IE */
		"tee-cmd\\u200b",
		"tee-\xc2\xad"
		"cmd",
		"tee-Cgroup-ns",
		"tee-unheard-of",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		auto_free char *text = NULL;

		assert_true(asprintf(&text, "\"%s\":\"[\\\"x\\\"]\"", keys[i]) > 0);
		auto_judged struct judged j = judge(text, "");

		assert_true(j.is_allowed);
		assert_int_equal(j.findings.n, 1);
		assert_int_equal(j.findings.items[0].code, TL_E_KEY_UNKNOWN);
		assert_int_equal(j.spec.cmd.n, 0);
		assert_false(j.spec.is_cgroup_ns);
	}
}

/* The allow list is exact, and what is merged is what was judged. */
static void test_s04_variables_cannot_be_smuggled(void **state)
{
	static const char *const odd[] = {
		"A=B", "A\\nB", "", " A", "A ", "A-B", "1A", "a\xcc\x81", "A\\u0000B",
	};
	static const char *const loaders[] = { "LD_PRELOAD", "LD_AUDIT", "PATH", "GODEBUG" };
	auto_strv struct tl_strv image = { 0 }, env = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		auto_free char *key = NULL;

		assert_true(asprintf(&key, "\"tee-env-%s\":\"v\"", odd[i]) > 0);
		DENIED(key, LABEL("allow_env_override", "A,B,a"), TL_E_ENV_NAME, TL_E_DENIED_ENV);
	}
	for (size_t i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++) {
		auto_free char *key = NULL, *label = NULL;

		assert_true(asprintf(&key, "\"tee-env-%s\":\"v\"", loaders[i]) > 0);
		assert_true(asprintf(&label, LABEL("allow_env_override", "%s"), loaders[i]) > 0);
		DENIED(key, LABEL("allow_env_override", "LD_,*,ld_preload,path"), TL_E_DENIED_ENV);
		ALLOWED(key, label);
	}
	DENIED("\"tee-env-HOSTNAME\":\"h\"", LABEL("allow_env_override", "HOSTNAME"),
	       TL_E_ENV_HOSTNAME);
	/* A value with line ends and "=" stays one entry of the measured list. */
	auto_judged struct judged j =
		judge("\"tee-env-A\":\"x\\nLD_PRELOAD=/evil\"", LABEL("allow_env_override", "A"));

	assert_true(j.is_allowed);
	tl_strv_add(&image, "A=1");
	tl_strv_add(&image, "A=2");
	assert_int_equal(tl_env_merge(&image, &j.spec.envs, "host", &env), 0);
	assert_int_equal(env.n, 3);
	assert_string_equal(env.items[0], "A=1");
	assert_string_equal(env.items[1], "A=x\nLD_PRELOAD=/evil");
	assert_string_equal(env.items[2], "HOSTNAME=host");
}

static void test_s06_labels_that_cannot_be_read_deny(void **state)
{
	auto_kvs struct tl_kvs twice = { 0 };
	struct tl_error err = { 0 };
	static const char duplicate[] =
		"{" LABEL("allow_cgroups", "0") "," LABEL("allow_cgroups", "1") "}";

	(void)state;
	assert_int_equal(tl_labels_parse(duplicate, strlen(duplicate), &twice, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_IMAGE_CONFIG);
	/* Spaces belong to names; nothing is guessed. */
	DENIED("\"tee-env-B\":\"1\"", LABEL("allow_env_override", "A, B"), TL_E_DENIED_ENV);
	ALLOWED("\"tee-env-B\":\"1\"", LABEL("allow_env_override", ",,A,B,"));
	DENIED("", LABEL("allow_cmd_override", "tRUE"), TL_E_LABEL_VALUE);
	DENIED("", LABEL("allow_cmd_override", ""), TL_E_LABEL_VALUE);
	ALLOWED("\"tee-container-log-redirect\":\"true\"", LABEL("log_redirect", " aLwAyS "));
	DENIED("", LABEL("log_redirect", "on"), TL_E_LABEL_VALUE);
	DENIED("", LABEL("hardened_monitoring", " all"), TL_E_LABEL_VALUE);
	DENIED("",
	       LABEL("monitoring_memory_allow", "always") "," LABEL("hardened_monitoring", "all"),
	       TL_E_LABEL_MONITORING_BOTH);
}

#define MOUNT(path) "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=" path "\""
#define MNT         LABEL("allow_mount_destinations", "/mnt")
#define ANYWHERE    LABEL("allow_mount_destinations", "/")

static void test_s07_mount_destination_twins(void **state)
{
	(void)state;
	ALLOWED(MOUNT("/mnt"), MNT);
	ALLOWED(MOUNT("/mnt/"), MNT);
	ALLOWED(MOUNT("//mnt/./a"), MNT);
	ALLOWED(MOUNT("/mnt/..a"), MNT);
	DENIED(MOUNT("/mnt2"), MNT, TL_E_DENIED_MOUNT);
	DENIED(MOUNT("/mn"), MNT, TL_E_DENIED_MOUNT);
	DENIED(MOUNT("/mnt/../etc"), MNT, TL_E_DENIED_MOUNT);
	DENIED(MOUNT("/mnt/.."), MNT, TL_E_MOUNT_PROTECTED);
	DENIED(MOUNT("../../mnt2"), MNT, TL_E_DENIED_MOUNT);
	ALLOWED(MOUNT("../../mnt"), MNT);
	DENIED(MOUNT("/"), ANYWHERE, TL_E_MOUNT_PROTECTED);
	DENIED(MOUNT("/proc"), ANYWHERE, TL_E_MOUNT_PROTECTED);
	DENIED(MOUNT("/x/../sys/fs"), ANYWHERE, TL_E_MOUNT_PROTECTED);
	DENIED(MOUNT("//dev//shm"), ANYWHERE, TL_E_MOUNT_PROTECTED);
	DENIED(MOUNT("run/container_launcher/"), ANYWHERE, TL_E_MOUNT_PROTECTED);
	ALLOWED(MOUNT("/run/container_launcher2"), ANYWHERE);
}

static void test_s08_sizes_never_wrap(void **state)
{
	static const char *const bad[] = { "18446744073709551616",
					   "99999999999999999999999",
					   "-1",
					   "+1",
					   "1e9",
					   "0x10",
					   "1_000",
					   " 1",
					   "1 ",
					   "1k",
					   "\xd9\xa1" /* ARABIC-INDIC DIGIT ONE */ };
	/* What int32_t, uint32_t and int64_t would turn into something else. */
	static const char *const large[] = { "2147483648", "4294967296", "9223372036854775807" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_free char *shm = NULL, *mount = NULL;

		assert_true(asprintf(&shm, "\"tee-dev-shm-size-kb\":\"%s\"", bad[i]) > 0);
		DENIED(shm, "", TL_E_DEV_SHM_SIZE);
		assert_true(asprintf(&mount, MOUNT("/mnt,size=%s"), bad[i]) > 0);
		DENIED(mount, MNT, TL_E_MOUNT);
	}
	DENIED("\"tee-dev-shm-size-kb\":\"9223372036854775808\"", "", TL_E_DEV_SHM_SIZE);
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		auto_free char *keys = NULL;
		char got[2][32];

		assert_true(asprintf(&keys, "\"tee-dev-shm-size-kb\":\"%s\"," MOUNT("/mnt,size=%s"),
				     large[i], large[i]) > 0);
		auto_judged struct judged j = judge(keys, MNT);

		assert_true(j.is_allowed);
		snprintf(got[0], sizeof(got[0]), "%llu",
			 (unsigned long long)j.spec.dev_shm_size_kb);
		snprintf(got[1], sizeof(got[1]), "%llu",
			 (unsigned long long)j.spec.mounts.items[0].size_bytes);
		assert_string_equal(got[0], large[i]);
		assert_string_equal(got[1], large[i]);
	}
}

static void test_s09_capabilities_and_cgroups_need_their_labels(void **state)
{
	static const char *const names[] = {
		"CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYS_MODULE",       "ALL", "cap_chown", "CAP_X",
		"CAP_NET",   "CAP_NET_RAW ",  "CAP_CHOWN,CAP_NET_RAW"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		auto_free char *keys = NULL;

		assert_true(asprintf(&keys, "\"tee-added-capabilities\":\"[\\\"%s\\\"]\"",
				     names[i]) > 0);
		DENIED(keys, "", TL_E_DENIED_CAPABILITIES, TL_E_CAPABILITY_MISSING);
		/* A label can't give what the launcher itself hasn't. */
		DENIED(keys, LABEL("allow_capabilities", "true"), TL_E_CAPABILITY_MISSING);
	}
	DENIED("\"tee-added-capabilities\":\"[\\\"CAP_NET_RAW\\\"]\"", "",
	       TL_E_DENIED_CAPABILITIES);
	ALLOWED("\"tee-added-capabilities\":\"[\\\"CAP_NET_RAW\\\"]\"",
		LABEL("allow_capabilities", "true"));
	DENIED("\"tee-cgroup-ns\":\"true\"", "", TL_E_DENIED_CGROUPS);
	DENIED("\"tee-cgroup-ns\":\"true\"", LABEL("allow_capabilities", "true"),
	       TL_E_DENIED_CGROUPS);
	ALLOWED("\"tee-cgroup-ns\":\"true\"", LABEL("allow_cgroups", "true"));
	/* A cgroup file system can't be put in place by a mount either. */
	DENIED(MOUNT("/sys/fs/cgroup"), ANYWHERE, TL_E_MOUNT_PROTECTED);
}

/* This release with metadata or an image made for a later one. */
static void test_s50_a_newer_schema_is_refused_with_the_version(void **state)
{
	static const char *const newer[] = { "2", "65535", "65536", "99999999999999999999" };

	(void)state;
	ALLOWED("\"tee-schema-version\":\"1\"", LABEL("schema_version", "1"));
	for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
		auto_free char *key = NULL, *label = NULL;

		assert_true(asprintf(&key, "\"tee-schema-version\":\"%s\"", newer[i]) > 0);
		assert_true(asprintf(&label, LABEL("schema_version", "%s"), newer[i]) > 0);
		DENIED(key, "", TL_E_SCHEMA_VERSION);
		DENIED("", label, TL_E_SCHEMA_VERSION);
		auto_judged struct judged j = judge(key, label);

		assert_int_equal(j.findings.n, 2);
		for (size_t k = 0; k < 2; k++) {
			assert_non_null(strstr(j.findings.items[k].message, newer[i]));
			assert_non_null(strstr(j.findings.items[k].message,
					       "this release knows version 1"));
		}
	}
	DENIED("\"tee-schema-version\":\"0\"", "", TL_E_SCHEMA_VERSION);
	DENIED("\"tee-schema-version\":\"1.1\"", "", TL_E_SCHEMA_VERSION);
	DENIED("", LABEL("schema_version", ""), TL_E_SCHEMA_VERSION);
	/* New words of known keys and labels are refused, too, and what can't be done by its name.
	 */
	DENIED("\"tee-restart-policy\":\"OnSuccess\"", "", TL_E_RESTART_POLICY);
	DENIED("", LABEL("log_redirect", "auditors"), TL_E_LABEL_VALUE);
	DENIED("\"tee-install-gpu-driver\":\"true\"", "", TL_E_FEATURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_s03_keys_that_only_look_like_ours_are_reported_and_set_nothing),
		cmocka_unit_test(test_s04_variables_cannot_be_smuggled),
		cmocka_unit_test(test_s06_labels_that_cannot_be_read_deny),
		cmocka_unit_test(test_s07_mount_destination_twins),
		cmocka_unit_test(test_s08_sizes_never_wrap),
		cmocka_unit_test(test_s09_capabilities_and_cgroups_need_their_labels),
		cmocka_unit_test(test_s50_a_newer_schema_is_refused_with_the_version),
	};

	return cmocka_run_group_tests_name("checklist", tests, NULL, NULL);
}
