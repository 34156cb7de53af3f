/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mistake hides no other: what couldn't be read still asks for what its key is for, and a label
 * that couldn't be read leaves the other labels standing.
 */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_config.h>
#include <teelaunch/verdict.h>

#define IMAGE              "\"tee-image-reference\":\"h.example/p:t\""
#define MOUNT(...)         "type=tmpfs,source=tmpfs,destination=" __VA_ARGS__
#define LABEL(name, value) "\"" TL_LABEL_PREFIX name "\":\"" value "\""
#define REASONS_MAX        6

struct row {
	const char *attributes, *labels; /* what stands between the braces */
	enum tl_code want[REASONS_MAX];
};

static const struct row rows[] = {
	/* The value is bad, and the label forbids the key. */
	{ "\"tee-cmd\":\"x\"", "", { TL_E_CMD, TL_E_DENIED_CMD } },
	{ "\"tee-cmd\":[]", "", { TL_E_ATTRIBUTES_TYPE, TL_E_DENIED_CMD } },
	{ "\"tee-cmd\":\"\\u0000\"", "", { TL_E_ATTRIBUTES_NUL, TL_E_DENIED_CMD } },
	{ "\"tee-cmd\":\"x\"", LABEL("allow_cmd_override", "1"), { TL_E_CMD } },
	{ "\"tee-env-A\":1", "", { TL_E_ATTRIBUTES_TYPE, TL_E_DENIED_ENV } },
	{ "\"tee-env-A\":1", LABEL("allow_env_override", "A"), { TL_E_ATTRIBUTES_TYPE } },
	{ "\"tee-env-1\":{}",
	  LABEL("allow_env_override", "A"),
	  { TL_E_ATTRIBUTES_TYPE, TL_E_ENV_NAME, TL_E_DENIED_ENV } },
	{ "\"tee-env-\":\"\\u0000\",\"tee-env-HOSTNAME\":\"h\"",
	  LABEL("allow_env_override", "HOSTNAME"),
	  { TL_E_ATTRIBUTES_NUL, TL_E_ENV_NAME, TL_E_ENV_HOSTNAME, TL_E_DENIED_ENV } },
	{ "\"tee-container-log-redirect\":\"yes\"", "", { TL_E_LOG_REDIRECT, TL_E_DENIED_LOG } },
	{ "\"tee-container-log-redirect\":\"yes\"",
	  LABEL("log_redirect", "never"),
	  { TL_E_LOG_REDIRECT, TL_E_DENIED_LOG } },
	{ "\"tee-container-log-redirect\":\"yes\"",
	  LABEL("log_redirect", "always"),
	  { TL_E_LOG_REDIRECT } },
	{ "\"tee-monitoring-enable\":\"some\"",
	  "",
	  { TL_E_MONITORING_LEVEL, TL_E_DENIED_MONITORING } },
	{ "\"tee-monitoring-memory-enable\":\"some\"",
	  "",
	  { TL_E_KEY_BOOL, TL_E_DENIED_MONITORING } },
	{ "\"tee-monitoring-memory-enable\":\"1\",\"tee-monitoring-enable\":\"all\"",
	  "",
	  { TL_E_MONITORING_BOTH, TL_E_DENIED_MONITORING } },
	{ "\"tee-monitoring-enable\":\"some\"",
	  LABEL("hardened_monitoring", "memoryOnly"),
	  { TL_E_MONITORING_LEVEL } },
	{ "\"tee-added-capabilities\":\"x\"", "", { TL_E_CAPABILITIES, TL_E_DENIED_CAPABILITIES } },
	{ "\"tee-cgroup-ns\":\"\"", "", { TL_E_KEY_BOOL, TL_E_DENIED_CGROUPS } },
	{ "\"tee-cgroup-ns\":\"\"", LABEL("allow_cgroups", "1"), { TL_E_KEY_BOOL } },
	/* Where a bad mount would go is judged; without a destination, that there is one at all. */
	{ "\"tee-mount\":\"type=bind,source=tmpfs,destination=/proc\"",
	  LABEL("allow_mount_destinations", "/a"),
	  { TL_E_MOUNT, TL_E_MOUNT_PROTECTED } },
	{ "\"tee-mount\":\"" MOUNT("/a,size=x;") MOUNT("/b") "\"",
	  LABEL("allow_mount_destinations", "/a"),
	  { TL_E_MOUNT, TL_E_DENIED_MOUNT } },
	{ "\"tee-mount\":\"foo=bar,destination=/b\"",
	  LABEL("allow_mount_destinations", "/a"),
	  { TL_E_MOUNT, TL_E_DENIED_MOUNT } },
	{ "\"tee-mount\":\"type=tmpfs,source=tmpfs\"", "", { TL_E_MOUNT, TL_E_DENIED_MOUNT } },
	{ "\"tee-mount\":\"type=tmpfs,source=tmpfs\"",
	  LABEL("allow_mount_destinations", "/a"),
	  { TL_E_MOUNT } },
	{ "\"tee-mount\":true", "", { TL_E_ATTRIBUTES_TYPE, TL_E_DENIED_MOUNT } },
	/* The key is there, so the pair is complete; it is only unreadable. */
	{ "\"ita-region\":\"US\",\"ita-api-key\":\"\\u0000\"", "", { TL_E_ATTRIBUTES_NUL } },
	{ "\"ita-region\":7,\"ita-api-key\":\"k\"", "", { TL_E_ATTRIBUTES_TYPE } },
	{ "\"ita-region\":\"US\",\"ita-api-key\":7", "", { TL_E_ATTRIBUTES_TYPE } },
	{ "\"ita-region\":\"\\u0000\",\"ita-api-key\":\"k\"", "", { TL_E_ATTRIBUTES_NUL } },
	{ "\"ita-region\":7", "", { TL_E_ATTRIBUTES_TYPE, TL_E_ITA_PAIR } },
	{ "\"ita-api-key\":7", "", { TL_E_ATTRIBUTES_TYPE, TL_E_ITA_PAIR } },
	{ "\"ita-api-key\":\"k\",\"ita-region\":\"\"", "", { TL_E_ITA_PAIR } },
	{ "\"ita-api-key\":\"\",\"ita-region\":\"US\"", "", { TL_E_ITA_PAIR } },
	{ "\"tee-install-gpu-driver\":\"yes\"", "", { TL_E_KEY_BOOL, TL_E_FEATURE } },
	/* It is set, though to something that is no string: "not set" would be wrong. */
	{ "\"tee-image-reference\":7", "", { TL_E_ATTRIBUTES_TYPE } },
	{ "\"tee-image-reference\":\"\\u0000\"", "", { TL_E_ATTRIBUTES_NUL } },
	/* Nobody knows what the author of a bad label meant; the other labels hold. */
	{ "\"tee-cmd\":\"[\\\"a\\\"]\",\"tee-cgroup-ns\":\"1\"",
	  LABEL("allow_cmd_override", "yes"),
	  { TL_E_LABEL_VALUE, TL_E_DENIED_CGROUPS } },
	{ "\"tee-cgroup-ns\":\"1\"", LABEL("allow_cgroups", "yes"), { TL_E_LABEL_VALUE } },
	{ "\"tee-added-capabilities\":\"[\\\"C\\\"]\"",
	  LABEL("allow_capabilities", ""),
	  { TL_E_LABEL_VALUE } },
	{ "\"tee-container-log-redirect\":\"true\"",
	  LABEL("log_redirect", "sometimes"),
	  { TL_E_LABEL_VALUE } },
	{ "\"tee-monitoring-enable\":\"all\"",
	  LABEL("hardened_monitoring", "some"),
	  { TL_E_LABEL_VALUE } },
	{ "\"tee-monitoring-enable\":\"all\"",
	  LABEL("debug_monitoring", "some"),
	  { TL_E_LABEL_VALUE, TL_E_DENIED_MONITORING } },
	{ "\"tee-monitoring-enable\":\"all\"",
	  LABEL("monitoring_memory_allow", "some"),
	  { TL_E_LABEL_VALUE } },
	{ "\"tee-monitoring-enable\":\"all\"",
	  LABEL("monitoring_memory_allow", "never") "," LABEL("debug_monitoring", "none"),
	  { TL_E_LABEL_MONITORING_BOTH } },
	/* Bad on both sides. */
	{ "\"tee-cmd\":\"x\",\"tee-mount\":\"x\"",
	  LABEL("allow_cmd_override", "yes"),
	  { TL_E_CMD, TL_E_MOUNT, TL_E_LABEL_VALUE, TL_E_DENIED_MOUNT } },
};

/* As `teelaunch explain` and the launcher do. */
static void judge(const struct row *row, const char *image, struct tl_findings *findings)
{
	static const struct tl_machine_facts facts = { .features = TL_FEATURES_OF_RELEASE };
	auto_free char *attributes = NULL, *labels_text = NULL;
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_kvs struct tl_kvs labels = { 0 };
	struct tl_verdict_input in = {
		.spec = &spec, .policies = &policy, .n_policies = 1, .is_hardened = true
	};

	assert_true(asprintf(&attributes, "{%s%s}", image, row->attributes) > 0);
	assert_true(asprintf(&labels_text, "{%s}", row->labels) > 0);
	assert_int_equal(tl_labels_parse(labels_text, strlen(labels_text), &labels, NULL), 0);
	assert_in_range(tl_launch_spec_read(attributes, strlen(attributes), NULL, &spec, findings),
			0, 1);
	assert_in_range(tl_launch_policy_read(&labels, &policy, findings), 0, 1);
	assert_int_equal(tl_verdict(&in, findings), -EPERM);
	assert_int_not_equal(tl_machine_check(&spec, &facts, findings), -ENOMEM);
	findings_assert_complete(findings);
}

static void one_mistake_hides_no_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool has_image = strstr(rows[i].attributes, "tee-image-reference") != NULL;
		auto_findings struct tl_findings findings = { 0 };
		size_t n = 0;

		judge(&rows[i], has_image ? "" : IMAGE ",", &findings);
		while (n < REASONS_MAX && rows[i].want[n])
			n++;
		for (size_t k = 0; k < findings.n || k < n; k++) {
			enum tl_code got = k < findings.n ? findings.items[k].code : 0;

			if (k >= n || got != rows[i].want[k])
				fail_msg("%s with %s: reason %zu is %s", rows[i].attributes,
					 rows[i].labels, k + 1,
					 got ? findings.items[k].message : "missing");
		}
	}
}

/* Mending what is told first must not bring up a reason that was there all along. */
static void a_mended_value_brings_up_no_reason_that_was_not_told(void **state)
{
	static const struct {
		const char *bad, *mended;
	} pairs[] = {
		{ "\"tee-cmd\":\"x\"", "\"tee-cmd\":\"[\\\"x\\\"]\"" },
		{ "\"tee-env-A\":1", "\"tee-env-A\":\"1\"" },
		{ "\"tee-cgroup-ns\":\"yes\"", "\"tee-cgroup-ns\":\"true\"" },
		{ "\"tee-added-capabilities\":\"C\"",
		  "\"tee-added-capabilities\":\"[\\\"C\\\"]\"" },
		{ "\"tee-container-log-redirect\":\"1\"",
		  "\"tee-container-log-redirect\":\"true\"" },
		{ "\"tee-mount\":\"" MOUNT("/a,size=1k\""), "\"tee-mount\":\"" MOUNT("/a\"") },
		{ "\"tee-monitoring-enable\":\"1\"", "\"tee-monitoring-enable\":\"all\"" },
		{ "\"tee-install-gpu-driver\":\"yes\"", "\"tee-install-gpu-driver\":\"true\"" },
		{ "\"ita-region\":\"XX\"", "\"ita-region\":\"XX\",\"ita-api-key\":\"k\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		auto_findings struct tl_findings bad = { 0 }, mended = { 0 };
		/* Denied for another reason in any case. */
		const struct row rows_[] = { { pairs[i].bad, "", { 0 } },
					     { pairs[i].mended, "", { 0 } } };

		judge(&rows_[0], "\"tee-image-reference\":\"nginx\",", &bad);
		judge(&rows_[1], "\"tee-image-reference\":\"nginx\",", &mended);
		assert_true(mended.n > 1);
		for (size_t k = 0; k < mended.n; k++) {
			bool was_told = false;

			for (size_t m = 0; m < bad.n; m++)
				was_told |= bad.items[m].code == mended.items[k].code;
			if (!was_told)
				fail_msg("only told after mending: %s", mended.items[k].message);
		}
	}
}

/* A refusal never quotes the value it couldn't read as if it were another. */
static void what_could_not_be_read_is_not_quoted_as_a_default(void **state)
{
	auto_findings struct tl_findings findings = { 0 };

	(void)state;
	judge(&(const struct row){ "\"tee-container-log-redirect\":7,\"tee-monitoring-enable\":7",
				   "",
				   { 0 } },
	      IMAGE ",", &findings);
	assert_int_equal(findings.n, 4);
	assert_string_equal(findings.items[2].message,
			    "tee-container-log-redirect: logging redirection only allowed on debug "
			    "environment by image");
	assert_string_equal(findings.items[3].message,
			    "error verifying monitoring config: this image allows none on hardened "
			    "machines");
}

static void a_debug_machine_allows_what_its_own_label_says(void **state)
{
	static const char text[] = "{" IMAGE ",\"tee-monitoring-enable\":\"x\"}";
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_launch_policy policy = { .debug_monitoring = TL_MONITORING_NONE };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };

	(void)state;
	assert_int_equal(tl_launch_spec_read(text, strlen(text), NULL, &spec, &findings), 1);
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, 2);
	assert_non_null(strstr(findings.items[1].message, "none on debug machines"));
}

static void more_variables_than_allowed_are_all_judged(void **state)
{
	json_auto_t *doc = json_pack("{ss}", "tee-image-reference", "h/p:t");
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_verdict_input in = { .spec = &spec };
	auto_free char *text = NULL;

	(void)state;
	for (size_t i = 0; i < TL_SPEC_ENVS_MAX + 1; i++) {
		char key[32];

		snprintf(key, sizeof(key), "tee-env-V%zu", i);
		json_object_set_new(doc, key, json_string("v"));
	}
	json_object_set_new(doc, "tee-env-z-z", json_string("v"));
	text = json_dumps(doc, 0);
	assert_int_equal(tl_launch_spec_read(text, strlen(text), NULL, &spec, &findings), 1);
	assert_int_equal(findings.n, 1);
	assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_LIMIT);
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, 2);
	assert_string_equal(findings.items[1].key, "tee-env-z-z");
}

/* Nobody can launch by what was read in part, even if no rule complains about the rest. */
static void what_was_read_in_part_is_never_allowed(void **state)
{
	struct tl_launch_spec spec = { .gca_address = "" };
	struct tl_launch_policy policies[] = { { .labels_bad = 0 }, { .labels_bad = 0 } };
	struct tl_verdict_input in = { .spec = &spec, .policies = policies, .n_policies = 2 };
	auto_findings struct tl_findings findings = { 0 };

	(void)state;
	assert_int_equal(tl_verdict(&in, &findings), 0);
	policies[1].labels_bad = 1;
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	policies[1].labels_bad = 0;
	spec.keys_bad = 1;
	assert_int_equal(tl_verdict(&in, &findings), -EPERM);
	assert_int_equal(findings.n, 0);
	assert_true(tl_launch_spec_is_bad(&spec, tl_launch_spec_key(0)->name));
	assert_false(tl_launch_spec_is_bad(&spec, tl_launch_spec_key(1)->name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mistake_hides_no_other),
		cmocka_unit_test(a_mended_value_brings_up_no_reason_that_was_not_told),
		cmocka_unit_test(what_could_not_be_read_is_not_quoted_as_a_default),
		cmocka_unit_test(a_debug_machine_allows_what_its_own_label_says),
		cmocka_unit_test(more_variables_than_allowed_are_all_judged),
		cmocka_unit_test(what_was_read_in_part_is_never_allowed),
	};

	return cmocka_run_group_tests_name("all_reasons", tests, NULL, NULL);
}
