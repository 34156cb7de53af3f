/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy/ allocates nothing for a key beyond what the spec holds of it. The linker's --wrap puts
 * the functions below in the way of every allocation of policy/ and core/; those of jansson, which
 * holds the document while it is read and is gone before the verdict, aren't counted.
 */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/verdict.h>

static struct {
	size_t calls; /* that got new memory */
	size_t grown; /* that made a block larger: one for each element of a list */
} counted;

/* The document is written anew for jansson into one buffer, which doubles when it is full. */
#define BUFFER_DOUBLED 1

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **ret, const char *fmt, va_list ap);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap);
int __wrap_asprintf(char **ret, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t n)
{
	counted.calls++;
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	counted.calls++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	counted.grown++;
	return __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	counted.grown++;
	return __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	counted.calls++;
	return __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	counted.calls++;
	return __real_strndup(s, n);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	counted.calls++;
	return __real_vasprintf(ret, fmt, ap);
}

int __wrap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	counted.calls++;
	va_start(ap, fmt);
	n = __real_vasprintf(ret, fmt, ap);
	va_end(ap);
	return n;
}

struct cost {
	size_t read, verdict; /* allocations */
};

/* @n times @unit, which gets its number, between braces */
static char *document(const char *unit, size_t n)
{
	size_t cap = 64 + n * (strlen(unit) + 24);
	char *text = malloc(cap), *at = text;

	at += snprintf(at, cap, "{\"tee-image-reference\":\"h.example/p:t\"");
	for (size_t i = 0; i < n; i++) {
		const char *percent = strstr(unit, "%zu");

		at += snprintf(at, cap - (size_t)(at - text), ",%.*s%zu%s", (int)(percent - unit),
			       unit, i, percent + strlen("%zu"));
	}
	snprintf(at, cap - (size_t)(at - text), "}");
	return text;
}

/* Of a launch that is allowed: what is wrong is told, and that takes memory for each reason. */
static struct cost cost_of(const char *unit, size_t n)
{
	static const struct tl_machine_facts facts = { .features = ~0u };
	auto_free char *text = document(unit, n);
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { .allow_cmd = true };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };
	struct cost ret;

	assert_int_equal(tl_strv_add(&policy.allow_mounts, "/"), 0);

	counted.calls = 0;
	assert_int_equal(tl_launch_spec_read(text, strlen(text), NULL, &spec, &findings), 0);
	ret.read = counted.calls;
	for (size_t i = 0; i < spec.envs.n; i++)
		assert_int_equal(tl_strv_add(&policy.allow_envs, spec.envs.items[i].key), 0);
	counted.calls = counted.grown = 0;
	assert_int_equal(tl_verdict(&in, &findings), 0);
	assert_int_equal(tl_machine_check(&spec, &facts, &findings), 0);
	ret.verdict = counted.calls + counted.grown;
	assert_int_equal(findings.n, 0);
	return ret;
}

static void a_variable_costs_its_name_and_its_value(void **state)
{
	struct cost one = cost_of("\"tee-env-V%zu\":\"v\"", 500);
	struct cost twice = cost_of("\"tee-env-V%zu\":\"v\"", 1000);

	(void)state;
	assert_int_equal(twice.read - one.read, 2 * 500 + BUFFER_DOUBLED);
	assert_int_equal(twice.verdict, one.verdict);
}

static void a_key_of_someone_else_costs_nothing(void **state)
{
	struct cost one = cost_of("\"startup-script-%zu\":\"v\"", 500);
	struct cost twice = cost_of("\"startup-script-%zu\":\"v\"", 1000);

	(void)state;
	assert_int_equal(twice.read - one.read, BUFFER_DOUBLED);
	assert_int_equal(twice.verdict, one.verdict);
}

/* The text of a key is read in place: however long it is, there are as many allocations. */
static void a_long_value_costs_no_more_than_a_short_one(void **state)
{
	auto_free char *value = malloc(100001), *unit = NULL;
	struct cost small = cost_of("\"tee-env-V%zu\":\"v\"", 1), large;

	(void)state;
	memset(value, 'v', 100000);
	value[100000] = '\0';
	assert_true(asprintf(&unit, "\"tee-env-V%%zu\":\"%s\"", value) > 0);
	large = cost_of(unit, 1);
	assert_in_range(large.read - small.read, 1, 17 * BUFFER_DOUBLED); /* 2^17 > 100000 */
	assert_int_equal(large.verdict, small.verdict);
}

/* Splitting and cleaning takes memory while a mount is read; judging it takes none. */
static void the_verdict_on_a_mount_costs_nothing(void **state)
{
	static const char many[] = "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/a%zu;"
				   "type=tmpfs,source=tmpfs,destination=b//c;"
				   "type=tmpfs,source=tmpfs,destination=/d/../e\"";
	static const char one[] = "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/a%zu\"";

	(void)state;
	assert_int_equal(cost_of(many, 1).verdict, cost_of(one, 1).verdict);
	assert_int_equal(cost_of(one, 1).verdict, cost_of("\"x%zu\":\"\"", 1).verdict);
}

static void the_counter_counts(void **state)
{
	size_t before = counted.calls;
	struct tl_strv list = { 0 };

	(void)state;
	tl_strv_add(&list, "x");
	assert_int_equal(counted.calls, before + 1);
	tl_strv_done(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_counter_counts),
		cmocka_unit_test(a_variable_costs_its_name_and_its_value),
		cmocka_unit_test(a_key_of_someone_else_costs_nothing),
		cmocka_unit_test(the_verdict_on_a_mount_costs_nothing),
		cmocka_unit_test(a_long_value_costs_no_more_than_a_short_one),
	};

	return cmocka_run_group_tests_name("allocations", tests, NULL, NULL);
}
