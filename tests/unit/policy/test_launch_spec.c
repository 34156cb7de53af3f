/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/verdict.h>

#define IMAGE "\"tee-image-reference\":\"h.example/p:t\""

static int parse(const char *text, struct tl_launch_spec *spec, struct tl_findings *findings)
{
	return tl_launch_spec_parse(text, strlen(text), NULL, spec, findings);
}

static json_t *strings(const struct tl_strv *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list, json_string(v->items[i]));
	return list;
}

static json_t *number(uint64_t value)
{
	return json_sprintf("%" PRIu64, value);
}

static json_t *envs(const struct tl_kvs *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list, json_pack("{ssss}", "name", v->items[i].key, "value",
						      v->items[i].value));
	return list;
}

static json_t *mounts(const struct tl_mounts *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list,
				      json_pack("{ssso}", "destination", v->items[i].destination,
						"size", number(v->items[i].size_bytes)));
	return list;
}

/* The form of the vectors' expect.spec. */
static json_t *spec_json(const struct tl_launch_spec *s)
{
	return json_pack("{sb sb ss ss so so ss so so ss ss so so ss ss so sb sb}", "fake_verifier",
			 false, "install_gpu_driver", s->is_gpu_driver_wanted, "image_ref",
			 s->image_ref, "restart_policy", tl_restart_policy_name(s->restart_policy),
			 "impersonate_service_accounts", strings(&s->impersonate_service_accounts),
			 "signed_image_repos", strings(&s->signed_image_repos), "monitoring",
			 tl_monitoring_name(s->monitoring), "cmd", strings(&s->cmd), "envs",
			 envs(&s->envs), "log_redirect", tl_log_redirect_name(s->log_redirect),
			 "gca_address", s->gca_address, "dev_shm_size_kb",
			 number(s->dev_shm_size_kb), "mounts", mounts(&s->mounts), "ita_region",
			 s->ita_region ? s->ita_region : "", "ita_key",
			 s->ita_api_key.bytes ? s->ita_api_key.bytes : "", "added_capabilities",
			 strings(&s->added_capabilities), "cgroup_namespace", s->is_cgroup_ns,
			 "disable_gca_refresh", s->is_gca_refresh_disabled);
}

static void post_assert(const char *id, const json_t *env, const json_t *want,
			const struct tl_launch_spec *spec)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_strv struct tl_strv caps = { 0 };
	uint64_t mem_kb = (uint64_t)json_integer_value(json_object_get(env, "mem_free_kb"));
	struct tl_machine_facts facts = { .mem_available_kb = &mem_kb, .capabilities = &caps };
	size_t i;
	json_t *cap;
	int r;

	json_array_foreach(json_object_get(env, "eff_caps"), i, cap)
		assert_int_equal(tl_strv_add(&caps, json_string_value(cap)), 0);
	r = tl_machine_check(spec, &facts, &findings);
	if (json_is_true(json_object_get(want, "ok"))) {
		if (r)
			fail_msg("%s: refused: %s", id, first_forbidding(&findings)->message);
		return;
	}
	if (r != -EPERM || strcmp(first_forbidding(&findings)->category, member(want, "category")))
		fail_msg("%s: want %s, got %d", id, member(want, "category"), r);
	findings_assert_complete(&findings);
}

static void spec_assert(const char *id, const json_t *expect, const struct tl_launch_spec *spec)
{
	json_auto_t *got = spec_json(spec);

	assert_non_null(got);
	if (!json_object_get(expect, "spec") || json_equal(got, json_object_get(expect, "spec")))
		return;
	fail_msg("%s: got %s", id, json_dumps(got, 0));
}

static void vector_assert(const json_t *item)
{
	json_auto_t *expect = expectation("spec-parse", item);
	const json_t *plain = json_object_get(item, "attributes");
	const json_t *post = json_object_get(item, "post");
	const json_t *want_post = json_object_get(expect, "post");
	const char *id = member(item, "id");
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_launch_spec_options options = {
		.is_ita_off = !json_is_true(
			json_object_get(json_object_get(item, "experiments"), "EnableItaVerifier")),
	};
	auto_free uint8_t *bytes = NULL;
	size_t n = json_string_length(plain);
	int r;

	if (!plain)
		assert_int_equal(tl_base64_decode(TL_BASE64_STD, member(item, "attributes_b64"),
						  strlen(member(item, "attributes_b64")), &bytes,
						  &n),
				 0);
	r = tl_launch_spec_parse(plain ? json_string_value(plain) : (char *)bytes, n, &options,
				 &spec, &findings);
	findings_assert_complete(&findings);
	if (!json_is_true(json_object_get(expect, "ok"))) {
		if (r != -EINVAL ||
		    strcmp(first_forbidding(&findings)->category, member(expect, "category")))
			fail_msg("%s: want %s, got %d, %s", id, member(expect, "category"), r,
				 findings.n ? findings.items[0].category : "nothing");
		assert_null(spec.image_ref);
		return;
	}
	if (r)
		fail_msg("%s: refused: %s", id, first_forbidding(&findings)->message);
	spec_assert(id, expect, &spec);
	if (post)
		post_assert(id, json_object_get(post, "env"), want_post ? want_post : post, &spec);
}

static void every_vector_of_the_attributes_document_holds(void **state)
{
	size_t i;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("spec-parse", cases, i, item)
	{
		vector_assert(item);
	}
}

static void every_mount_vector_holds(void **state)
{
	size_t i;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("mounts", cases, i, item)
	{
		json_auto_t *expect = expectation("mounts", item);
		json_auto_t *doc = json_pack("{sssO}", "tee-image-reference", "h.example/p:t",
					     "tee-mount", json_object_get(item, "tee_mount"));
		auto_free char *text = json_dumps(doc, 0);
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_spec struct tl_launch_spec spec = { 0 };
		int r = parse(text, &spec, &findings);
		json_auto_t *got = mounts(&spec.mounts);
		json_t *want = json_object_get(expect, "mounts"), *mount;
		size_t k;

		json_array_foreach(want, k, mount) json_object_del(mount, "oci");
		if (want && (r || !json_equal(got, want)))
			fail_msg("%s: got %d", member(item, "id"), r);
		if (!want && (r != -EINVAL || strcmp(first_forbidding(&findings)->category,
						     member(expect, "category"))))
			fail_msg("%s: got %d", member(item, "id"), r);
		findings_assert_complete(&findings);
	}
}

static void all_problems_are_reported_in_the_order_of_the_table(void **state)
{
	static const struct {
		const char *category;
		enum tl_code code;
	} want[] = {
		{ "fake-verifier-bool", TL_E_KEY_BOOL },
		{ "post-gpu-not-supported", TL_E_KEY_BOOL },
		{ "image-ref-missing", TL_E_IMAGE_REF_MISSING },
		{ "restart-policy", TL_E_RESTART_POLICY },
		{ "monitoring-both", TL_E_MONITORING_BOTH },
		{ "cmd-json", TL_E_CMD },
		{ "log-redirect", TL_E_LOG_REDIRECT },
		{ "gca-env", TL_E_GCA_ENV },
		{ "dev-shm-size", TL_E_DEV_SHM_SIZE },
		{ "mount-type", TL_E_MOUNT },
		{ "mount-source", TL_E_MOUNT },
		{ "mount-destination-missing", TL_E_MOUNT },
		{ "mount-unknown-option", TL_E_MOUNT },
		{ "ita-pair", TL_E_ITA_PAIR },
		{ "caps-json", TL_E_CAPABILITIES },
		{ "cgroup-bool", TL_E_KEY_BOOL },
		{ "disable-gca-refresh-bool", TL_E_KEY_BOOL },
	};
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { .image_ref = (char *)(uintptr_t) "untouched" };

	(void)state;
	assert_int_equal(
		parse("{\"tee-disable-gca-refresh\":\"x\",\"tee-cgroup-ns\":\"\","
		      "\"tee-added-capabilities\":\"x\",\"ita-region\":\"US\","
		      "\"tee-mount\":\"type=bind;type=tmpfs,foo=bar\",\"tee-dev-shm-size-kb\":"
		      "\"x\","
		      "\"gca-service-env\":\"\",\"tee-container-log-redirect\":\"x\","
		      "\"tee-cmd\":\"x\",\"tee-monitoring-enable\":\"x\","
		      "\"tee-monitoring-memory-enable\":\"x\",\"tee-restart-policy\":\"x\","
		      "\"tee-install-gpu-driver\":\"x\",\"test-fake-verifier\":\"x\"}",
		      &spec, &findings),
		-EINVAL);
	assert_string_equal(spec.image_ref, "untouched");
	assert_int_equal(findings.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < findings.n; i++) {
		assert_string_equal(findings.items[i].category, want[i].category);
		assert_int_equal(findings.items[i].code, want[i].code);
	}
	findings_assert_complete(&findings);
}

static void a_fake_verifier_and_an_unknown_level_are_refused_by_name(void **state)
{
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(parse("{" IMAGE ",\"test-fake-verifier\":\"true\","
			       "\"tee-monitoring-enable\":\"some\"}",
			       &spec, &findings),
			 -EINVAL);
	assert_int_equal(findings.items[0].code, TL_E_FAKE_VERIFIER);
	assert_int_equal(findings.items[1].code, TL_E_MONITORING_LEVEL);
}

static void every_value_that_is_not_a_string_is_named(void **state)
{
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(
		parse("{\"zoo\":1," IMAGE ",\"tee-cmd\":[\"a\"],\"b\":{}}", &spec, &findings),
		-EINVAL);
	assert_int_equal(findings.n, 3);
	assert_string_equal(findings.items[0].message, "b is not a string");
	assert_string_equal(findings.items[1].message, "tee-cmd is not a string");
	assert_string_equal(findings.items[2].message, "zoo is not a string");
	assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_TYPE);
}

static void a_mistyped_key_is_reported_with_the_nearest_one(void **state)
{
	static const struct {
		const char *key, *fix, *oddity;
	} cases[] = {
		{ "tee-restart-polcy", "did you mean tee-restart-policy?", NULL },
		{ "TEE-CMD", "did you mean tee-cmd?", "upper case is another name" },
		{ "Tee-Env-Ab", "did you mean tee-env-Ab?", "upper case is another name" },
		{ "tee-cmd ", "did you mean tee-cmd?", "it begins or ends with a space" },
		{ "tee-evn-FOO", "did you mean tee-env-FOO?", NULL },
		{ "tee_env_FOO", "did you mean tee-env-FOO?", NULL },
		{ "tee-enable-foo", "correct its name or remove it", NULL },
		{ "tee\xe2\x80\x91" /* a hyphen that doesn't break lines */
		  "cmd",
		  "did you mean tee-cmd?", "its character 4 is U+2011, which isn't ASCII" },
		{ "\xf0\x9d\x97\x8d" /* a mathematical t */
		  "ee-cmd",
		  "did you mean tee-cmd?", "its character 1 is U+1D5CD, which isn't ASCII" },
		{ "tee-\xd1\x81md", "did you mean tee-cmd?",
		  "its character 5 is U+0441, which isn't ASCII" },
		{ "gca-service-envs", "did you mean gca-service-env?", NULL },
		{ "gca_service_env", "did you mean gca-service-env?", NULL },
		{ "Ita-Region", "did you mean ita-region?", "upper case is another name" },
		{ "ita-apikey", "did you mean ita-api-key?", NULL },
		{ "tee-cgroup-ns\\u0000", "did you mean tee-cgroup-ns?", NULL },
		{ "t\xd0\xb5"
		  "e-cmd",
		  "did you mean tee-cmd?", "its character 2 is U+0435" },
		{ "tee-env", "did you mean tee-env-NAME?", NULL },
		{ "ita_region", "did you mean ita-region?", NULL },
		{ "tee-something-else", "correct its name or remove it", NULL },
		{ "ssh-keys", NULL, NULL },
		{ "startup-script", NULL, NULL },
		{ "tee", NULL, NULL },
		{ "tee-a-name-that-is-longer-than-any-word-the-distance-is-counted-for",
		  "correct its name or remove it", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_spec struct tl_launch_spec spec = { 0 };
		auto_free char *text = NULL;

		assert_true(asprintf(&text, "{" IMAGE ",\"%s\":\"SECRET\"}", cases[i].key) > 0);
		assert_int_equal(parse(text, &spec, &findings), 0);
		assert_int_equal(findings.n, cases[i].fix != NULL);
		if (!findings.n)
			continue;
		assert_true(findings.items[0].is_warning);
		assert_int_equal(findings.items[0].code, TL_E_KEY_UNKNOWN);
		assert_string_equal(findings.items[0].fix, cases[i].fix);
		assert_true(!cases[i].oddity || strstr(findings.items[0].message, cases[i].oddity));
		assert_false(findings_hold(&findings, "SECRET"));
	}
}

static void odd_elements_are_warnings(void **state)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(
		parse("{" IMAGE ",\"tee-signed-image-repos\":\"a, b,\"}", &spec, &findings), 0);
	assert_int_equal(findings.n, 2);
	assert_int_equal(findings.items[0].code, TL_E_LIST_ELEMENT);
	assert_int_equal(findings.items[1].code, TL_E_LIST_ELEMENT);
	assert_false(tl_findings_forbid(&findings));
	assert_int_equal(spec.signed_image_repos.n, 3);
}

static void a_document_that_is_no_object_is_told_what_it_should_be(void **state)
{
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(parse("[1]", &spec, &findings), -EINVAL);
	assert_int_equal(findings.n, 1);
	assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_TYPE);
	assert_non_null(strstr(findings.items[0].fix, "JSON object of strings"));
}

static void ita_keys_without_ita_are_a_warning_and_have_no_effect(void **state)
{
	static const struct tl_launch_spec_options off = { .is_ita_off = true };
	static const char text[] = "{" IMAGE ",\"ita-region\":\"US\"}";
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(tl_launch_spec_parse(text, strlen(text), &off, &spec, &findings), 0);
	assert_int_equal(findings.n, 1);
	assert_int_equal(findings.items[0].code, TL_E_FEATURE);
	assert_true(findings.items[0].is_warning);
	assert_null(spec.ita_region);
}

static char *repeated(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t unit_n = strlen(unit), head_n = strlen(head);
	char *ret = malloc(head_n + unit_n * n + strlen(tail) + 1);

	memcpy(ret, head, head_n);
	for (size_t i = 0; i < n; i++)
		memcpy(ret + head_n + i * unit_n, unit, unit_n);
	memcpy(ret + head_n + n * unit_n, tail, strlen(tail) + 1);
	return ret;
}

static void limit_assert(char *consume_text, int want, enum tl_code code)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	assert_int_equal(parse(consume_text, &spec, &findings), want);
	if (want)
		assert_int_equal(first_forbidding(&findings)->code, code);
	free(consume_text);
}

static void every_limit_is_exact(void **state)
{
	static const char head[] = "{" IMAGE ",\"x\":\"";
	size_t room = TL_ATTRIBUTES_BYTES_MAX - strlen(head) - 2;

	(void)state;
	limit_assert(repeated(head, "a", room, "\"}"), 0, 0);
	limit_assert(repeated(head, "a", room + 1, "\"}"), -EINVAL, TL_E_ATTRIBUTES_LIMIT);
	limit_assert(repeated("{" IMAGE ",\"tee-cmd\":\"[0", ",\\\"\\\"", 4096, "]\"}"), -EINVAL,
		     TL_E_CMD);
	limit_assert(repeated("{" IMAGE ",\"tee-cmd\":\"[\\\"\\\"", ",\\\"\\\"", 4095, "]\"}"), 0,
		     0);
	limit_assert(repeated("{" IMAGE ",\"tee-cmd\":\"[\\\"\\\"", ",\\\"\\\"", 4096, "]\"}"),
		     -EINVAL, TL_E_CMD);
	limit_assert(repeated("{" IMAGE ",\"tee-signed-image-repos\":\"a", ",a", 1023, "\"}"), 0,
		     0);
	limit_assert(repeated("{" IMAGE ",\"tee-signed-image-repos\":\"a", ",a", 1024, "\"}"),
		     -EINVAL, TL_E_ATTRIBUTES_LIMIT);
	limit_assert(repeated("{" IMAGE ",\"tee-mount\":\"", "x=", 40000, "\"}"), -EINVAL,
		     TL_E_MOUNT);
	limit_assert(repeated("{" IMAGE ",\"tee-mount\":\"", ";", 5000, "\"}"), -EINVAL,
		     TL_E_MOUNT);
	limit_assert(repeated("{" IMAGE ",\"tee-mount\":\"", ",", 5000, "\"}"), -EINVAL,
		     TL_E_MOUNT);
	limit_assert(repeated("{" IMAGE ",\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=",
			      "/a", 2048, "\"}"),
		     -EINVAL, TL_E_MOUNT);
	limit_assert(repeated("{\"x\":", "[", 31, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"), -EINVAL,
		     TL_E_ATTRIBUTES_TYPE);
	limit_assert(repeated("{\"x\":", "[", 32, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"), -EINVAL,
		     TL_E_ATTRIBUTES_SYNTAX);
	limit_assert(repeated("", "[", 400000, ""), -EINVAL, TL_E_ATTRIBUTES_SYNTAX);
}

static void more_than_1024_variables_are_refused(void **state)
{
	(void)state;
	for (size_t n = TL_SPEC_ENVS_MAX; n <= TL_SPEC_ENVS_MAX + 1; n++) {
		json_auto_t *doc = json_pack("{ss}", "tee-image-reference", "h/p:t");
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_spec struct tl_launch_spec spec = { 0 };
		auto_free char *text = NULL;

		for (size_t i = 0; i < n; i++) {
			char key[32];

			snprintf(key, sizeof(key), "tee-env-V%zu", i);
			json_object_set_new(doc, key, json_string("v"));
		}
		text = json_dumps(doc, 0);
		assert_int_equal(parse(text, &spec, &findings), n > TL_SPEC_ENVS_MAX ? -EINVAL : 0);
		assert_int_equal(findings.n, n > TL_SPEC_ENVS_MAX);
		assert_int_equal(spec.envs.n, n > TL_SPEC_ENVS_MAX ? 0 : n);
		for (size_t i = 1; i < spec.envs.n; i++)
			assert_true(strcmp(spec.envs.items[i - 1].key, spec.envs.items[i].key) < 0);
	}
}

static void nul_is_refused_under_our_keys_and_ignored_under_others(void **state)
{
	static const struct {
		const char *key;
		int want;
	} cases[] = { { "tee-env-A", -EINVAL },
		      { "tee-image-reference", -EINVAL },
		      { "ita-api-key", -EINVAL },
		      { "other", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_spec struct tl_launch_spec spec = { 0 };
		auto_free char *text = NULL;

		assert_true(asprintf(&text, "{" IMAGE ",\"%s\":\"CANARY\\u0000x\"}", cases[i].key) >
			    0);
		assert_int_equal(parse(text, &spec, &findings), cases[i].want);
		assert_int_equal(findings.n > 0, cases[i].want < 0);
		if (!findings.n)
			continue;
		assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_NUL);
		assert_false(findings_hold(&findings, "CANARY"));
	}
}

/* Thousands of keys are judged, some hundred findings are kept; the verdict stays. */
static void too_many_findings_are_counted_and_still_forbid(void **state)
{
	json_auto_t *doc = json_pack("{ss}", "tee-image-reference", "h/p:t");
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { 0 };
	struct tl_error err = { 0 };
	static const struct tl_finding_row deny = { TL_E_DENIED_ENV, "env", TL_SOURCE_ATTRIBUTES,
						    false };
	auto_free char *text = NULL;

	(void)state;
	for (size_t i = 0; i < 2000; i++) {
		char key[32];

		snprintf(key, sizeof(key), "tee-unknown-%zu", i);
		json_object_set_new(doc, key, json_string("v"));
	}
	text = json_dumps(doc, 0);
	assert_int_equal(parse(text, &spec, &findings), 0);
	tl_launch_spec_done(&spec);
	assert_int_equal(findings.n, TL_FINDINGS_MAX);
	assert_int_equal(findings.dropped, 2000 - TL_FINDINGS_MAX);
	assert_false(tl_findings_forbid(&findings));
	assert_int_equal(tl_findings_error(&findings, &err), 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(tl_findings_add(&findings, &deny, "k", NULL, "no\n%s", "w"), 0);
	assert_int_equal(findings.n, TL_FINDINGS_MAX);
	assert_true(tl_findings_forbid(&findings));
	assert_int_equal(tl_findings_error(&findings, &err), -EPERM);
	assert_string_equal(err.msg, "no\\x0aw (and 1489 more)");
	assert_int_equal(err.class, TL_DENIED);
	for (size_t i = 0; i < TL_FINDINGS_MAX; i++)
		assert_int_equal(tl_findings_add(&findings, &deny, NULL, NULL, "no"), 0);
	assert_int_equal(findings.n, TL_FINDINGS_MAX);
	assert_string_equal(findings.items[0].message, "no\\x0aw");
	assert_string_equal(findings.items[TL_FINDINGS_MAX - 1].message, "no");
}

static void one_finding_is_the_error_itself(void **state)
{
	static const struct tl_finding_row warning = { TL_E_KEY_UNKNOWN, "env", TL_SOURCE_LABELS,
						       true };
	static const struct tl_finding_row deny = { TL_E_DENIED_CMD, "cmd", TL_SOURCE_ATTRIBUTES,
						    false };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_findings_add(&findings, &warning, NULL, NULL, "odd"), 0);
	assert_int_equal(tl_findings_add(&findings, &deny, "tee-cmd", "don't", "no"), 0);
	assert_int_equal(tl_findings_error(&findings, &err), -EPERM);
	assert_string_equal(err.msg, "no");
	assert_int_equal(err.code, TL_E_DENIED_CMD);
	assert_string_equal(findings.items[0].key, "");
	assert_string_equal(findings.items[1].fix, "don't");
}

static void the_last_variable_that_is_no_string_is_named_with_the_others(void **state)
{
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(parse("{" IMAGE ",\"tee-env-A\":1,\"tee-env-B\":\"x\","
			       "\"tee-monitoring-memory-enable\":\"yes\",\"tee-cgroup-ns\":null}",
			       &spec, &findings),
			 -EINVAL);
	assert_int_equal(findings.n, 3);
	assert_string_equal(findings.items[0].key, "tee-env-A");
	assert_string_equal(findings.items[1].category, "monitoring-memory-bool");
	assert_string_equal(findings.items[2].category, "cgroup-bool");
	tl_findings_done(&findings);
	assert_int_equal(
		parse("{" IMAGE ",\"tee-monitoring-memory-enable\":null}", &spec, &findings), 0);
	tl_launch_spec_done(&spec);
	tl_launch_spec_done(NULL);
	tl_findings_done(NULL);
}

static void the_key_table_documents_every_key_once(void **state)
{
	size_t n = 0;

	(void)state;
	for (const struct tl_key_doc *doc; (doc = tl_launch_spec_key(n)); n++) {
		assert_true(strlen(doc->description) > 10);
		assert_true(strlen(doc->type) > 3);
		assert_true(strlen(doc->fallback) > 0);
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(doc->name, tl_launch_spec_key(i)->name);
	}
	assert_int_equal(n, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_of_the_attributes_document_holds),
		cmocka_unit_test(every_mount_vector_holds),
		cmocka_unit_test(all_problems_are_reported_in_the_order_of_the_table),
		cmocka_unit_test(a_fake_verifier_and_an_unknown_level_are_refused_by_name),
		cmocka_unit_test(every_value_that_is_not_a_string_is_named),
		cmocka_unit_test(a_mistyped_key_is_reported_with_the_nearest_one),
		cmocka_unit_test(odd_elements_are_warnings),
		cmocka_unit_test(a_document_that_is_no_object_is_told_what_it_should_be),
		cmocka_unit_test(ita_keys_without_ita_are_a_warning_and_have_no_effect),
		cmocka_unit_test(every_limit_is_exact),
		cmocka_unit_test(more_than_1024_variables_are_refused),
		cmocka_unit_test(nul_is_refused_under_our_keys_and_ignored_under_others),
		cmocka_unit_test(too_many_findings_are_counted_and_still_forbid),
		cmocka_unit_test(one_finding_is_the_error_itself),
		cmocka_unit_test(the_last_variable_that_is_no_string_is_named_with_the_others),
		cmocka_unit_test(the_key_table_documents_every_key_once),
	};

	return cmocka_run_group_tests_name("launch_spec", tests, NULL, NULL);
}
