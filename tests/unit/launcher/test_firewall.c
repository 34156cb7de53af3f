/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <teelaunch/cleanup.h>

#include "launcher/firewall.h"

/* The elements of a set, as they stand in the rules; "" if it has none. */
static void elements(const char *rules, const char *set, char *ret, size_t n)
{
	char head[64];
	const char *from, *end, *list;

	snprintf(head, sizeof(head), "set %s {", set);
	from = strstr(rules, head);
	assert_non_null(from);
	end = strstr(from, "\t}\n");
	assert_non_null(end);
	list = strstr(from, "elements = { ");
	*ret = 0;
	if (list && list < end) {
		list += strlen("elements = { ");
		snprintf(ret, n, "%.*s", (int)(strstr(list, " }") - list), list);
	}
}

static void assert_rules(const char *const *keys, size_t n, const char *tcp, const char *udp)
{
	auto_strv struct tl_strv list = { 0 };
	auto_buf struct tl_buf rules = { 0 };
	const struct tl_strv *const open[] = { NULL, &list };
	struct tl_error err = { 0 };
	char found[256];

	for (size_t i = 0; i < n; i++)
		assert_int_equal(tl_strv_add(&list, keys[i]), 0);
	tl_buf_init(&rules, FIREWALL_RULES_BYTES_MAX);
	assert_int_equal(firewall_rules(open, 2, &rules, &err), 0);
	elements(tl_buf_str(&rules), "tcp_open", found, sizeof(found));
	assert_string_equal(found, tcp);
	elements(tl_buf_str(&rules), "udp_open", found, sizeof(found));
	assert_string_equal(found, udp);
	assert_non_null(strstr(tl_buf_str(&rules), "hook input priority filter; policy drop;"));
}

static void ports_become_elements_once_and_in_order(void **state)
{
	static const char *const keys[] = { "443/tcp", "80/tcp",    "080/tcp", "81/tcp",
					    "53/udp",  "65535/tcp", "0/udp" };

	(void)state;
	assert_rules(keys, 7, "80-81, 443, 65535", "0, 53");
	assert_rules(keys, 0, "", "");
	assert_rules(keys + 4, 1, "", "53");
}

/* All of one protocol is the longest run; every other one of both the longest text. */
static void the_largest_rule_sets_fit(void **state)
{
	auto_strv struct tl_strv all = { 0 }, odd = { 0 };
	const struct tl_strv *const sets[] = { &all, &odd };

	(void)state;
	for (unsigned int i = 0; i < 65536; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u/udp", i);
		assert_int_equal(tl_strv_add(&all, key), 0);
		snprintf(key, sizeof(key), "%u/%s", i, i % 2 ? "tcp" : "udp");
		assert_int_equal(tl_strv_add(&odd, key), 0);
	}
	for (size_t i = 0; i < 2; i++) {
		auto_buf struct tl_buf rules = { 0 };
		char found[64];

		tl_buf_init(&rules, FIREWALL_RULES_BYTES_MAX);
		assert_int_equal(firewall_rules(&sets[i], 1, &rules, NULL), 0);
		if (i == 0) {
			elements(tl_buf_str(&rules), "udp_open", found, sizeof(found));
			assert_string_equal(found, "0-65535");
		}
	}
}

/* TL_E_FIREWALL */
static void a_key_that_is_no_port_is_never_put_into_rules(void **state)
{
	static const char *const keys[] = {
		"80", "80/tcp }", "80/sctp", "65536/tcp", "", "1-2/tcp"
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(keys); i++) {
		auto_strv struct tl_strv list = { 0 };
		auto_buf struct tl_buf rules = { 0 };
		const struct tl_strv *const open[] = { &list };
		struct tl_error err = { 0 };

		assert_int_equal(tl_strv_add(&list, keys[i]), 0);
		tl_buf_init(&rules, FIREWALL_RULES_BYTES_MAX);
		assert_int_equal(firewall_rules(open, 1, &rules, &err), -EINVAL);
		assert_int_equal(err.code, TL_E_FIREWALL);
		assert_int_equal(rules.len_bytes, 0);
	}
}

static void the_unit_names_ports_in_a_list(void **state)
{
	static const char *const bad[] = {
		"", ",", "22", "22/tcp,", ",22/tcp", "22/tcp,,53/udp", "22/tcp 53/udp"
	};
	auto_strv struct tl_strv list = { 0 };
	auto_buf struct tl_buf many = { 0 };

	(void)state;
	assert_int_equal(firewall_list_parse("22/tcp,53/udp", &list), 0);
	assert_int_equal(list.n, 2);
	assert_string_equal(list.items[1], "53/udp");
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		struct tl_strv untouched = { .n = 7 };

		assert_int_equal(firewall_list_parse(bad[i], &untouched), -EINVAL);
		assert_int_equal(untouched.n, 7);
	}
	tl_buf_init(&many, 4096);
	for (size_t i = 0; i < FIREWALL_LIST_MAX; i++)
		assert_int_equal(tl_buf_append_str(&many, "1/tcp,"), 0);
	assert_int_equal(tl_buf_append_str(&many, "1/tcp"), 0);
	assert_int_equal(firewall_list_parse(tl_buf_str(&many), &list), -E2BIG);
}

/* The shared vectors of ExposedPorts: what the reference opens is open, and nothing else is. */
static void the_vectors_of_ports_are_opened_as_the_reference_opens_them(void **state)
{
	json_auto_t *file = json_load_file(TL_VECTORS "/port-spec.json", 0, NULL);
	size_t i, opened = 0;
	json_t *c;

	(void)state;
	json_array_foreach(json_object_get(file, "cases"), i, c)
	{
		const json_t *expect = json_object_get(c, "expect");
		const char *key = json_string_value(json_object_get(c, "exposed_port"));
		auto_strv struct tl_strv list = { 0 };
		auto_buf struct tl_buf rules = { 0 };
		const struct tl_strv *const open[] = { &list };
		char found[32], port[32] = "";
		int r;

		assert_int_equal(tl_strv_add(&list, key), 0);
		tl_buf_init(&rules, FIREWALL_RULES_BYTES_MAX);
		r = firewall_rules(open, 1, &rules, NULL);
		assert_int_equal(r == 0, json_is_true(json_object_get(expect, "ok")));
		if (r < 0)
			continue;
		snprintf(port, sizeof(port), "%s",
			 json_string_value(json_object_get(expect, "port")));
		snprintf(found, sizeof(found), "%s_open",
			 json_string_value(json_object_get(expect, "protocol")));
		elements(tl_buf_str(&rules), found, found, sizeof(found));
		assert_string_equal(found, port);
		opened++;
	}
	assert_true(i > 10 && opened > 0 && opened < i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_become_elements_once_and_in_order),
		cmocka_unit_test(the_largest_rule_sets_fit),
		cmocka_unit_test(a_key_that_is_no_port_is_never_put_into_rules),
		cmocka_unit_test(the_unit_names_ports_in_a_list),
		cmocka_unit_test(the_vectors_of_ports_are_opened_as_the_reference_opens_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
