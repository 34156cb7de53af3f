/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JWTs, and the refresh schedule: the shared vectors, and hostile input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/jwt.h>

#include "attest/token_schedule.h"

#define POISON INT64_C(0x5a5a5a5a)

static json_t *vectors(void)
{
	json_t *doc = json_load_file(TL_VECTORS "/token-refresh.json", 0, NULL);

	assert_non_null(doc);
	return doc;
}

static char *jwt_text(const char *header, const char *claims)
{
	auto_free char *h = tl_base64_encode(TL_BASE64_URL, header, strlen(header));
	auto_free char *c = tl_base64_encode(TL_BASE64_URL, claims, strlen(claims));
	char *text;

	assert_true(asprintf(&text, "%s.%s.c2ln", h, c) > 0);
	return text;
}

static char *vector_token(const json_t *v)
{
	const json_t *raw = json_object_get(v, "raw");
	const json_t *header = json_object_get(v, "header");
	auto_free char *h = header ? json_dumps(header, 0) : strdup("{\"alg\":\"RS256\"}");
	auto_free char *c = NULL;

	if (raw)
		return strdup(json_string_value(raw));
	c = json_dumps(json_object_get(v, "claims"), 0);
	return jwt_text(h, c);
}

static void judge_vector(const json_t *v)
{
	const char *expect = json_string_value(json_object_get(v, "expect"));
	int64_t now_s = json_integer_value(json_object_get(v, "now"));
	auto_free char *token = vector_token(v);
	auto_jwt struct tl_jwt jwt = { .exp_s = POISON };
	struct tl_error err = { 0 };
	const char *got = "ok";

	if (tl_jwt_read(token, strlen(token), &jwt, &err) < 0)
		got = "error";
	else if (tl_jwt_check_fresh(&jwt, now_s, &err) < 0)
		got = "expired";
	if (strcmp(got, expect) != 0)
		fail_msg("%s: %s, not %s", json_string_value(json_object_get(v, "id")), got,
			 expect);
	if (strcmp(got, "error") == 0) {
		assert_int_equal(err.code, TL_E_TOKEN_MALFORMED);
		assert_int_equal(jwt.exp_s, POISON);
	}
	if (strcmp(got, "expired") == 0)
		assert_int_equal(err.code, TL_E_TOKEN_EXPIRED);
}

static int64_t ns_of(const json_t *v, const char *key)
{
	uint64_t n;

	assert_int_equal(
		tl_str_parse_u64(json_string_value(json_object_get(v, key)), INT64_MAX, &n), 0);
	return (int64_t)n;
}

static double random_of(const json_t *v)
{
	char *end;
	double r = strtod(json_string_value(json_object_get(v, "random")), &end);

	assert_int_equal(*end, '\0');
	return r;
}

/* Every vector of one kind; returns how many there were. */
static size_t walk(const char *kind, void (*judge)(const json_t *v))
{
	json_auto_t *doc = vectors();
	json_t *v;
	size_t i, n = 0;

	json_array_foreach(json_object_get(doc, "cases"), i, v)
	{
		if (strcmp(json_string_value(json_object_get(v, "kind")), kind) != 0)
			continue;
		judge(v);
		n++;
	}
	return n;
}

static void judge_next(const json_t *v)
{
	assert_int_equal(token_next_wait_ns(ns_of(v, "expires_in_ns"), random_of(v)),
			 ns_of(v, "next_refresh_ns"));
}

static void judge_backoff(const json_t *v)
{
	unsigned int attempt = (unsigned int)json_integer_value(json_object_get(v, "attempt"));

	assert_int_equal(token_backoff_ns(attempt, random_of(v)), ns_of(v, "wait_ns"));
}

static void tokens_of_the_vectors_are_judged_alike(void **state)
{
	(void)state;
	assert_int_equal(walk("token", judge_vector), 8);
}

static void waits_of_the_vectors_are_bit_exact(void **state)
{
	(void)state;
	assert_int_equal(walk("next", judge_next), 41);
	assert_int_equal(walk("backoff", judge_backoff), 23);
}

static void waits_stay_within_their_bounds_for_any_input(void **state)
{
	static const int64_t lives[] = { INT64_MIN, -1, 0, 1, 3600000000000, INT64_MAX };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(lives); i++) {
		int64_t life = lives[i] > 0 ? lives[i] : 0;

		assert_true(token_next_wait_ns(lives[i], token_unit_random(0)) >= 0);
		assert_true(token_next_wait_ns(lives[i], token_unit_random(UINT64_MAX)) <= life);
	}
	assert_true(token_backoff_ns(UINT32_MAX, token_unit_random(UINT64_MAX)) <= 5400000000001);
	assert_true(token_backoff_ns(0, token_unit_random(0)) == 30000000000);
	assert_true(token_unit_random(0) >= 0 && token_unit_random(UINT64_MAX) < 1);
}

static void a_good_token_yields_dates_and_audience(void **state)
{
	auto_free char *token = jwt_text("{\"alg\":\"ES256\",\"typ\":\"JWT\"}",
					 "{\"exp\":2000.75,\"iat\":\"1000.5\",\"aud\":[\"a\",\"b\"]"
					 ",\"nested\":{\"x\":[1]}}");
	auto_jwt struct tl_jwt jwt = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_jwt_read(token, strlen(token), &jwt, &err), 0);
	assert_int_equal(jwt.exp_s, 2000);
	assert_true(jwt.has_iat);
	assert_int_equal(jwt.iat_s, 1000);
	assert_int_equal(jwt.aud.n, 2);
	assert_string_equal(jwt.aud.items[1], "b");
	assert_int_equal(tl_jwt_check_fresh(&jwt, 1999, &err), 0);
	assert_int_equal(tl_jwt_check_fresh(&jwt, 2000, &err), -EKEYEXPIRED);
}

static void claims_that_cannot_be_scheduled_by_are_refused(void **state)
{
	static const char *const claims[] = {
		"{}",
		"[]",
		"null",
		"{\"exp\":null}",
		"{\"exp\":true}",
		"{\"exp\":\"\"}",
		"{\"exp\":\"soon\"}",
		"{\"exp\":\"1e3\"}",
		"{\"exp\":\"-1\"}",
		"{\"exp\":-1}",
		"{\"exp\":9223372036854775807}",
		"{\"exp\":9223372036854775808}",
		"{\"exp\":1e300}",
		"{\"exp\":253402300800}",
		"{\"exp\":[1]}",
		"{\"exp\":2000,\"iat\":\"x\"}",
		"{\"exp\":2000,\"aud\":1}",
		"{\"exp\":2000,\"aud\":[1]}",
		"{\"exp\":2000",
		"{\"exp\":2000,\"a\":\"\\u0000\"}",
		"{\"exp\":2000} x",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(claims); i++) {
		auto_free char *token = jwt_text("{\"alg\":\"RS256\"}", claims[i]);
		struct tl_jwt jwt = { .exp_s = POISON, .iat_s = POISON };
		struct tl_error err = { 0 };

		if (tl_jwt_read(token, strlen(token), &jwt, &err) != -EBADMSG)
			fail_msg("accepted: %s", claims[i]);
		assert_int_equal(err.code, TL_E_TOKEN_MALFORMED);
		assert_int_equal(err.class, TL_RETRY);
		assert_int_equal(jwt.exp_s, POISON);
		assert_int_equal(jwt.iat_s, POISON);
		assert_int_equal(jwt.aud.n, 0);
	}
}

static void texts_that_are_no_jwt_are_refused_and_never_quoted(void **state)
{
	/* "eyJhbGciOiJSUzI1NiJ9" = {"alg":"RS256"}, "eyJleHAiOjIwMDB9" = {"exp":2000} */
	static const char *const texts[] = {
		"",
		".",
		"..",
		"...",
		"CANARY",
		"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjIwMDB9",
		"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjIwMDB9.c2ln.c2ln",
		" eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjIwMDB9.c2ln",
		"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjIwMDB9.c2ln\n",
		"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjIwMDB9.c2l=",
		"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjIwMDB9.CANARY+/",
		"e30.eyJleHAiOjIwMDB9.c2ln",                  /* no alg */
		"eyJhbGciOiJYUzI1NiJ9.eyJleHAiOjIwMDB9.c2ln", /* XS256 */
		/* {"exp":2000,"x":[[[...]]]}, 33 deep */
		"eyJhbGciOiJSUzI1NiJ9."
		"eyJleHAiOjIwMDAsIngiOltbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbXV1dXV"
		"1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV19.c2ln",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++) {
		struct tl_jwt jwt = { .exp_s = POISON };
		struct tl_error err = { 0 };

		if (tl_jwt_read(texts[i], strlen(texts[i]), &jwt, &err) != -EBADMSG)
			fail_msg("accepted: %s", texts[i]);
		assert_int_equal(err.code, TL_E_TOKEN_MALFORMED);
		assert_null(strstr(err.msg, "CANARY"));
		assert_int_equal(jwt.exp_s, POISON);
	}
}

static void a_token_above_the_limit_is_refused_unread(void **state)
{
	auto_free char *text = malloc(TL_JWT_MAX_BYTES + 2);
	struct tl_jwt jwt = { .exp_s = POISON };
	struct tl_error err = { 0 };

	(void)state;
	assert_non_null(text);
	memset(text, '.', TL_JWT_MAX_BYTES + 1);
	assert_int_equal(tl_jwt_read(text, TL_JWT_MAX_BYTES + 1, &jwt, &err), -EBADMSG);
	assert_string_equal(err.msg, "token: larger than 1 MiB");
	assert_int_equal(jwt.exp_s, POISON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_of_the_vectors_are_judged_alike),
		cmocka_unit_test(waits_of_the_vectors_are_bit_exact),
		cmocka_unit_test(waits_stay_within_their_bounds_for_any_input),
		cmocka_unit_test(a_good_token_yields_dates_and_audience),
		cmocka_unit_test(claims_that_cannot_be_scheduled_by_are_refused),
		cmocka_unit_test(texts_that_are_no_jwt_are_refused_and_never_quoted),
		cmocka_unit_test(a_token_above_the_limit_is_refused_unread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
