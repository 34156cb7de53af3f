/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of policy/ fails once: each call must then say -ENOMEM, leave its output alone
 * and give back what it had (the sanitizers watch that). The linker's --wrap puts the functions
 * below in the way. jansson's own allocations fail in a test of their own: it takes some for syntax
 * errors, which refuse the launch as well.
 */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/env_names.h>
#include <teelaunch/image_ref.h>
#include <teelaunch/launch_record.h>
#include <teelaunch/verdict.h>

/* The allocation that fails, counted down; 0: none does. */
static size_t fail_at;
static bool is_realloc; /* the one that did */

static bool fails_now(void)
{
	return fail_at && --fail_at == 0;
}

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
	return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	if (!fails_now())
		return __real_realloc(p, n);
	is_realloc = true;
	return NULL;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails_now() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails_now() ? NULL : __real_strndup(s, n);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	return fails_now() ? -1 : __real_vasprintf(ret, fmt, ap);
}

int __wrap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = fails_now() ? -1 : __real_vasprintf(ret, fmt, ap);
	va_end(ap);
	return n;
}

#define ATTEMPTS_MAX 2000

/* Calls @call with the 1st, 2nd, ... allocation failing until it gets through; -> its result. */
static int every_allocation_fails(int (*call)(void))
{
	for (size_t i = 1; i < ATTEMPTS_MAX; i++) {
		int r;

		fail_at = i;
		is_realloc = false;
		r = call();
		if (fail_at) {
			fail_at = 0;
			assert_true(i > 2);
			return r;
		}
		/* A shrinking realloc may fail without harm. */
		if (r != -ENOMEM && !(is_realloc && r == call()))
			fail_msg("allocation %zu: got %d", i, r);
	}
	fail_msg("it never got through");
	return 0;
}

static const char good[] =
	"{\"tee-image-reference\":\"h/p:t\",\"tee-cmd\":\"[\\\"a\\\",null]\",\"tee-env-A\":\"1\","
	"\"tee-env-B\":\"2\",\"tee-env-1\":\"3\",\"tee-mount\":\"type=tmpfs,source=tmpfs,"
	"destination=/a;type=tmpfs,"
	"source=tmpfs,destination=/proc;type=tmpfs,source=tmpfs,destination=/"
	"b\",\"tee-signed-image-repos\":\"a,b \",\"ita-region\":\"U\","
	"\"ita-api-key\":\"k\",\"tee-added-capabilities\":\"[\\\"C\\\"]\",\"tee-enw\":\"\\ud800\","
	"\"tee-restart-polcy\":\"1\"}";

static int call_spec_good(void)
{
	struct tl_launch_spec spec = { .dev_shm_size_kb = 4711 };
	auto_findings struct tl_findings findings = { 0 };
	int r = tl_launch_spec_parse(good, strlen(good), NULL, &spec, &findings);

	if (r == 0)
		tl_launch_spec_done(&spec);
	else
		assert_true(spec.dev_shm_size_kb == 4711 && !spec.image_ref);
	return r;
}

static int call_spec_bad(void)
{
	static const char bad[] =
		"{\"tee-image-reference\":\"nginx\",\"tee-cmd\":\"x\",\"tee-env-A\":\"\\u0000\","
		"\"tee-mount\":\"type=tmpfs,source=s,destination=/"
		"a,size=x;q;type=bind\",\"ita-region\":"
		"\"U\",\"zoo\":1,\"tee-restart-policy\":\"x\"}";
	static const struct tl_machine_facts facts = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	int r = tl_launch_spec_read(bad, strlen(bad), NULL, &spec, &findings);

	if (r < 0)
		assert_null(spec.image_ref);
	return r < 0 ? r : tl_spec_check(&spec, &facts, &findings);
}

static int call_policy(void)
{
	auto_kvs struct tl_kvs labels = { 0 };
	struct tl_launch_policy policy = { .origin = "untouched" };
	auto_findings struct tl_findings findings = { 0 };
	int r = tl_kvs_add(&labels, TL_LABEL_PREFIX "allow_env_override", "A, B");

	if (!r)
		r = tl_kvs_add(&labels, TL_LABEL_PREFIX "allow_mount_destinations", "/a/../b:c");
	if (!r)
		r = tl_kvs_add(&labels, TL_LABEL_PREFIX "log_redirect", " Never ");
	if (!r)
		r = tl_kvs_add(&labels, TL_LABEL_PREFIX "monitoring_memory_allow", "always");
	if (!r)
		r = tl_kvs_add(&labels, TL_LABEL_PREFIX "allow_cgroup", "1");
	if (!r)
		r = tl_launch_policy_parse(&labels, &policy, &findings);
	if (r == 0)
		tl_launch_policy_done(&policy);
	else
		assert_string_equal(policy.origin, "untouched");
	return r;
}

static int call_verdict(void)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_policy policy = { .origin = "test" };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };
	auto_image_config struct tl_image_config image = { 0 };
	const struct tl_strv none = { 0 };
	const struct tl_machine_facts facts = { .features = 0, .capabilities = &none };
	int r = tl_launch_spec_parse(good, strlen(good), NULL, &spec, &findings);

	in.image = &image;
	for (size_t i = 0; !r && i < 2; i++)
		r = tl_strv_add(&image.env, "no equals") ?: tl_strv_add(&image.exposed_ports, "x");
	/* As only a caller other than the parser would have it: "/a" becomes "//". */
	if (!r)
		spec.mounts.items[0].destination[1] = '/';
	if (!r)
		r = tl_verdict(&in, &findings);
	if (r == -EPERM)
		r = tl_machine_check(&spec, &facts, &findings);
	return r;
}

static int call_image_config(void)
{
	static const char text[] =
		"{\"os\":\"l\",\"config\":{\"Env\":[\"A=1\"],\"Labels\":{\"a\":\"1\"},"
		"\"ExposedPorts\":{\"80/"
		"tcp\":{}},\"User\":\"u\"},\"rootfs\":{\"diff_ids\":[\"x\"]}}";
	struct tl_image_config config = { .os = (char *)(uintptr_t) "untouched" };
	struct tl_error err = { 0 };
	int r = tl_image_config_parse(text, strlen(text), &config, &err);

	if (r == 0) {
		tl_image_config_done(&config);
		return r;
	}
	assert_string_equal(config.os, "untouched");
	if (r == -ENOMEM)
		assert_int_equal(err.code, TL_E_NO_MEMORY);
	assert_int_equal(err.class, r == -ENOMEM ? TL_RETRY : TL_DENIED);
	return r;
}

static int call_image_ref(void)
{
	struct tl_image_ref ref = { .tag = (char *)(uintptr_t) "untouched" };
	int r = tl_image_ref_parse("h/p:t@sha256:0123456789abcdef0123456789abcdef"
				   "0123456789abcdef0123456789abcdef",
				   &ref, NULL);

	if (r == 0)
		tl_image_ref_done(&ref);
	else
		assert_string_equal(ref.tag, "untouched");
	return r;
}

static int call_image_ref_shown(void)
{
	auto_free char *plain = tl_image_ref_shown("h/p:t");
	auto_free char *hidden = plain ? tl_image_ref_shown("joe:pw@h/p:t") : NULL;

	return hidden ? 0 : -ENOMEM;
}

static int call_merge(void)
{
	auto_strv struct tl_strv image = { 0 }, env = { 0 };
	auto_kvs struct tl_kvs overrides = { 0 };
	int r = tl_strv_add(&image, "A=1");

	if (!r)
		r = tl_kvs_add(&overrides, "A", "2");
	return r ? r : tl_env_merge(&image, &overrides, "host", &env);
}

static int call_disk_space(void)
{
	auto_findings struct tl_findings findings = { 0 };

	return tl_disk_space_check(2, 1, &findings);
}

static char a_repo[] = "u:p@h.example/p";

static int call_record(void)
{
	char *repos[] = { a_repo, a_repo };
	const struct tl_launch_spec spec = {
		.is_cgroup_ns = true, .signed_image_repos = { repos, TL_ARRAY_SIZE(repos) }
	};
	const struct tl_launch_record_facts facts = { .spec = &spec };
	auto_buf struct tl_buf text = { 0 };

	tl_buf_init(&text, TL_LAUNCH_RECORD_BYTES_MAX);
	return tl_launch_record_build(&facts, &text, NULL);
}

static void any_allocation_may_fail(void **state)
{
	(void)state;
	assert_int_equal(every_allocation_fails(call_spec_good), 0);
	assert_int_equal(every_allocation_fails(call_spec_bad), -EPERM);
	assert_int_equal(every_allocation_fails(call_policy), 0);
	assert_int_equal(every_allocation_fails(call_verdict), -EPERM);
	assert_int_equal(every_allocation_fails(call_image_config), 0);
	assert_int_equal(every_allocation_fails(call_image_ref), 0);
	assert_int_equal(every_allocation_fails(call_image_ref_shown), 0);
	assert_int_equal(every_allocation_fails(call_merge), 0);
	assert_int_equal(every_allocation_fails(call_disk_space), -EPERM);
	assert_int_equal(every_allocation_fails(call_record), 0);
}

/* jansson's allocations, counted down like ours. */
static size_t json_fail_at;

static void *json_malloc_failing(size_t n)
{
	return json_fail_at && --json_fail_at == 0 ? NULL : __real_malloc(n);
}

/* Where jansson can't tell "no memory" from "no JSON", the document is refused: never accepted. */
static void any_allocation_of_the_json_library_may_fail(void **state)
{
	int (*const calls[])(void) = { call_spec_good, call_image_config };
	size_t n_no_memory = 0;

	(void)state;
	json_set_alloc_funcs(json_malloc_failing, free);
	for (size_t k = 0; k < sizeof(calls) / sizeof(calls[0]); k++)
		for (size_t i = 1;; i++) {
			int r;

			json_fail_at = i;
			r = calls[k]();
			if (json_fail_at) {
				assert_int_equal(r, 0);
				assert_true(i > 10);
				json_fail_at = 0;
				break;
			}
			assert_true(r == -ENOMEM || r == -EINVAL);
			n_no_memory += r == -ENOMEM;
		}
	json_set_alloc_funcs(malloc, free);
	assert_true(n_no_memory > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(any_allocation_may_fail),
					    cmocka_unit_test(
						    any_allocation_of_the_json_library_may_fail) };

	return cmocka_run_group_tests_name("no_memory", tests, NULL, NULL);
}
