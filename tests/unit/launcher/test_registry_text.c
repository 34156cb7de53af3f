/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry's names, challenges and URLs mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "launcher/image/registry_host.h"
#include "launcher/image/url.h"
#include "launcher/image/www_authenticate.h"

static const char *text_of(const json_t *c, const char *key)
{
	const char *s = json_string_value(json_object_get(c, key));

	assert_non_null(s);
	return s;
}

static bool flag_of(const json_t *c, const char *key)
{
	assert_true(json_is_boolean(json_object_get(c, key)));
	return json_is_true(json_object_get(c, key));
}

/* What we do instead where the reference has a quirk (contract.md, quirk 40); NULL = as it does. */
static const json_t *fix_find(const json_t *quirks, const char *id)
{
	for (size_t i = 0; i < json_array_size(quirks); i++) {
		const json_t *q = json_array_get(quirks, i);

		if (strcmp(text_of(q, "file"), "registry-hosts") == 0 &&
		    strcmp(text_of(q, "id"), id) == 0)
			return json_object_get(q, "expect");
	}
	return NULL;
}

static void check_host(const json_t *c, const json_t *fix)
{
	const json_t *want = fix ? fix : c;
	struct registry_host h = { 0 };
	struct tl_error err = { 0 };

	/* A fix that agrees with the reference is none. */
	if (fix)
		assert_true(flag_of(c, "sends_token") != flag_of(fix, "sends_token") ||
			    flag_of(c, "pinned_roots") != flag_of(fix, "pinned_roots"));
	if (registry_host_parse(text_of(c, "host"), &h, &err) < 0)
		fail_msg("%s: %s", text_of(c, "id"), err.msg);
	assert_string_equal(h.authority, text_of(want, "request_host"));
	if (h.is_token_offered != flag_of(want, "sends_token") ||
	    h.is_pinned_to_google != flag_of(want, "pinned_roots"))
		fail_msg("%s: token %d roots %d", text_of(c, "id"), h.is_token_offered,
			 h.is_pinned_to_google);
}

static void the_vectors_of_registry_hosts_hold(void **state)
{
	json_t *root = json_load_file(TL_VECTORS "/registry-hosts.json", 0, NULL);
	json_t *fixed = json_load_file(TL_VECTORS "/fixed-quirks.json", 0, NULL);
	json_t *cases = json_object_get(root, "cases"), *quirks = json_object_get(fixed, "cases");
	size_t fixed_n = 0;

	(void)state;
	assert_true(json_array_size(cases) >= 25);
	for (size_t i = 0; i < json_array_size(cases); i++) {
		const json_t *c = json_array_get(cases, i);
		const json_t *fix = fix_find(quirks, text_of(c, "id"));

		fixed_n += fix != NULL;
		check_host(c, fix);
	}
	assert_int_equal(fixed_n, 5);
	json_decref(fixed);
	json_decref(root);
}

static void hosts_that_only_look_like_googles_get_nothing(void **state)
{
	static const char *const hosts[] = {
		"gcr.io.evil.com",
		"evil-gcr.io",
		"xgcr.io",
		"docker.pkg.dev.evil.com",
		"evildocker.pkg.dev",
		"a.evildocker.pkg.dev",
		"pkg.dev.evil.com",
		"gcr-io",
		"[::1]:5000",
		"127.0.0.1:443",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(hosts); i++) {
		struct registry_host h;

		assert_int_equal(registry_host_parse(hosts[i], &h, NULL), 0);
		assert_false(h.is_token_offered);
		assert_false(h.is_pinned_to_google);
	}
}

static void names_that_are_no_hosts_are_refused(void **state)
{
	static const char *const hosts[] = {
		"",
		":443",
		"gcr.io:",
		"gcr.io:0",
		"gcr.io:65536",
		"gcr.io:+443",
		"gcr.io:443:1",
		"gcr.io.",
		".gcr.io",
		"gcr..io",
		"-a.io",
		"a-.io",
		"a b",
		"gcr.io\x01",
		"gcr.io/x",
		"u@gcr.io",
		"gcr.io%00",
		"g\xc3\xa7r.io",
		"[::1",
		"::1",
		"[gg::1]",
		"[]",
	};
	char longest[REGISTRY_HOST_BYTES_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (size_t i = 0; i <= TL_ARRAY_SIZE(hosts); i++) {
		const char *text = i < TL_ARRAY_SIZE(hosts) ? hosts[i] : longest;
		struct registry_host h = { .port = 7 };
		struct tl_error err = { 0 };

		if (registry_host_parse(text, &h, &err) != -EINVAL)
			fail_msg("'%s' was taken", text);
		assert_int_equal(err.code, TL_E_REGISTRY_HOST);
		assert_int_equal(h.port, 7);
	}
}

static void same_host_means_same_name_and_port(void **state)
{
	struct registry_host a, b;

	(void)state;
	assert_int_equal(registry_host_parse("GCR.io:443", &a, NULL), 0);
	assert_int_equal(registry_host_parse("gcr.io", &b, NULL), 0);
	assert_true(registry_host_equal(&a, &b));
	assert_int_equal(registry_host_parse("gcr.io:444", &b, NULL), 0);
	assert_false(registry_host_equal(&a, &b));
	assert_int_equal(registry_host_parse("us.gcr.io", &b, NULL), 0);
	assert_false(registry_host_equal(&a, &b));
}

static void challenges_are_read_as_rfc_9110_says(void **state)
{
	auto_challenges struct challenges v = { 0 };
	struct tl_error err = { 0 };
	const struct challenge *c;

	(void)state;
	assert_int_equal(
		challenges_parse("Negotiate YWJj==, basic Realm=\"a, \\\"b\\\"\" , "
				 "BEARER realm=\"https://auth.docker.io/token\","
				 "service=registry.docker.io,scope=\"repository:a/b:pull,push\","
				 "error=\"invalid_token\",other=x",
				 &v, &err),
		0);
	assert_int_equal(v.n, 3);
	assert_int_equal(v.items[0].scheme, AUTH_OTHER);
	assert_int_equal(v.items[1].scheme, AUTH_BASIC);
	assert_string_equal(v.items[1].realm, "a, \"b\"");
	c = challenges_best(&v);
	assert_ptr_equal(c, &v.items[2]);
	assert_string_equal(c->realm, "https://auth.docker.io/token");
	assert_string_equal(c->service, "registry.docker.io");
	assert_string_equal(c->scope, "repository:a/b:pull,push");
	assert_string_equal(c->error, "invalid_token");
	/* A second header line adds to the first. */
	assert_int_equal(challenges_parse("Basic realm=x", &v, &err), 0);
	assert_int_equal(v.n, 4);
}

static void a_bearer_challenge_without_a_realm_is_no_use(void **state)
{
	auto_challenges struct challenges v = { 0 };

	(void)state;
	assert_null(challenges_best(&v));
	assert_int_equal(challenges_parse("Bearer service=x", &v, NULL), 0);
	assert_null(challenges_best(&v));
	assert_int_equal(challenges_parse("Basic", &v, NULL), 0);
	assert_int_equal(challenges_best(&v)->scheme, AUTH_BASIC);
}

static void bad_challenges_are_refused_and_change_nothing(void **state)
{
	static const char *const bad[] = {
		"=",
		"Bearer realm=\"x",
		"Bearer realm=\"x\\",
		"Bearer realm=a realm=b",
		"Bearer realm=a,realm=b",
		"Bearer realm=a,Realm=b",
		"realm=a",
		"Bearer a b",
		"Bearer realm=\"a\nb\"",
		"Bearer realm=\"a\x7f\"",
		"Bearer a=b,realm=",
		"\"",
		"Bearer \"x\"",
		"a,a,a,a,a,a,a,a,a",
		"Bearer a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1",
	};
	char *longest = malloc(WWW_AUTHENTICATE_BYTES_MAX + 2);

	(void)state;
	assert_non_null(longest);
	memset(longest, 'a', WWW_AUTHENTICATE_BYTES_MAX + 1);
	longest[WWW_AUTHENTICATE_BYTES_MAX + 1] = '\0';
	for (size_t i = 0; i <= TL_ARRAY_SIZE(bad); i++) {
		const char *text = i < TL_ARRAY_SIZE(bad) ? bad[i] : longest;
		struct challenges v = { 0 };
		struct tl_error err = { 0 };

		if (challenges_parse(text, &v, &err) != -EINVAL)
			fail_msg("'%s' was taken", text);
		assert_int_equal(err.code, TL_E_REGISTRY_PROTOCOL);
		assert_int_equal(v.n, 0);
		assert_null(v.items[0].realm);
	}
	free(longest);
}

static void redirects_lead_where_rfc_3986_says(void **state)
{
	static const struct {
		const char *base, *location, *want; /* NULL: refused */
	} cases[] = {
		{ "https://a:5000/v2/x?q", "https://b/y?z#frag", "https://b/y?z" },
		{ "https://a:5000/v2/x?q", "//c:1/y", "https://c:1/y" },
		{ "https://a:5000/v2/x?q", "/y?z", "https://a:5000/y?z" },
		{ "https://a:5000/v2/x?q", "?z", "https://a:5000/v2/x?z" },
		{ "https://a", "/y", "https://a/y" },
		{ "https://a/v2/x", "http://b/y", NULL },
		{ "https://a/v2/x", "y", NULL },
		{ "https://a/v2/x", "", NULL },
		{ "https://a/v2/x", "https://u@b/y", NULL },
		{ "https://a/v2/x", "https://u:p@b/y", NULL },
		{ "https://a/v2/x", "https://b\\@c/y", NULL },
		{ "https://a/v2/x", "https://b/y z", NULL },
		{ "https://a/v2/x", "https:///y", NULL },
		{ "https://a/v2/x", "file:///etc/passwd", NULL },
		{ "https://a/v2/x", "https://b/\xc3\xa4", NULL },
		{ "https://a/v2/x", "https://b:x/y", NULL },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		auto_free char *got = NULL;
		struct tl_error err = { 0 };
		int r = url_redirect(cases[i].base, cases[i].location, &got, &err);

		if (cases[i].want) {
			assert_int_equal(r, 0);
			assert_string_equal(got, cases[i].want);
			continue;
		}
		if (r != -EINVAL)
			fail_msg("case %zu leads to %s", i, got);
		assert_int_equal(err.code, TL_E_REGISTRY_PROTOCOL);
		assert_null(got);
	}
}

static void a_url_gives_its_host_in_lower_case(void **state)
{
	struct registry_host h;

	(void)state;
	assert_int_equal(url_host("HTTPS://GCR.io:8443?x", &h, NULL), 0);
	assert_string_equal(h.authority, "gcr.io:8443");
	assert_true(h.is_token_offered);
}

static void encoding_leaves_unreserved_characters_alone(void **state)
{
	auto_buf struct tl_buf b = { 0 };

	(void)state;
	tl_buf_init(&b, 64);
	assert_int_equal(url_encode(&b, "a-Z_0.~ &=:/\xc3%"), 0);
	assert_string_equal(tl_buf_str(&b), "a-Z_0.~%20%26%3D%3A%2F%C3%25");
	assert_int_equal(url_encode(&b, "0123456789012345678901234567890123456789"), -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_registry_hosts_hold),
		cmocka_unit_test(hosts_that_only_look_like_googles_get_nothing),
		cmocka_unit_test(names_that_are_no_hosts_are_refused),
		cmocka_unit_test(same_host_means_same_name_and_port),
		cmocka_unit_test(challenges_are_read_as_rfc_9110_says),
		cmocka_unit_test(a_bearer_challenge_without_a_realm_is_no_use),
		cmocka_unit_test(bad_challenges_are_refused_and_change_nothing),
		cmocka_unit_test(redirects_lead_where_rfc_3986_says),
		cmocka_unit_test(a_url_gives_its_host_in_lower_case),
		cmocka_unit_test(encoding_leaves_unreserved_characters_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
