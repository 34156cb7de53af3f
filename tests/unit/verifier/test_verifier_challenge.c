/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/challenge.h"

#define NOW INT64_C(1800000000)

static const struct resource where = { "demo-project", "local", "" };

static struct challenge_minter *minter(char fill, size_t used_max)
{
	char bytes[CHALLENGE_KEY_BYTES_MIN];
	auto_secret struct tl_secret key = { 0 };
	struct challenge_minter *m = NULL;

	memset(bytes, fill, sizeof(bytes));
	assert_int_equal(tl_secret_set(&key, bytes, sizeof(bytes)), 0);
	assert_int_equal(challenge_minter_new(&key, 1, 300, used_max, &m, NULL), 0);
	return m;
}

static void refused(struct challenge_minter *m, int64_t now, const struct resource *name,
		    enum tl_code code)
{
	uint8_t nonce[CHALLENGE_NONCE_BYTES], poison[CHALLENGE_NONCE_BYTES];
	struct tl_error err = { 0 };

	memset(nonce, 0xa5, sizeof(nonce));
	memcpy(poison, nonce, sizeof(nonce));
	assert_int_equal(challenge_redeem(m, now, name, nonce, &err), -EACCES);
	assert_int_equal(err.code, code);
	assert_memory_equal(nonce, poison, sizeof(nonce));
}

static void another_replica_with_the_same_key_gives_the_same_nonce(void **state)
{
	auto_challenge_minter struct challenge_minter *a = minter('k', 8);
	auto_challenge_minter struct challenge_minter *b = minter('k', 8);
	uint8_t issued[CHALLENGE_NONCE_BYTES], redeemed[CHALLENGE_NONCE_BYTES] = { 0 };
	struct resource name;

	(void)state;
	assert_int_equal(challenge_issue(a, NOW, &where, &name, issued, NULL), 0);
	assert_string_equal(name.project, where.project);
	assert_int_equal(strlen(name.challenge), 76);
	assert_int_equal(challenge_redeem(b, NOW, &name, redeemed, NULL), 0);
	assert_memory_equal(issued, redeemed, sizeof(issued));
}

static void two_challenges_differ_in_name_and_nonce(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 8);
	uint8_t one[CHALLENGE_NONCE_BYTES], two[CHALLENGE_NONCE_BYTES];
	struct resource name_one, name_two;

	(void)state;
	assert_int_equal(challenge_issue(m, NOW, &where, &name_one, one, NULL), 0);
	assert_int_equal(challenge_issue(m, NOW, &where, &name_two, two, NULL), 0);
	assert_string_not_equal(name_one.challenge, name_two.challenge);
	assert_memory_not_equal(one, two, sizeof(one));
}

static void a_challenge_ends_to_the_second(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 8);
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct resource name;

	(void)state;
	assert_int_equal(challenge_issue(m, NOW, &where, &name, nonce, NULL), 0);
	refused(m, NOW + 300, &name, TL_E_VERIFY_CHALLENGE_EXPIRED);
	assert_int_equal(challenge_redeem(m, NOW + 299, &name, nonce, NULL), 0);
}

static void a_changed_character_anywhere_is_a_forgery(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 8);
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct resource name, forged;

	(void)state;
	assert_int_equal(challenge_issue(m, NOW, &where, &name, nonce, NULL), 0);
	for (size_t i = 0; i < strlen(name.challenge); i++) {
		forged = name;
		forged.challenge[i] = forged.challenge[i] == 'A' ? 'B' : 'A';
		refused(m, NOW, &forged, TL_E_VERIFY_CHALLENGE_FORGED);
	}
	assert_int_equal(challenge_redeem(m, NOW, &name, nonce, NULL), 0);
}

static void another_key_project_or_location_is_a_forgery(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 8);
	auto_challenge_minter struct challenge_minter *other = minter('l', 8);
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct resource name, moved;

	(void)state;
	assert_int_equal(challenge_issue(m, NOW, &where, &name, nonce, NULL), 0);
	refused(other, NOW, &name, TL_E_VERIFY_CHALLENGE_FORGED);
	moved = name;
	moved.project[0] = 'D';
	refused(m, NOW, &moved, TL_E_VERIFY_CHALLENGE_FORGED);
	/* The border between the two texts is authenticated as well. */
	moved = name;
	memcpy(moved.project, "demo-projectl", 14);
	memcpy(moved.location, "ocal", 5);
	refused(m, NOW, &moved, TL_E_VERIFY_CHALLENGE_FORGED);
}

static void a_used_challenge_is_remembered_until_newer_ones_need_the_room(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 2);
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct resource names[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(challenge_issue(m, NOW, &where, &names[i], nonce, NULL), 0);
	assert_int_equal(challenge_redeem(m, NOW, &names[0], nonce, NULL), 0);
	assert_int_equal(challenge_redeem(m, NOW, &names[1], nonce, NULL), 0);
	refused(m, NOW, &names[0], TL_E_VERIFY_CHALLENGE_USED);
	refused(m, NOW, &names[1], TL_E_VERIFY_CHALLENGE_USED);
	assert_int_equal(challenge_redeem(m, NOW, &names[2], nonce, NULL), 0);
	refused(m, NOW, &names[1], TL_E_VERIFY_CHALLENGE_USED);
	assert_int_equal(challenge_redeem(m, NOW, &names[0], nonce, NULL), 0);
}

static void a_short_key_is_refused_and_a_random_one_works(void **state)
{
	auto_secret struct tl_secret key = { 0 };
	auto_challenge_minter struct challenge_minter *m = NULL;
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct tl_error err = { 0 };
	struct resource name;

	(void)state;
	assert_int_equal(tl_secret_set(&key, "0123456789012345678901234567890", 31), 0);
	assert_int_equal(challenge_minter_new(&key, 1, 300, 8, &m, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_VERIFY_KEYS);
	assert_null(m);
	assert_int_equal(challenge_minter_new(NULL, 0, 300, 8, &m, &err), 0);
	assert_int_equal(challenge_issue(m, NOW, &where, &name, nonce, NULL), 0);
	assert_int_equal(challenge_redeem(m, NOW, &name, nonce, NULL), 0);
}

static struct tl_secret filled(char fill)
{
	char bytes[CHALLENGE_KEY_BYTES_MIN];
	struct tl_secret key = { 0 };

	memset(bytes, fill, sizeof(bytes));
	assert_int_equal(tl_secret_set(&key, bytes, sizeof(bytes)), 0);
	return key;
}

static void replicas_on_either_side_of_a_change_of_keys_answer_for_each_other(void **state)
{
	struct tl_secret keys[] = { filled('a'), filled('b') },
			 turned[] = { filled('b'), filled('a') };
	auto_challenge_minter struct challenge_minter *before = NULL, *after = NULL, *late = NULL;
	uint8_t issued[CHALLENGE_NONCE_BYTES], nonce[CHALLENGE_NONCE_BYTES];
	struct resource old, new;

	(void)state;
	assert_int_equal(challenge_minter_new(keys, 2, 300, 8, &before, NULL), 0);
	assert_int_equal(challenge_minter_new(turned, 2, 300, 8, &after, NULL), 0);
	assert_int_equal(challenge_minter_new(turned, 1, 300, 8, &late, NULL), 0);
	assert_int_equal(challenge_issue(before, NOW, &where, &old, issued, NULL), 0);
	assert_int_equal(challenge_redeem(after, NOW, &old, nonce, NULL), 0);
	assert_memory_equal(issued, nonce, sizeof(nonce));
	assert_int_equal(challenge_issue(after, NOW, &where, &new, issued, NULL), 0);
	assert_int_equal(challenge_redeem(before, NOW, &new, nonce, NULL), 0);
	assert_memory_equal(issued, nonce, sizeof(nonce));
	refused(late, NOW, &old, TL_E_VERIFY_CHALLENGE_FORGED);
	assert_int_equal(challenge_redeem(late, NOW, &new, nonce, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		tl_secret_done(&keys[i]);
		tl_secret_done(&turned[i]);
	}
}

static void new_keys_forget_nothing_that_was_presented(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 8), *same = NULL;
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct resource one, two;

	(void)state;
	assert_int_equal(challenge_issue(m, NOW, &where, &one, nonce, NULL), 0);
	assert_int_equal(challenge_issue(m, NOW, &where, &two, nonce, NULL), 0);
	assert_int_equal(challenge_redeem(m, NOW, &one, nonce, NULL), 0);
	assert_int_equal(challenge_minter_renew(m, NULL, 0, 300, &same, NULL), 0);
	m = challenge_minter_free(m);
	refused(same, NOW, &one, TL_E_VERIFY_CHALLENGE_USED);
	assert_int_equal(challenge_redeem(same, NOW, &two, nonce, NULL), 0);
}

static void a_full_memory_still_knows_the_newest_ones(void **state)
{
	auto_challenge_minter struct challenge_minter *m = minter('k', 1024);
	struct resource names[512];
	uint8_t nonce[CHALLENGE_NONCE_BYTES];

	(void)state;
	for (size_t i = 0; i < 4096; i++) {
		struct resource *name = &names[i % 512];

		assert_int_equal(challenge_issue(m, NOW, &where, name, nonce, NULL), 0);
		assert_int_equal(challenge_redeem(m, NOW, name, nonce, NULL), 0);
		refused(m, NOW, name, TL_E_VERIFY_CHALLENGE_USED);
	}
	/* Each group of 16 gets 8 of the last 512 on average: the last 64 are as good as certain.
	 */
	for (size_t i = 448; i < 512; i++)
		refused(m, NOW, &names[i], TL_E_VERIFY_CHALLENGE_USED);
}

static void names_are_read_strictly(void **state)
{
	static const char *const bad[] = {
		"",
		"projects/",
		"projects/a",
		"projects/a/locations/",
		"projects//locations/b",
		"/projects/a/locations/b",
		"projects/a/locations/b/",
		"projects/a/locations/b/c",
		"projects/a/locations/b/challenges/",
		"projects/a/locations/b/challenges/c/d",
		"projects/a/locations/b/challenges/c.d",
		"projects/a b/locations/b",
		"projects/a/locations/b?c",
		"projects/a%2f/locations/b",
	};
	struct resource got = { .project = "poison" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_int_equal(resource_parse(bad[i], strlen(bad[i]), &got), -EINVAL);
		assert_string_equal(got.project, "poison");
	}
	assert_int_equal(resource_parse("projects/ex.com:p-1/locations/eu_1", 34, &got), 0);
	assert_string_equal(got.project, "ex.com:p-1");
	assert_string_equal(got.location, "eu_1");
	assert_string_equal(got.challenge, "");
	assert_int_equal(resource_parse("projects/a/locations/b/challenges/_-9", 37, &got), 0);
	assert_string_equal(got.challenge, "_-9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_replica_with_the_same_key_gives_the_same_nonce),
		cmocka_unit_test(two_challenges_differ_in_name_and_nonce),
		cmocka_unit_test(a_challenge_ends_to_the_second),
		cmocka_unit_test(a_changed_character_anywhere_is_a_forgery),
		cmocka_unit_test(another_key_project_or_location_is_a_forgery),
		cmocka_unit_test(a_used_challenge_is_remembered_until_newer_ones_need_the_room),
		cmocka_unit_test(a_short_key_is_refused_and_a_random_one_works),
		cmocka_unit_test(replicas_on_either_side_of_a_change_of_keys_answer_for_each_other),
		cmocka_unit_test(new_keys_forget_nothing_that_was_presented),
		cmocka_unit_test(a_full_memory_still_knows_the_newest_ones),
		cmocka_unit_test(names_are_read_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
