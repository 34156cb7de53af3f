/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of every launch, not of chosen ones. */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/verdict.h>

#define LABEL(name) TL_LABEL_PREFIX name

/* A small generator with a fixed seed: the same cases in every run. */
static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static bool coin(uint32_t *seed)
{
	return next_random(seed) & 1;
}

static struct tl_launch_spec spec_random(uint32_t *seed)
{
	static const char *const names[] = { "A", "B", "HOSTNAME", "a-b" };
	static const char *const paths[] = { "/a", "/a/b", "/b", "/proc", "c", "/" };
	struct tl_launch_spec spec = { 0 };

	for (size_t i = 0; i < 4; i++)
		if (next_random(seed) % 6 == 0)
			tl_kvs_add(&spec.envs, names[i], "v");
	for (size_t i = 0; i < 6; i++)
		if (next_random(seed) % 8 == 0)
			mount_add(&spec.mounts, paths[i], 0);
	if (coin(seed))
		tl_strv_add(&spec.cmd, "x");
	if (coin(seed))
		tl_strv_add(&spec.added_capabilities, "CAP_X");
	spec.log_redirect = next_random(seed) % 4;
	spec.monitoring = next_random(seed) % 3;
	spec.is_cgroup_ns = coin(seed);
	return spec;
}

/* Each label from loosest to tightest; one more step never allows more. */
static const struct {
	const char *name, *values[4];
} ladders[] = {
	{ LABEL("allow_env_override"), { "A,B,HOSTNAME,a-b", "A,B", "A", "" } },
	{ LABEL("allow_cmd_override"), { "true", "1", "false", "0" } },
	{ LABEL("log_redirect"), { "always", "debugonly", "never", "never" } },
	{ LABEL("hardened_monitoring"), { "all", "memoryOnly", "none", "none" } },
	{ LABEL("debug_monitoring"), { "all", "memoryOnly", "none", "none" } },
	{ LABEL("allow_mount_destinations"), { "/", "/a:/b", "/a/b", "" } },
	{ LABEL("allow_capabilities"), { "t", "t", "F", "f" } },
	{ LABEL("allow_cgroups"), { "T", "True", "False", "f" } },
};

#define LADDERS (sizeof(ladders) / sizeof(ladders[0]))

static bool is_allowed(const struct tl_launch_spec *spec, const unsigned int *steps,
		       bool is_hardened, size_t *ret_n)
{
	auto_kvs struct tl_kvs labels = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	struct tl_verdict_input in = {
		.spec = spec, .policies = &policy, .n_policies = 1, .is_hardened = is_hardened
	};
	int r;

	for (size_t i = 0; i < LADDERS; i++)
		tl_kvs_add(&labels, ladders[i].name, ladders[i].values[steps[i]]);
	assert_int_equal(tl_launch_policy_parse(&labels, &policy, &findings), 0);
	tl_findings_done(&findings);
	r = tl_verdict(&in, &findings);
	assert_int_equal(r, tl_findings_forbid(&findings) ? -EPERM : 0);
	*ret_n = findings.n;
	return r == 0;
}

static void tightening_a_label_never_allows_more(void **state)
{
	uint32_t seed = 20240601;
	size_t n_allowed = 0;

	(void)state;
	for (size_t round = 0; round < 5000; round++) {
		auto_launch_spec struct tl_launch_spec spec = spec_random(&seed);
		bool is_hardened = coin(&seed), was_allowed;
		unsigned int steps[LADDERS];
		size_t which = next_random(&seed) % LADDERS, n_before, n_after;

		for (size_t i = 0; i < LADDERS; i++)
			steps[i] = next_random(&seed) % 3;
		was_allowed = is_allowed(&spec, steps, is_hardened, &n_before);
		n_allowed += was_allowed;
		steps[which]++;
		if (is_allowed(&spec, steps, is_hardened, &n_after) && !was_allowed)
			fail_msg("tightening %s allowed more in round %zu", ladders[which].name,
				 round);
		assert_true(n_after >= n_before);
	}
	/* The property would hold of a function that denies all. */
	assert_in_range(n_allowed, 50, 4950);
}

static const char *const fragments[] = {
	"\"tee-image-reference\":\"h/p:t\"",
	"\"tee-cmd\":\"[\\\"a\\\"]\"",
	"\"tee-cmd\":\"x\"",
	"\"tee-env-A\":\"1\"",
	"\"tee-env-b-c\":\"2\"",
	"\"tee-env-HOSTNAME\":\"3\"",
	"\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/proc\"",
	"\"tee-mount\":\";\"",
	"\"tee-restart-policy\":\"no\"",
	"\"tee-restart-policy\":\"Always\"",
	"\"tee-cgroup-ns\":\"true\"",
	"\"tee-cgroup-ns\":\"\"",
	"\"zoo\":1",
	"\"tee-zoo\":\"1\"",
	"\"tee-monitoring-enable\":\"all\"",
	"\"tee-monitoring-memory-enable\":\"1\"",
	"\"ita-region\":\"US\"",
	"\"ita-api-key\":\"k\"",
	"\"tee-container-log-redirect\":\"true\"",
	"\"gca-service-env\":\"x\"",
	"\"tee-added-capabilities\":\"[\\\"C\\\"]\"",
	"\"tee-dev-shm-size-kb\":\"-1\"",
	"\"test-fake-verifier\":\"true\"",
};

#define FRAGMENTS (sizeof(fragments) / sizeof(fragments[0]))

static char *findings_text(const char *document, char *ret, size_t cap)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	struct tl_kvs none = { 0 };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };
	int r = tl_launch_spec_parse(document, strlen(document), NULL, &spec, &findings);

	if (!r && !tl_launch_policy_parse(&none, &policy, &findings))
		r = tl_verdict(&in, &findings);
	snprintf(ret, cap, "%d", r);
	for (size_t i = 0; i < findings.n; i++)
		snprintf(ret + strlen(ret), cap - strlen(ret), "|%s", findings.items[i].message);
	return ret;
}

static void document_write(const size_t *picked, size_t n, char *ret, size_t cap)
{
	char *at = ret;

	for (size_t i = 0; i < n; i++)
		at += snprintf(at, cap - (size_t)(at - ret), "%c%s", i ? ',' : '{',
			       fragments[picked[i]]);
	snprintf(at, cap - (size_t)(at - ret), "%s", n ? "}" : "{}");
}

static void the_order_of_keys_does_not_matter(void **state)
{
	uint32_t seed = 7;

	(void)state;
	for (size_t round = 0; round < 3000; round++) {
		size_t picked[FRAGMENTS] = { 0 }, n = 0;
		char document[2][4096], texts[2][8192];

		for (size_t i = 0; i < FRAGMENTS; i++) {
			bool is_same_key = n && i && picked[n - 1] == i - 1 &&
					   strncmp(fragments[i], fragments[i - 1],
						   strcspn(fragments[i], ":") + 1) == 0;

			if (!is_same_key && next_random(&seed) % 3 == 0)
				picked[n++] = i;
		}
		for (size_t pass = 0; pass < 2; pass++) {
			document_write(picked, n, document[pass], sizeof(document[pass]));
			for (size_t i = n; i > 1; i--) {
				size_t k = next_random(&seed) % i, swap = picked[k];

				picked[k] = picked[i - 1];
				picked[i - 1] = swap;
			}
		}
		assert_string_equal(findings_text(document[0], texts[0], sizeof(texts[0])),
				    findings_text(document[1], texts[1], sizeof(texts[1])));
	}
}

/* In every vector, every value that may be secret is replaced by a canary. */
static void canary_assert(json_t *doc)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_verdict_input in = { .spec = &spec };
	uint64_t mem_kb = 0;
	struct tl_strv none = { 0 };
	struct tl_machine_facts facts = { .mem_available_kb = &mem_kb, .capabilities = &none };
	auto_free char *text = NULL;

	json_object_set_new(doc, "tee-env-CANARY_NAME", json_string("xyzzy\t\"]"));
	json_object_set_new(doc, "tee-env-bad-name", json_string("xyzzy"));
	json_object_set_new(doc, "tee-env-HOSTNAME", json_string("xyzzy\x01"));
	json_object_set_new(doc, "ita-api-key", json_string("xyzzy"));
	json_object_set_new(doc, "tee-enw-TYPO", json_string("xyzzy"));
	if (json_object_get(doc, "tee-cmd"))
		json_object_set_new(doc, "tee-cmd", json_string("[\"xyzzy\", xyzzy]"));
	text = json_dumps(doc, 0);
	if (tl_launch_spec_parse(text, strlen(text), NULL, &spec, &findings) == 0) {
		tl_verdict(&in, &findings);
		tl_machine_check(&spec, &facts, &findings);
	}
	assert_true(findings.n > 0);
	assert_false(findings_hold(&findings, "xyzzy"));
}

static void no_message_holds_a_secret(void **state)
{
	size_t i, n = 0;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("spec-parse", cases, i, item)
	{
		json_auto_t *doc =
			json_loads(member(item, "attributes") ? member(item, "attributes") : "",
				   JSON_ALLOW_NUL, NULL);

		if (!json_is_object(doc))
			continue;
		canary_assert(doc);
		n++;
	}
	assert_true(n > 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tightening_a_label_never_allows_more),
		cmocka_unit_test(the_order_of_keys_does_not_matter),
		cmocka_unit_test(no_message_holds_a_secret),
	};

	return cmocka_run_group_tests_name("policy_properties", tests, NULL, NULL);
}
