/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls the token socket, and what each caller may spend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#include "attest/token_peer.h"
#include "attest/token_share.h"

/* --- who ----------------------------------------------------------------------------------- */

static void the_cgroup_is_that_of_the_best_hierarchy(void **state)
{
	static const char *const rows[][2] = {
		{ "0::/teelaunch/tee-container\n", "/teelaunch/tee-container" },
		{ "4:memory:/a\n1:name=systemd:/b\n0::/\n", "/b" },
		{ "1:name=systemd:/b\n0::/c", "/c" },
		{ "9:pids:/\n4:memory:/a:b\n3:cpuset:/z\n0::/\n", "/a:b" },
		{ "0::/\n", "/" },
		{ "9:pids:/\n0::/\n", "/" },
		{ "", "" },
		{ "nonsense\n0:\n:\n", "/" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		char got[TOKEN_CGROUP_MAX_BYTES] = "poison";

		token_peer_cgroup(rows[i][0], got);
		assert_string_equal(got, rows[i][1]);
	}
}

static void a_cgroup_that_is_too_long_is_unknown(void **state)
{
	char text[TOKEN_CGROUP_MAX_BYTES + 8], got[TOKEN_CGROUP_MAX_BYTES];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "0::/", 4);
	text[3 + TOKEN_CGROUP_MAX_BYTES - 1] = '\0';
	token_peer_cgroup(text, got);
	assert_int_equal(strlen(got), TOKEN_CGROUP_MAX_BYTES - 1);
	text[3 + TOKEN_CGROUP_MAX_BYTES - 1] = 'x';
	text[3 + TOKEN_CGROUP_MAX_BYTES] = '\0';
	token_peer_cgroup(text, got);
	assert_string_equal(got, "");
}

static void a_container_is_its_cgroup_and_what_is_below(void **state)
{
	static const struct {
		const char *cgroup;
		bool is_in;
	} rows[] = { { "/t/c", true },   { "/t/c/sub/group", true },
		     { "/t/c2", false }, { "/t", false },
		     { "/", false },     { "", false },
		     { "/x/t/c", false } };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct token_peer peer = { 0 };

		(void)snprintf(peer.cgroup, sizeof(peer.cgroup), "%s", rows[i].cgroup);
		assert_int_equal(token_peer_is_in(&peer, "/t/c"), rows[i].is_in);
	}
}

static void the_kernel_says_who_connected(void **state)
{
	struct token_peer peer;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	token_peer_read(fds[0], &peer);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, getuid());
	assert_int_equal(peer.gid, getgid());
	assert_int_equal(peer.cgroup[0], '/');
	close(fds[0]);
	close(fds[1]);
	token_peer_read(STDIN_FILENO + 1000, &peer); /* no socket */
	assert_int_equal(peer.pid, -1);
	assert_string_equal(peer.cgroup, "");
}

/* --- what ---------------------------------------------------------------------------------- */

/* Each of @n callers asks every @every_ms[i]; what each of them got in ten minutes. */
static void ask_for_ten_minutes(struct token_shares *s, const uint64_t *every_ms, size_t n,
				uint64_t from_ms, uint64_t *got)
{
	uint64_t wait_ms;

	memset(got, 0, n * sizeof(*got));
	for (uint64_t now = from_ms; now < from_ms + 600000; now++)
		for (size_t i = 0; i < n; i++)
			if (now % every_ms[i] == 0)
				got[i] += token_shares_take(s, i, now, &wait_ms);
}

static void one_caller_has_it_all(void **state)
{
	const uint64_t every_ms[] = { 1 };
	struct token_shares s;
	uint64_t got[1];

	(void)state;
	token_shares_init(&s, 60, 5, 0);
	ask_for_ten_minutes(&s, every_ms, 1, 0, got);
	assert_in_range(got[0], 603, 605);
}

static void a_greedy_caller_leaves_others_their_share(void **state)
{
	const uint64_t every_ms[] = { 1, 2500, 1 }; /* a thousand a second, 24 a minute */
	struct token_shares s;
	uint64_t got[3];

	(void)state;
	token_shares_init(&s, 60, 5, 0);
	ask_for_ten_minutes(&s, every_ms, 2, 1000000, got);
	assert_in_range(got[1], 238, 240); /* all that it asked for */
	assert_true(got[0] >= 290 && got[0] + got[1] <= 605);
	ask_for_ten_minutes(&s, every_ms, 3, 2000000, got);
	assert_in_range(got[1], 190, 210); /* a third */
	assert_in_range(got[0], 190, 210);
	assert_true(got[0] + got[1] + got[2] <= 605);
	ask_for_ten_minutes(&s, every_ms, 1, 3000000, got); /* the others are gone */
	assert_in_range(got[0], 595, 605);
}

static void a_newcomer_waits_for_seconds_only(void **state)
{
	struct token_shares s;
	uint64_t wait_ms = 0, now = 0;

	(void)state;
	token_shares_init(&s, 60, 5, 0);
	for (; now < 100000; now++)
		(void)token_shares_take(&s, 0, now, &wait_ms);
	while (!token_shares_take(&s, 1, now, &wait_ms)) {
		(void)token_shares_take(&s, 0, now, &wait_ms);
		now++;
	}
	assert_true(now < 102100);
}

static void clocks_and_callers_out_of_range_are_harmless(void **state)
{
	struct token_shares s;
	uint64_t wait_ms;

	(void)state;
	token_shares_init(&s, 1, 1, UINT64_MAX - 5);
	assert_true(token_shares_take(&s, 99, UINT64_MAX - 5, &wait_ms));
	assert_false(token_shares_take(&s, TOKEN_CALLERS_MAX - 1, 3, &wait_ms));
	assert_in_range(wait_ms, 59000, 60000);
	for (size_t i = 0; i < TOKEN_CALLERS_MAX; i++)
		(void)token_shares_take(&s, i, UINT64_MAX, &wait_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cgroup_is_that_of_the_best_hierarchy),
		cmocka_unit_test(a_cgroup_that_is_too_long_is_unknown),
		cmocka_unit_test(a_container_is_its_cgroup_and_what_is_below),
		cmocka_unit_test(the_kernel_says_who_connected),
		cmocka_unit_test(one_caller_has_it_all),
		cmocka_unit_test(a_greedy_caller_leaves_others_their_share),
		cmocka_unit_test(a_newcomer_waits_for_seconds_only),
		cmocka_unit_test(clocks_and_callers_out_of_range_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
