/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include <errno.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_config.h>
#include <teelaunch/image_ref.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void a_reference_is_taken_apart(void **state)
{
	static const struct {
		const char *text, *host, *path, *tag, *digest;
	} cases[] = {
		{ "docker.io/library/hello-world:latest", "docker.io", "library/hello-world",
		  "latest", NULL },
		{ "127.0.0.1:5000/demo/hello:1", "127.0.0.1:5000", "demo/hello", "1", NULL },
		{ "[::1]:5000/a:b", "[::1]:5000", "a", "b", NULL },
		{ "[::1]/a:b", "[::1]", "a", "b", NULL },
		{ "localhost/a-b/c__d.e_f--g:T_x.y-1", "localhost", "a-b/c__d.e_f--g", "T_x.y-1",
		  NULL },
		{ "gcr.io/p@sha256:" HEX64, "gcr.io", "p", NULL, "sha256:" HEX64 },
		{ "gcr.io/p:t@sha256:" HEX64, "gcr.io", "p", "t", "sha256:" HEX64 },
		{ "gcr.io/p@sha512:" HEX64 HEX64, "gcr.io", "p", NULL, "sha512:" HEX64 HEX64 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_image_ref struct tl_image_ref ref = { 0 };
		struct tl_error err = { 0 };

		if (tl_image_ref_parse(cases[i].text, &ref, &err))
			fail_msg("%s: %s", cases[i].text, err.msg);
		assert_string_equal(ref.text, cases[i].text);
		assert_string_equal(ref.host, cases[i].host);
		assert_string_equal(ref.path, cases[i].path);
		assert_string_equal(ref.tag ? ref.tag : "-", cases[i].tag ? cases[i].tag : "-");
		assert_string_equal(ref.digest ? ref.digest : "-",
				    cases[i].digest ? cases[i].digest : "-");
	}
}

static void credentials_in_a_reference_are_not_shown(void **state)
{
	static const char *const cases[][2] = {
		{ "joe:pw@h/p:t", "[REDACTED]@h/p:t" },
		{ "https://joe:pw@h/p:t", "https://[REDACTED]@h/p:t" },
		{ "joe:p@w@h/p@sha256:" HEX64, "[REDACTED]@h/p@sha256:" HEX64 },
		{ "joe:pw@", "[REDACTED]@" },
		{ "joe@sha256:x@h/p:t", "[REDACTED]@h/p:t" },
		{ "h/p:t@sha512:x", "h/p:t@sha512:x" },
		{ "h/p:t", "h/p:t" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_free char *shown = tl_image_ref_shown(cases[i][0]);

		assert_string_equal(shown, cases[i][1]);
	}
}

static void a_reference_that_lacks_something_is_refused_without_repeating_it(void **state)
{
	static const char *const cases[] = {
		"",
		"nginx",
		"nginx:1",
		"docker.io/library/nginx",
		"https://h/p:t",
		"/p:t",
		"h/:t",
		"h/p:",
		"h/p@",
		"h/p@sha256:",
		"h/p@sha256:" HEX64 "0",
		"h/p@md5:" HEX64,
		"h/p@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"user:secret@h/p:t",
		"h:/p:t",
		"h:0/p:t",
		"h:65536/p:t",
		"h:x/p:t",
		"h h/p:t",
		" h/p:t",
		"h/p:t ",
		"h/P:t",
		"h/p//q:t",
		"h/p/:t",
		"h/.p:t",
		"h/p.:t",
		"h/p___q:t",
		"h/p..q:t",
		"h/p:.t",
		"h/p:-t",
		"h/p:a:b",
		"h/p@sha256:" HEX64 ":t",
		"h/p:t\n",
		"h/p\x01:t",
		"h/\xc3\xa9:t",
		"h/../p:t",
		"-h/p:t",
		".h/p:t",
		"h-/p:t",
		"[x]/p:t",
		"[::1/p:t",
		"[]/p:t",
		"h/p:t?x=1",
		"h/p:t#x",
		"h/p:" HEX64 HEX64 "0",
		"h/p-:t",
		"h/p_:t",
		"h/p__:t",
		"h/p--:t",
		"[::1x]/p:t",
		"[::1]x/p:t",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tl_image_ref ref = { .tag = (char *)(uintptr_t) "untouched" };
		struct tl_error err = { 0 };

		if (tl_image_ref_parse(cases[i], &ref, &err) != -EINVAL)
			fail_msg("accepted '%s'", cases[i]);
		assert_string_equal(ref.tag, "untouched");
		assert_int_equal(err.code, TL_E_IMAGE_REF);
		assert_int_equal(err.class, TL_DENIED);
		assert_null(strstr(err.msg, "secret"));
	}
}

static void a_reference_is_bounded(void **state)
{
	char text[TL_IMAGE_REF_BYTES_MAX + 2];

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "h/", 2);
	memcpy(text + TL_IMAGE_REF_BYTES_MAX - 2, ":t", 3);
	{
		auto_image_ref struct tl_image_ref ref = { 0 };

		assert_int_equal(tl_image_ref_parse(text, &ref, NULL), 0);
	}
	memcpy(text + TL_IMAGE_REF_BYTES_MAX - 2, "a:t", 4);
	assert_int_equal(tl_image_ref_parse(text, &(struct tl_image_ref){ 0 }, NULL), -EINVAL);
	tl_image_ref_done(NULL);
	tl_image_config_done(NULL);
}

static const char full[] =
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"variant\":\"v2\",\"created\":\"x\","
	"\"config\":{\"User\":\"1:2\",\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},"
	"\"Env\":[\"B=2\",\"A=1\"],\"Entrypoint\":[\"/e\"],\"Cmd\":[\"c\",\"\"],"
	"\"WorkingDir\":\"/w\",\"Labels\":{\"z\":\"1\",\"a\":\"\"},\"Volumes\":null},"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:1\",\"sha256:0\"]},"
	"\"history\":[{\"empty_layer\":true}]}";

static void an_image_configuration_is_read(void **state)
{
	auto_image_config struct tl_image_config c = { 0 };

	(void)state;
	assert_int_equal(tl_image_config_parse(full, strlen(full), &c, NULL), 0);
	assert_string_equal(c.architecture, "amd64");
	assert_string_equal(c.os, "linux");
	assert_string_equal(c.variant, "v2");
	assert_string_equal(c.user, "1:2");
	assert_string_equal(c.working_dir, "/w");
	assert_int_equal(c.env.n, 2);
	assert_string_equal(c.env.items[0], "B=2");
	assert_string_equal(c.entrypoint.items[0], "/e");
	assert_int_equal(c.cmd.n, 2);
	assert_string_equal(c.cmd.items[1], "");
	assert_string_equal(c.exposed_ports.items[0], "53/udp");
	assert_string_equal(c.exposed_ports.items[1], "80/tcp");
	assert_string_equal(c.labels.items[0].key, "a");
	assert_string_equal(tl_kvs_get(&c.labels, "z"), "1");
	assert_string_equal(c.diff_ids.items[1], "sha256:0");
}

static void a_health_check_is_read(void **state)
{
	static const char text[] =
		"{\"config\":{\"Healthcheck\":{\"Test\":[\"CMD\",\"/check\"],\"Interval\":1,"
		"\"Timeout\":2,\"StartPeriod\":3,\"StartInterval\":4,\"Retries\":5}}}";
	auto_image_config struct tl_image_config c = { 0 };
	const struct tl_healthcheck *h = &c.healthcheck;

	(void)state;
	assert_int_equal(tl_image_config_parse(text, strlen(text), &c, NULL), 0);
	assert_int_equal(h->test.n, 2);
	assert_string_equal(h->test.items[1], "/check");
	assert_int_equal(h->interval_ns, 1);
	assert_int_equal(h->timeout_ns, 2);
	assert_int_equal(h->start_period_ns, 3);
	assert_int_equal(h->start_interval_ns, 4);
	assert_int_equal(h->retries, 5);
}

static void an_empty_image_configuration_has_empty_fields(void **state)
{
	static const char *const texts[] = {
		"{}", "{\"config\":null}",
		"{\"config\":{\"Env\":[],\"User\":null,\"Labels\":{},\"ExposedPorts\":{}}}"
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		auto_image_config struct tl_image_config c = { 0 };

		assert_int_equal(tl_image_config_parse(texts[i], strlen(texts[i]), &c, NULL), 0);
		assert_string_equal(c.user, "");
		assert_string_equal(c.os, "");
		assert_int_equal(c.env.n, 0);
	}
}

static void an_image_configuration_two_readers_could_take_differently_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"null",
		"[]",
		"{",
		"{} x",
		"{\"os\":1}",
		"{\"os\":\"a\",\"os\":\"b\"}",
		"{\"OS\":\"linux\"}",
		"{\"config\":{\"CMD\":[]}}",
		"{\"config\":[]}",
		"{\"rootfs\":1}",
		"{\"config\":{\"Env\":[1]}}",
		"{\"config\":{\"Env\":[null]}}",
		"{\"config\":{\"Env\":{}}}",
		"{\"config\":{\"Env\":[\"SECRET=\\u0000\"]}}",
		"{\"config\":{\"Labels\":{\"a\":1}}}",
		"{\"config\":{\"Labels\":[]}}",
		"{\"config\":{\"Labels\":{\"a\":\"1\",\"a\":\"2\"}}}",
		"{\"config\":{\"ExposedPorts\":[]}}",
		"{\"config\":{\"User\":\"SECRET\\u0000\"}}",
		"{\"config\":{\"Healthcheck\":[]}}",
		"{\"config\":{\"healthcheck\":{}}}",
		"{\"config\":{\"Healthcheck\":{\"test\":[]}}}",
		"{\"config\":{\"Healthcheck\":{\"Test\":\"CMD SECRET\"}}}",
		"{\"config\":{\"Healthcheck\":{\"Test\":[\"CMD\",1]}}}",
		"{\"config\":{\"Healthcheck\":{\"Interval\":-1}}}",
		"{\"config\":{\"Healthcheck\":{\"Interval\":1.5}}}",
		"{\"config\":{\"Healthcheck\":{\"Timeout\":\"30s\"}}}",
		"{\"config\":{\"Healthcheck\":{\"Retries\":9223372036854775808}}}",
		"{\"os\":\"\xff\"}",
		"{\"os\":\"SECRET}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct tl_image_config c = { .os = (char *)(uintptr_t) "untouched" };
		struct tl_error err = { 0 };

		if (tl_image_config_parse(texts[i], strlen(texts[i]), &c, &err) != -EINVAL)
			fail_msg("accepted %s", texts[i]);
		assert_string_equal(c.os, "untouched");
		assert_int_equal(err.code, TL_E_IMAGE_CONFIG);
		assert_null(strstr(err.msg, "SECRET"));
	}
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

static void limit_assert(char *consume_text, int want)
{
	auto_image_config struct tl_image_config c = { 0 };

	assert_int_equal(tl_image_config_parse(consume_text, strlen(consume_text), &c, NULL), want);
	free(consume_text);
}

static void every_limit_of_an_image_configuration_is_exact(void **state)
{
	(void)state;
	limit_assert(repeated("{}", " ", TL_IMAGE_CONFIG_BYTES_MAX - 2, ""), 0);
	limit_assert(repeated("{}", " ", TL_IMAGE_CONFIG_BYTES_MAX - 1, ""), -EINVAL);
	limit_assert(repeated("{\"config\":{\"Env\":[\"\"", ",\"\"", 4095, "]}}"), 0);
	limit_assert(repeated("{\"config\":{\"Env\":[\"\"", ",\"\"", 4096, "]}}"), -EINVAL);
	limit_assert(
		repeated("{\"x\":\"[[\\\"\",\"y\":", "[", 31, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"),
		0);
	limit_assert(repeated("{\"x\":", "[", 32, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"), -EINVAL);
	limit_assert(repeated("", "[", 4000000, ""), -EINVAL);
}

static void maps_are_bounded(void **state)
{
	static const char *const fields[] = { "Labels", "ExposedPorts" };

	(void)state;
	for (size_t f = 0; f < 2; f++)
		for (size_t n = 4096; n <= 4097; n++) {
			json_t *map = json_object();
			json_auto_t *doc = json_pack("{s{so}}", "config", fields[f], map);

			for (size_t i = 0; i < n; i++) {
				char key[16];

				snprintf(key, sizeof(key), "k%zu", i);
				json_object_set_new(map, key, json_string(""));
			}
			limit_assert(json_dumps(doc, 0), n > 4096 ? -EINVAL : 0);
		}
}

static void labels_are_read_from_an_object_of_strings(void **state)
{
	static const char text[] = "{\"b\":\"2\",\"a\":\"1\"}";
	auto_kvs struct tl_kvs labels = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_labels_parse(text, strlen(text), &labels, NULL), 0);
	assert_int_equal(labels.n, 2);
	assert_string_equal(labels.items[0].key, "a");
	assert_int_equal(tl_labels_parse("{\"a\":null}", 10, &labels, &err), -EINVAL);
	assert_string_equal(err.msg, "labels: 'a' is not a string");
	assert_int_equal(tl_labels_parse("{", 1, &labels, &err), -EINVAL);
	assert_int_equal(labels.n, 2);
}

static void every_port_vector_holds(void **state)
{
	size_t i;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("port-spec", cases, i, item)
	{
		const json_t *expect = json_object_get(item, "expect");
		struct tl_port port = { .number = 7 };
		char number[8];
		enum tl_port_fault fault = tl_port_parse(member(item, "exposed_port"), &port);
		const char *category = tl_port_fault_category(fault);

		if (json_is_true(json_object_get(expect, "ok"))) {
			assert_int_equal(fault, TL_PORT_OK);
			snprintf(number, sizeof(number), "%u", port.number);
			assert_string_equal(number, member(expect, "port"));
			assert_int_equal(port.is_udp, member(expect, "protocol")[0] == 'u');
			continue;
		}
		if (!category || strcmp(category, member(expect, "category")))
			fail_msg("%s: got %s", member(item, "id"), category);
		assert_int_equal(port.number, 7);
	}
}

static void ports_cover_sixteen_bits_and_leading_zeros(void **state)
{
	struct tl_port port;

	(void)state;
	assert_int_equal(tl_port_parse("65535/udp", &port), TL_PORT_OK);
	assert_int_equal(port.number, 65535);
	assert_true(port.is_udp);
	assert_int_equal(tl_port_parse("0/tcp", &port), TL_PORT_OK);
	assert_int_equal(tl_port_parse("000000080/tcp", &port), TL_PORT_OK);
	assert_int_equal(port.number, 80);
	assert_false(port.is_udp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reference_is_taken_apart),
		cmocka_unit_test(credentials_in_a_reference_are_not_shown),
		cmocka_unit_test(a_reference_that_lacks_something_is_refused_without_repeating_it),
		cmocka_unit_test(a_reference_is_bounded),
		cmocka_unit_test(an_image_configuration_is_read),
		cmocka_unit_test(a_health_check_is_read),
		cmocka_unit_test(an_empty_image_configuration_has_empty_fields),
		cmocka_unit_test(
			an_image_configuration_two_readers_could_take_differently_is_refused),
		cmocka_unit_test(every_limit_of_an_image_configuration_is_exact),
		cmocka_unit_test(maps_are_bounded),
		cmocka_unit_test(labels_are_read_from_an_object_of_strings),
		cmocka_unit_test(every_port_vector_holds),
		cmocka_unit_test(ports_cover_sixteen_bits_and_leading_zeros),
	};

	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
