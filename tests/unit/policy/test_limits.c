/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit is exact: what is at it is taken, one more is refused and told by what it is. */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_config.h>
#include <teelaunch/image_ref.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/verdict.h>

#include "../../../policy/values.h"

#define HEAD "{\"tee-image-reference\":\"h/p:t\","

/* @head, @n times @unit, @tail */
static char *repeated(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t cap = strlen(head) + n * strlen(unit) + strlen(tail) + 1;
	char *ret = malloc(cap), *at = stpcpy(ret, head);

	for (size_t i = 0; i < n; i++)
		at = stpcpy(at, unit);
	stpcpy(at, tail);
	return ret;
}

static int spec_judge(char *consume_text, struct tl_findings *findings)
{
	auto_free char *text = consume_text;
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	return tl_launch_spec_parse(text, strlen(text), NULL, &spec, findings);
}

/* In the attributes: a unit as often as allowed, and once more. */
static void attributes_limits_are_exact(void **state)
{
	static const struct {
		const char *head, *unit, *tail;
		size_t most;
		enum tl_code code;
		const char *words; /* of the message */
	} cases[] = {
		{ HEAD "\"x\":\"", "a", "\"}", 512 * 1024 - (sizeof(HEAD "\"x\":\"\"}") - 1),
		  TL_E_ATTRIBUTES_LIMIT, "524289 bytes; at most 524288" },
		{ HEAD "\"tee-cmd\":\"[\\\"\\\"", ",\\\"\\\"", "]\"}", 4095, TL_E_CMD,
		  "at most 4096" },
		{ HEAD "\"tee-added-capabilities\":\"[\\\"\\\"", ",\\\"\\\"", "]\"}", 4095,
		  TL_E_CAPABILITIES, "at most 4096" },
		{ HEAD "\"tee-signed-image-repos\":\"a", ",a", "\"}", 1023, TL_E_ATTRIBUTES_LIMIT,
		  "tee-signed-image-repos has more than 1024" },
		{ HEAD "\"tee-impersonate-service-accounts\":\"a", ",a", "\"}", 1023,
		  TL_E_ATTRIBUTES_LIMIT, "tee-impersonate-service-accounts has more than 1024" },
		{ HEAD "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/a",
		  ";type=tmpfs,source=tmpfs,destination=/a", "\"}", 1023, TL_E_MOUNT,
		  "more than 1024 mounts" },
		{ HEAD "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/a", ",size=1", "\"}",
		  1021, TL_E_MOUNT, "more than 1024 options" },
		{ HEAD "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/", "a", "\"}", 4094,
		  TL_E_MOUNT, "above 4095 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t more = 0; more <= 1; more++) {
			auto_findings struct tl_findings findings = { 0 };
			int r = spec_judge(repeated(cases[i].head, cases[i].unit,
						    cases[i].most + more, cases[i].tail),
					   &findings);

			if (r != (more ? -EINVAL : 0))
				fail_msg("%s: %zu: got %d", cases[i].head, cases[i].most + more, r);
			if (!more)
				continue;
			assert_int_equal(findings.items[0].code, cases[i].code);
			assert_non_null(strstr(findings.items[0].message, cases[i].words));
		}
}

static char *nested(const char *head, size_t depth, const char *tail)
{
	auto_free char *opened = repeated(head, "[", depth, "");
	auto_free char *closed = repeated("", "]", depth, tail);
	char *ret = NULL;

	assert_true(asprintf(&ret, "%s%s", opened, closed) > 0);
	return ret;
}

/* The document is level 1; so are the lists in tee-cmd, which is a document of its own. */
static void nesting_ends_at_32(void **state)
{
	(void)state;
	for (size_t depth = TL_JSON_NESTING_MAX; depth <= TL_JSON_NESTING_MAX + 1; depth++) {
		bool is_over = depth > 32;
		auto_findings struct tl_findings document = { 0 }, cmd = { 0 };
		auto_free char *text = nested("{\"x\":", depth - 1, "}");
		auto_kvs struct tl_kvs labels = { 0 };
		auto_image_config struct tl_image_config image = { 0 };
		struct tl_error err = { 0 };

		assert_int_equal(spec_judge(nested(HEAD "\"x\":", depth - 1, "}"), &document),
				 -EINVAL);
		assert_int_equal(document.items[0].code,
				 is_over ? TL_E_ATTRIBUTES_SYNTAX : TL_E_ATTRIBUTES_TYPE);
		assert_true(!!strstr(document.items[0].message, "nested deeper than 32") ==
			    is_over);
		assert_int_equal(spec_judge(nested(HEAD "\"tee-cmd\":\"", depth, "\"}"), &cmd),
				 -EINVAL);
		assert_true(!!strstr(cmd.items[0].message, "nested deeper than 32") == is_over);
		assert_int_equal(tl_labels_parse(text, strlen(text), &labels, &err), -EINVAL);
		assert_true(!!strstr(err.msg, "nested deeper than 32") == is_over);
		assert_int_equal(tl_image_config_parse(text, strlen(text), &image, &err),
				 is_over ? -EINVAL : 0);
		assert_true(!is_over || strstr(err.msg, "nested deeper than 32"));
	}
}

static void a_label_has_at_most_4096_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; tl_launch_policy_label(i); i++)
		for (size_t n = 4096; n <= 4097; n++) {
			auto_kvs struct tl_kvs labels = { 0 };
			auto_findings struct tl_findings findings = { 0 };
			auto_launch_policy struct tl_launch_policy policy = { 0 };
			auto_free char *value = repeated("", "a", n, "");

			tl_kvs_add(&labels, tl_launch_policy_label(i)->name, value);
			(void)tl_launch_policy_parse(&labels, &policy, &findings);
			if (n > 4096)
				assert_int_equal(findings.items[0].code, TL_E_LABEL_LIMIT);
			for (size_t k = 0; k < findings.n && n <= 4096; k++)
				assert_int_not_equal(findings.items[k].code, TL_E_LABEL_LIMIT);
			if (n > 4096)
				assert_non_null(strstr(findings.items[0].message,
						       "4097 bytes; at most 4096"));
		}
}

/* One label of 4,096 bytes can allow 2,048 variables; all of them count. */
static void every_name_of_the_longest_label_counts(void **state)
{
	auto_kvs struct tl_kvs labels = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_free char *value = repeated("", "a,", 2047, "Z");
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };

	(void)state;
	tl_kvs_add(&labels, TL_LABEL_PREFIX "allow_env_override", value);
	assert_int_equal(tl_launch_policy_parse(&labels, &policy, &findings), 0);
	assert_int_equal(policy.allow_envs.n, 2048);
	tl_kvs_add(&spec.envs, "Z", "1");
	assert_int_equal(tl_verdict(&in, &findings), 0);
}

/* 1,024 variables: test_launch_spec.c counts them; here one of them more is told by its limit. */
static void the_1025th_variable_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t n = 1024; n <= 1025; n++) {
		auto_findings struct tl_findings findings = { 0 };
		json_auto_t *doc = json_pack("{ss}", "tee-image-reference", "h/p:t");

		for (size_t i = 0; i < n; i++) {
			char key[32];

			snprintf(key, sizeof(key), "tee-env-V%zu", i);
			json_object_set_new(doc, key, json_string(""));
		}
		assert_int_equal(spec_judge(json_dumps(doc, 0), &findings), n > 1024 ? -EINVAL : 0);
		assert_int_equal(findings.n, n > 1024);
		if (n > 1024)
			assert_string_equal(findings.items[0].message,
					    "more than 1024 tee-env-* keys");
	}
}

static void sums_of_sizes_saturate(void **state)
{
	static const uint64_t available_kb = UINT64_MAX - 1;
	static const struct tl_machine_facts facts = { .mem_available_kb = &available_kb };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { .dev_shm_size_kb = INT64_MAX };

	(void)state;
	for (size_t i = 0; i < TL_SPEC_LIST_MAX; i++)
		mount_add(&spec.mounts, "/a", UINT64_MAX);
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), -EPERM);
	assert_string_equal(findings.items[0].category, "post-mount-memory");
}

static void a_spec_alone_may_be_fine_and_the_machine_not(void **state)
{
	static const uint64_t none_kb;
	static const struct tl_machine_facts any = { 0 }, small = { .mem_available_kb = &none_kb };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { .dev_shm_size_kb = 1,
							.image_ref = strdup("h/p:t") };

	(void)state;
	assert_int_equal(tl_spec_check(&spec, &any, &findings), 0);
	assert_int_equal(tl_spec_check(&spec, &small, &findings), -EPERM);
	spec.dev_shm_size_kb = 0;
	tl_kvs_add(&spec.envs, "1", "");
	tl_kvs_add(&spec.envs, "2", "");
	assert_int_equal(tl_spec_check(&spec, &small, &findings), -EPERM);
	assert_int_equal(findings.n, 3);
	assert_int_equal(tl_findings_error(&findings, NULL), -EPERM);
}

static void values_of_no_name_have_none(void **state)
{
	(void)state;
	assert_string_equal(tl_log_redirect_name((enum tl_log_redirect)99), "");
	tl_launch_policy_done(NULL);
}

static void paths_are_cleaned_as_go_cleans_them(void **state)
{
	static const char *const cases[][2] = {
		{ "", "." },
		{ ".", "." },
		{ "..", ".." },
		{ "../..", "../.." },
		{ "../../x", "../../x" },
		{ "a/../..", ".." },
		{ "a/../../b", "../b" },
		{ "/.a", "/.a" },
		{ "/..", "/" },
		{ "/", "/" },
		{ "/a", "/a" },
		{ "/a/", "/a" },
		{ "/a/b", "/a/b" },
		{ "/a//b", "/a/b" },
		{ "/a/.", "/a" },
		{ "/...", "/..." },
		{ "//", "/" },
		{ "/../a", "/a" },
		{ "/a/./b//../c/", "/a/c" },
		{ "./a", "a" },
		{ "..a", "..a" },
		{ "a/..", "." },
		{ "../a/..", ".." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_free char *got = path_clean(cases[i][0]);

		assert_string_equal(got, cases[i][1]);
		assert_int_equal(path_is_clean(cases[i][0]),
				 *cases[i][0] == '/' && strcmp(got, cases[i][0]) == 0);
	}
}

static void a_region_of_intel_trust_authority_is_one_of_two(void **state)
{
	static const struct {
		const char *region;
		bool is_known;
	} rows[] = { { "US", true },   { "eu", true },           { "Eu", true },  { "", false },
		     { "USA", false }, { "us-central1", false }, { " US", false } };
	const struct tl_machine_facts facts = { .features = TL_FEATURE_ITA };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_launch_spec struct tl_launch_spec spec = { .ita_region =
									strdup(rows[i].region) };
		auto_findings struct tl_findings findings = { 0 };

		assert_int_equal(tl_machine_check(&spec, &facts, &findings),
				 rows[i].is_known ? 0 : -EPERM);
		assert_int_equal(findings.n, !rows[i].is_known);
		if (findings.n)
			assert_int_equal(findings.items[0].code, TL_E_ITA_REGION);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_limits_are_exact),
		cmocka_unit_test(nesting_ends_at_32),
		cmocka_unit_test(a_label_has_at_most_4096_bytes),
		cmocka_unit_test(every_name_of_the_longest_label_counts),
		cmocka_unit_test(the_1025th_variable_is_refused_by_name),
		cmocka_unit_test(sums_of_sizes_saturate),
		cmocka_unit_test(a_spec_alone_may_be_fine_and_the_machine_not),
		cmocka_unit_test(a_region_of_intel_trust_authority_is_one_of_two),
		cmocka_unit_test(values_of_no_name_have_none),
		cmocka_unit_test(paths_are_cleaned_as_go_cleans_them),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
