/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of every launch, not of chosen ones: of thousands made by a generator. */
#include "generator.h"
#include "vectors.h"

#include <errno.h>
#include <time.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/verdict.h>

#define ROUNDS       3000
#define ROW_HITS_MIN 50

enum outcome { ALLOW, DENY, INVALID, OUTCOMES };

struct scene {
	struct tl_launch_spec_options options;
	struct tl_image_config image; /* its lists are borrowed */
	uint64_t mem_kb;
	bool is_hardened;
};

static struct scene scene_random(bool is_good, uint32_t *seed)
{
	static char envs[][12] = { "PATH=/bin", "1x=y", "no-equals" };
	static char ports[][12] = { "80/tcp", "x/udp", "99999/tcp", "80" };
	static char *env_items[] = { envs[0], envs[1], envs[2] };
	static char *port_items[] = { ports[0], ports[1], ports[2], ports[3] };

	return (struct scene){
		.options = { .is_ita_off = coin(seed) },
		.image = { .env = { .items = env_items, .n = is_good ? 1 : next_random(seed) % 4 },
			   .exposed_ports = { .items = port_items,
					      .n = is_good ? 1 : next_random(seed) % 5 } },
		.mem_kb = is_good ? UINT64_C(1) << 40 : next_random(seed) % 2000,
		.is_hardened = coin(seed),
	};
}

/* As teelaunchd and explain put it together. @keys_set, when given, gets what was in the document.
 */
static enum outcome judged(const char *attributes, const char *labels_text,
			   const struct scene *scene, struct tl_findings *findings,
			   uint32_t *keys_set)
{
	static char names[][12] = { "CAP_CHOWN", "CAP_KILL" };
	static char *name_items[] = { names[0], names[1] };
	const struct tl_strv capabilities = { .items = name_items, .n = 2 };
	const struct tl_machine_facts facts = { .mem_available_kb = &scene->mem_kb,
						.capabilities = &capabilities };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_kvs struct tl_kvs labels = { 0 };
	struct tl_verdict_input in = { .spec = &spec,
				       .policies = &policy,
				       .n_policies = 1,
				       .image = &scene->image,
				       .is_hardened = scene->is_hardened };
	int read, policies, verdict, machine;

	read = tl_launch_spec_read(attributes, strlen(attributes), &scene->options, &spec,
				   findings);
	assert_int_equal(tl_labels_parse(labels_text, strlen(labels_text), &labels, NULL), 0);
	policies = tl_launch_policy_read(&labels, &policy, findings);
	verdict = tl_verdict(&in, findings);
	machine = tl_machine_check(&spec, &facts, findings);
	if (keys_set)
		*keys_set = spec.keys_set;
	assert_true(read >= 0 && policies >= 0 && verdict != -ENOMEM && machine != -ENOMEM);
	assert_int_equal(tl_findings_forbid(findings), read || policies || verdict || machine);
	return read || policies ? INVALID : verdict || machine ? DENY : ALLOW;
}

static int line_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every finding whole, as a set. */
static char *findings_text(const struct tl_findings *f)
{
	auto_strv struct tl_strv lines = { 0 };
	struct tl_buf text;

	for (size_t i = 0; i < f->n; i++) {
		const struct tl_finding *x = &f->items[i];
		auto_free char *line = NULL;

		assert_true(asprintf(&line, "%d|%s|%d|%d|%s|%s|%s\n", (int)x->code, x->category,
				     (int)x->source, x->is_warning, x->key, x->message,
				     x->fix) > 0);
		assert_int_equal(tl_strv_add(&lines, line), 0);
	}
	if (lines.n)
		qsort(lines.items, lines.n, sizeof(*lines.items), line_compare);
	tl_buf_init(&text, TL_FINDINGS_MAX * sizeof(char[2 * TL_FINDING_MSG_BYTES_MAX]));
	for (size_t i = 0; i < lines.n; i++)
		assert_int_equal(tl_buf_append_str(&text, lines.items[i]), 0);
	assert_int_equal(tl_buf_append_str(&text, "end"), 0);
	return tl_buf_take_str(&text);
}

/* Contract section 15. */
static const char *const contract_categories[] = { "json-syntax",
						   "json-type",
						   "fake-verifier-bool",
						   "image-ref-missing",
						   "restart-policy",
						   "monitoring-both",
						   "monitoring-memory-bool",
						   "monitoring-type",
						   "cmd-json",
						   "log-redirect",
						   "gca-env",
						   "dev-shm-size",
						   "mount-option-parse",
						   "mount-unknown-option",
						   "mount-type",
						   "mount-source",
						   "mount-destination-missing",
						   "mount-size",
						   "ita-pair",
						   "caps-json",
						   "cgroup-bool",
						   "disable-gca-refresh-bool",
						   "post-mount-memory",
						   "post-gpu-not-supported",
						   "post-dev-shm-memory",
						   "post-caps-not-effective",
						   "env",
						   "cmd",
						   "log-never",
						   "log-debugonly",
						   "monitoring",
						   "mount:dest-not-absolute",
						   "mount:allow-entry-not-absolute",
						   "mount:not-in-allowlist",
						   "caps",
						   "cgroups",
						   "label-cmd-bool",
						   "label-log-policy",
						   "label-monitoring-both",
						   "label-memory-policy",
						   "label-hardened-monitoring",
						   "label-debug-monitoring",
						   "label-caps-bool",
						   "label-cgroups-bool",
						   NULL };

/* Ours beyond it, and why. */
static const char *const other_categories[] = {
	"image-ref",          /* the reference fails at the pull; here it is a finding before */
	"post-disk-space",    /* the contract leaves the disk to the launcher, without vectors */
	"env-name-not-utf8",  /* the contract's other files name these: env-names.json ... */
	"env-value-not-utf8", /* ... */
	"env-name-malformed", /* ... */
	"env-no-equals",      /* ... */
	"port-format",        /* ... and port-spec.json */
	"port-number",        "port-protocol", NULL
};

static bool is_listed(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static void every_category_is_in_the_contract_or_explained(void **state)
{
	const char *const *ours = tl_finding_categories();

	(void)state;
	for (size_t i = 0; ours[i]; i++)
		if (is_listed(contract_categories, ours[i]) == is_listed(other_categories, ours[i]))
			fail_msg("'%s' is in both lists, or in none", ours[i]);
	for (size_t i = 0; contract_categories[i]; i++)
		if (!is_listed(ours, contract_categories[i]))
			fail_msg("the contract's '%s' isn't ours", contract_categories[i]);
	for (size_t i = 0; other_categories[i]; i++)
		assert_true(is_listed(ours, other_categories[i]));
}

static void findings_assert_known(const struct tl_findings *f)
{
	findings_assert_complete(f);
	for (size_t i = 0; i < f->n; i++)
		assert_true(is_listed(contract_categories, f->items[i].category) ||
			    is_listed(other_categories, f->items[i].category));
}

static void every_row_of_the_tables_is_generated(void **state)
{
	size_t n;

	(void)state;
	for (n = 0; tl_launch_spec_key(n); n++) {
		const char *name = tl_launch_spec_key(n)->name;
		bool is_prefix = strcmp(name, "tee-env-") == 0, has = false;

		for (size_t k = 0; key_source(k); k++)
			has |= strcmp(key_source(k)->name, is_prefix ? "tee-env-@" : name) == 0;
		if (!has)
			fail_msg("the generator has no values for key %s", name);
	}
	for (n = 0; tl_launch_policy_label(n); n++) {
		bool has = false;

		for (size_t k = 0; k < LADDERS; k++)
			has |= strcmp(ladders[k].name, tl_launch_policy_label(n)->name) == 0;
		if (!has)
			fail_msg("the generator has no values for label %s",
				 tl_launch_policy_label(n)->name);
	}
	assert_int_equal(n, LADDERS);
}

/* What the rounds have seen, so that no property holds for want of cases. */
struct tally {
	size_t outcomes[OUTCOMES], keys[32], labels[LADDERS];
};

static void tally_count(struct tally *t, enum outcome outcome, uint32_t keys_set,
			const struct members *labels)
{
	t->outcomes[outcome]++;
	for (size_t i = 0; i < 32; i++)
		t->keys[i] += keys_set >> i & 1;
	for (size_t i = 0; i < LADDERS; i++)
		t->labels[i] += members_have(labels, ladders[i].name);
}

static void tally_check(const struct tally *t)
{
	print_message("%zu allowed, %zu denied, %zu invalid\n", t->outcomes[ALLOW],
		      t->outcomes[DENY], t->outcomes[INVALID]);
	for (size_t i = 0; i < OUTCOMES; i++)
		assert_true(t->outcomes[i] > ROUNDS / 10);
	for (size_t i = 0; tl_launch_spec_key(i); i++)
		if (t->keys[i] < ROW_HITS_MIN)
			fail_msg("key %s was set %zu times", tl_launch_spec_key(i)->name,
				 t->keys[i]);
	for (size_t i = 0; i < LADDERS; i++)
		if (t->labels[i] < ROW_HITS_MIN)
			fail_msg("label %s was set %zu times", ladders[i].name, t->labels[i]);
}

static void the_order_of_keys_and_labels_does_not_matter(void **state)
{
	uint32_t seed = 7;
	struct tally tally = { 0 };

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		auto_members struct members attributes = { 0 }, labels = { 0 };
		auto_free char *before = NULL;
		bool is_good = coin(&seed), are_labels_good = is_good && coin(&seed);
		struct scene scene = scene_random(is_good, &seed);
		enum outcome outcome = OUTCOMES;

		attributes_random(&attributes, is_good, &seed);
		labels_random(&labels, are_labels_good, &seed);
		for (size_t pass = 0; pass < 3; pass++) {
			auto_findings struct tl_findings findings = { 0 };
			auto_free char *text = members_text(&attributes);
			auto_free char *labels_text = members_text(&labels), *after = NULL;
			uint32_t keys_set = 0;
			enum outcome got = judged(text, labels_text, &scene, &findings, &keys_set);

			after = findings_text(&findings);
			if (pass) {
				assert_string_equal(after, before);
				assert_int_equal(got, outcome);
			} else {
				findings_assert_known(&findings);
				tally_count(&tally, got, keys_set, &labels);
				before = take_ptr(after);
				outcome = got;
			}
			members_shuffle(&attributes, &seed);
			members_shuffle(&labels, &seed);
		}
	}
	tally_check(&tally);
}

static size_t forbidding(const struct tl_findings *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += !f->items[i].is_warning;
	return n;
}

/* The outcome under labels on these rungs, and how many findings forbid. */
static enum outcome on_rungs(const char *attributes, const unsigned int *rungs,
			     bool is_old_monitoring, const struct scene *scene, size_t *ret_n)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_members struct members labels = { 0 };
	auto_free char *text = NULL;
	enum outcome ret;

	labels_write(&labels, rungs, is_old_monitoring);
	text = members_text(&labels);
	ret = judged(attributes, text, scene, &findings, NULL);
	*ret_n = forbidding(&findings);
	return ret;
}

static void tightening_a_label_never_allows_more(void **state)
{
	uint32_t seed = 20240601;
	size_t tightened[LADDERS] = { 0 }, n_allowed = 0, n_turned = 0;

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		auto_members struct members attributes = { 0 };
		auto_free char *text = NULL;
		struct scene scene = scene_random(true, &seed);
		bool is_old = coin(&seed), is_good = next_random(&seed) % 8;
		unsigned int rungs[LADDERS] = { 0 };
		size_t which = next_random(&seed) % LADDERS, n_before, n_after;
		enum outcome before, after;

		attributes_random(&attributes, is_good, &seed);
		text = members_text(&attributes);
		for (size_t i = 0; i < LADDERS; i++)
			if (i == which || next_random(&seed) % 4 == 0)
				rungs[i] = next_random(&seed) % (unsigned int)(ladders[i].n - 1);
		before = on_rungs(text, rungs, is_old, &scene, &n_before);
		rungs[which]++;
		after = on_rungs(text, rungs, is_old, &scene, &n_after);
		if (after < before || n_after < n_before)
			fail_msg("tightening %s allowed more in round %zu: %s", ladders[which].name,
				 round, text);
		n_allowed += before == ALLOW;
		n_turned += before == ALLOW && after != ALLOW;
		tightened[which] += before == ALLOW && after != ALLOW;
	}
	/* The property would hold of a function that denies all, or allows all. */
	print_message("%zu allowed before, %zu of them not after\n", n_allowed, n_turned);
	assert_in_range(n_allowed, ROUNDS / 10, ROUNDS * 9 / 10);
	for (size_t i = 0; i < LADDERS; i++)
		if (!tightened[i])
			fail_msg("tightening %s has never turned a verdict", ladders[i].name);
}

/* In every vector, every value that may be secret is replaced by a canary; the image allows
 * nothing, so that all there is to be said is said. */
static void canary_assert(json_t *doc)
{
	const struct tl_launch_policy nothing = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_verdict_input in = { .spec = &spec, .policies = &nothing, .n_policies = 1 };
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

/* The attributes that ask for the spec of a policy vector; the caller frees them. */
static char *attributes_of(const json_t *spec)
{
	json_auto_t *doc = json_pack("{ss}", "tee-image-reference", "h.example/p:t");
	const json_t *cmd = json_object_get(spec, "cmd"), *env;
	size_t i;

	json_array_foreach(json_object_get(spec, "envs"), i, env)
	{
		char name[64];

		snprintf(name, sizeof(name), "tee-env-%s", member(env, "name"));
		json_object_set(doc, name, json_object_get(env, "value"));
	}
	if (cmd) {
		auto_free char *text = json_dumps(cmd, JSON_ENCODE_ANY);

		json_object_set_new(doc, "tee-cmd", json_string(text));
	}
	if (member(spec, "log_redirect"))
		json_object_set(doc, "tee-container-log-redirect",
				json_object_get(spec, "log_redirect"));
	if (member(spec, "monitoring"))
		json_object_set(doc, "tee-monitoring-enable", json_object_get(spec, "monitoring"));
	return json_dumps(doc, 0);
}

/* In processor time, which other programs on the machine don't lengthen. */
static void all_vectors_are_judged_in_less_than_a_second(void **state)
{
	const struct scene scene = { .mem_kb = 1000000 };
	clock_t begun, took = 0;
	size_t i, n = 0;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("spec-parse", cases, i, item)
	{
		auto_findings struct tl_findings findings = { 0 };
		const char *text = member(item, "attributes");

		begun = clock();
		judged(text ? text : "\xff", "{}", &scene, &findings, NULL);
		took += clock() - begun;
		n++;
	}
	VECTORS_FOREACH("policy-verify", cases, i, item)
	{
		auto_findings struct tl_findings findings = { 0 };
		auto_free char *text = attributes_of(json_object_get(item, "spec"));
		auto_free char *labels = json_dumps(json_object_get(item, "labels"), 0);

		begun = clock();
		judged(text, labels, &scene, &findings, NULL);
		took += clock() - begun;
		n++;
	}
	print_message("%zu vectors judged in %.1f ms\n", n, (double)took * 1e3 / CLOCKS_PER_SEC);
	assert_int_equal(n, 225);
	assert_true(took < CLOCKS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_category_is_in_the_contract_or_explained),
		cmocka_unit_test(every_row_of_the_tables_is_generated),
		cmocka_unit_test(the_order_of_keys_and_labels_does_not_matter),
		cmocka_unit_test(tightening_a_label_never_allows_more),
		cmocka_unit_test(no_message_holds_a_secret),
		cmocka_unit_test(all_vectors_are_judged_in_less_than_a_second),
	};

	return cmocka_run_group_tests_name("policy_properties", tests, NULL, NULL);
}
