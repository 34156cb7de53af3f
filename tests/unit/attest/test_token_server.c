/* SPDX-License-Identifier: Apache-2.0 */
/* The token socket over a real socket, with a verifier and a TPM that do as they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/token_server.h>

#define GET     "GET /v1/token HTTP/1.1\r\nHost: l\r\n\r\n"
#define FRESH   "GET /v1/token HTTP/1.1\r\nHost: l\r\nCache-Control: no-cache\r\n\r\n"
#define REPLY_N 8192

struct world {
	char dir[64];
	struct tl_cancel *quit;
	struct tl_token_server *server;
	atomic_uint calls, evidence_calls, events;
	atomic_bool is_held;        /* calls wait for it to end, or for the cancellation */
	atomic_uint retry_after_ms; /* > 0: calls fail with that */
	atomic_int refuse_code;
	atomic_int last_pid, last_callers, last_code;
};

static int held(struct world *w, struct tl_error *err)
{
	while (atomic_load(&w->is_held))
		if (tl_cancel_sleep(w->quit, 5))
			return tl_fail(err, TL_E_INTERRUPTED, ECANCELED, "cancelled");
	return 0;
}

static int token(void *ctx, const struct tl_token_options *options, struct tl_attest_result *ret,
		 uint64_t *ret_retry_after_ms, struct tl_error *err)
{
	struct world *w = ctx;
	unsigned int n = atomic_fetch_add(&w->calls, 1) + 1;
	char text[700];

	if (held(w, err) < 0)
		return -ECANCELED;
	if (atomic_load(&w->refuse_code))
		return tl_fail(err, (enum tl_code)atomic_load(&w->refuse_code), EPERM, "words");
	*ret_retry_after_ms = atomic_load(&w->retry_after_ms);
	if (*ret_retry_after_ms)
		return tl_fail(err, TL_E_VERIFIER_BUSY, EAGAIN, "busy");
	(void)snprintf(text, sizeof(text), "token-%u-%s", n,
		       options ? options->audience : "default");
	ret->now_ms = tl_clock_real_ms();
	ret->claims.exp_s = ret->now_ms / 1000 + 3600;
	return tl_secret_set(&ret->token, text, strlen(text));
}

static int evidence(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
		    struct tl_error *err)
{
	struct world *w = ctx;

	atomic_fetch_add(&w->evidence_calls, 1);
	if (held(w, err) < 0)
		return -ECANCELED;
	ret->n_quotes = 1;
	ret->quotes[0].hash = TL_SHA256;
	return tl_blob_set(&ret->quotes[0].attest, nonce, n);
}

static void event(void *ctx, const struct tl_token_call *call)
{
	struct world *w = ctx;

	atomic_store(&w->last_pid, call->pid);
	atomic_store(&w->last_callers, (int)call->callers);
	atomic_store(&w->last_code, call->err ? (int)call->err->code : 0);
	atomic_fetch_add(&w->events, 1);
}

static void world_start(struct world *w, uint64_t per_minute, uint64_t burst)
{
	struct tl_error err = { 0 };
	const struct tl_token_server_options options = {
		.dir = w->dir,
		.limits = { .per_minute = per_minute, .burst = burst, .cache_ms = 10000 },
		.token = token,
		.evidence = evidence,
		.evidence_hash = TL_SHA256,
		.ctx = w,
		.quit = w->quit = tl_cancel_new(),
		.event = event,
		.event_ctx = w,
	};

	if (tl_token_server_start(&options, &w->server, &err) < 0)
		fail_msg("%s", err.msg);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/tl-socket-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	w->server = tl_token_server_stop(w->server);
	assert_int_equal(rmdir(w->dir), 0); /* nothing is left in it */
	tl_cancel_free(w->quit);
	free(w);
	return 0;
}

/* --- a client ------------------------------------------------------------------------------ */

static int link_open(const struct world *w)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/" TL_TOKEN_SOCKET_NAME, w->dir);
	assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

		if (sent < 0)
			return; /* the other side has seen enough */
		text += sent;
		n -= (size_t)sent;
	}
}

static size_t body_length(const char *reply)
{
	const char *at = strcasestr(reply, "\r\nContent-Length: ");
	uint64_t n = 0;
	char digits[16] = "";

	if (at) {
		(void)snprintf(digits, sizeof(digits), "%.*s", (int)strspn(at + 18, "0123456789"),
			       at + 18);
		assert_int_equal(tl_str_parse_u64(digits, REPLY_N, &n), 0);
	}
	return (size_t)n;
}

/* One answer; "" if the connection ends first. */
static void hear(int fd, char ret[REPLY_N])
{
	size_t n = 0;

	ret[0] = '\0';
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		const char *body = strstr(ret, "\r\n\r\n");
		ssize_t got;

		if (body && n >= (size_t)(body + 4 - ret) + body_length(ret))
			return;
		assert_int_equal(poll(&p, 1, 20000), 1);
		got = recv(fd, ret + n, 1, 0); /* never beyond this answer */
		if (got <= 0)
			return;
		n += (size_t)got;
		ret[n] = '\0';
		assert_true(n < REPLY_N - 1);
	}
}

static int status_of(const char *reply)
{
	uint64_t n = 0;
	char digits[4];

	if (strncmp(reply, "HTTP/1.1 ", 9) != 0)
		return 0;
	memcpy(digits, reply + 9, 3);
	digits[3] = '\0';
	assert_int_equal(tl_str_parse_u64(digits, 999, &n), 0);
	return (int)n;
}

static int ask(const struct world *w, const char *request, char ret[REPLY_N])
{
	auto_close int fd = link_open(w);

	say(fd, request);
	hear(fd, ret);
	return status_of(ret);
}

static void post_format(const char *path, const char *body, char *ret, size_t cap)
{
	(void)snprintf(ret, cap, "POST %s HTTP/1.1\r\nHost: l\r\nContent-Length: %zu\r\n\r\n%s",
		       path, strlen(body), body);
}

static int post(const struct world *w, const char *path, const char *body, char ret[REPLY_N])
{
	char request[2000];

	post_format(path, body, request, sizeof(request));
	return ask(w, request, ret);
}

static void until(const atomic_uint *value, unsigned int wanted)
{
	for (int i = 0; i < 2000 && atomic_load(value) < wanted; i++)
		tl_clock_sleep_ms(5);
	assert_true(atomic_load(value) >= wanted);
}

/* --- tokens -------------------------------------------------------------------------------- */

static void the_default_token_is_kept_for_a_moment_and_asked_for_anew_on_request(void **state)
{
	struct world *w = *state;
	char reply[REPLY_N];
	struct tl_token_counts counts;

	world_start(w, 60, 10);
	assert_int_equal(ask(w, GET, reply), 200);
	assert_non_null(strstr(reply, "\r\n\r\ntoken-1-default"));
	assert_non_null(strstr(reply, "Content-Type: text/html"));
	assert_non_null(strstr(reply, "Cache-Control: no-store"));
	for (int i = 0; i < 50; i++) {
		assert_int_equal(ask(w, GET, reply), 200);
		assert_non_null(strstr(reply, "token-1-default"));
	}
	assert_int_equal(ask(w, FRESH, reply), 200);
	assert_non_null(strstr(reply, "token-2-default"));
	assert_int_equal(ask(w, GET, reply), 200);
	assert_non_null(strstr(reply, "token-2-default"));
	tl_token_server_counts(w->server, &counts);
	assert_int_equal(counts.requests, 53);
	assert_int_equal(counts.upstream, 2);
	assert_int_equal(counts.refused, 0);
	assert_int_equal(atomic_load(&w->last_pid), getpid());
}

static void custom_tokens_are_never_kept_and_limited_by_the_bucket(void **state)
{
	struct world *w = *state;
	static const char body[] = "{\"audience\":\"a\",\"token_type\":\"OIDC\"}";
	char reply[REPLY_N];
	struct tl_token_counts counts;

	world_start(w, 6, 2);
	assert_int_equal(post(w, "/v1/token", body, reply), 200);
	assert_int_equal(post(w, "/v1/token", body, reply), 200);
	assert_non_null(strstr(reply, "token-2-a"));
	assert_int_equal(post(w, "/v1/token", body, reply), 429);
	assert_non_null(strstr(reply, "\r\nRetry-After: 10\r\n"));
	assert_non_null(strstr(reply, "the limit is 6 a minute, 2 at once"));
	assert_int_equal(atomic_load(&w->last_code), TL_E_TOKEN_RATE);
	assert_int_equal(post(w, "/v1/token", "{}", reply), 400); /* costs nothing */
	tl_token_server_counts(w->server, &counts);
	assert_int_equal(counts.refused, 1);
	assert_int_equal(counts.upstream, 2);
	assert_int_equal(atomic_load(&w->calls), 2);
	assert_int_equal(atomic_load(&w->last_callers), 0);
}

static void identical_requests_share_one_call(void **state)
{
	struct world *w = *state;
	static const char body[] =
		"{\"audience\":\"a\",\"token_type\":\"OIDC\",\"nonces\":[\"12345678\"]}";
	char request[300], reply[REPLY_N], first[REPLY_N];
	int fds[20];

	world_start(w, 60, 1);
	atomic_store(&w->is_held, true);
	post_format("/v1/token", body, request, sizeof(request));
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++) {
		fds[i] = link_open(w);
		say(fds[i], request);
	}
	for (struct tl_token_counts c = { 0 }; c.requests < TL_ARRAY_SIZE(fds);) {
		tl_clock_sleep_ms(5);
		tl_token_server_counts(w->server, &c);
	}
	/* Another one isn't the same, and the bucket is empty. */
	assert_int_equal(
		post(w, "/v1/token", "{\"audience\":\"b\",\"token_type\":\"OIDC\"}", reply), 429);
	atomic_store(&w->is_held, false);
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++) {
		hear(fds[i], i ? reply : first);
		close(fds[i]);
		if (i)
			assert_string_equal(strstr(reply, "\r\n\r\n"), strstr(first, "\r\n\r\n"));
	}
	assert_int_equal(status_of(first), 200);
	assert_int_equal(atomic_load(&w->calls), 1);
	assert_int_equal(atomic_load(&w->last_callers), 20);
}

static void a_verifier_that_asks_for_patience_gets_it(void **state)
{
	struct world *w = *state;
	char reply[REPLY_N];

	world_start(w, 60, 10);
	atomic_store(&w->retry_after_ms, 30000);
	assert_int_equal(ask(w, GET, reply), 500);
	assert_non_null(strstr(reply, "\r\nRetry-After: 30\r\n"));
	assert_non_null(strstr(reply, "failed to retrieve attestation service token: busy"));
	atomic_store(&w->retry_after_ms, 0);
	assert_int_equal(ask(w, GET, reply), 429);
	assert_non_null(strstr(reply, "come back later"));
	assert_int_equal(atomic_load(&w->calls), 1);
}

static void a_refusal_of_the_service_is_the_callers(void **state)
{
	struct world *w = *state;
	char reply[REPLY_N];

	world_start(w, 60, 10);
	atomic_store(&w->refuse_code, TL_E_VERIFIER_REFUSED);
	assert_int_equal(ask(w, GET, reply), 400);
	atomic_store(&w->refuse_code, TL_E_NET_TIMEOUT);
	assert_int_equal(ask(w, GET, reply), 500);
	assert_int_equal(ask(w, "GET /v1/intel/token HTTP/1.1\r\nHost: l\r\n\r\n", reply), 500);
	assert_non_null(strstr(reply, "no ITA verifier client present"));
}

/* --- evidence ------------------------------------------------------------------------------ */

static void evidence_is_bounded_until_it_was_taken(void **state)
{
	struct world *w = *state;
	char request[300], reply[REPLY_N];
	int fds[4];

	world_start(w, 60, 10);
	atomic_store(&w->is_held, true);
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++) {
		char body[64];

		(void)snprintf(body, sizeof(body), "{\"challenge\":\"AA%zuA\"}", i);
		post_format("/v1/evidence", body, request, sizeof(request));
		fds[i] = link_open(w);
		say(fds[i], request);
	}
	for (struct tl_token_counts c = { 0 }; c.requests < TL_ARRAY_SIZE(fds);) {
		tl_clock_sleep_ms(5);
		tl_token_server_counts(w->server, &c);
	}
	assert_int_equal(post(w, "/v1/evidence", "{\"challenge\":\"BBBB\"}", reply), 429);
	atomic_store(&w->is_held, false);
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++) {
		hear(fds[i], reply);
		assert_int_equal(status_of(reply), 200);
		assert_non_null(strstr(reply, "\"tpmsAttest\""));
		close(fds[i]);
	}
	for (int i = 0; i < 100 && post(w, "/v1/evidence?fields=label", "{\"challenge\":\"BBBB\"}",
					reply) == 429;
	     i++)
		tl_clock_sleep_ms(10);
	assert_non_null(strstr(reply, "{\"label\":\"V09SS0xPQURfQVRURVNUQVRJT04=\"}"));
	assert_int_equal(atomic_load(&w->evidence_calls), 4);
}

/* --- abuse --------------------------------------------------------------------------------- */

static void requests_that_two_could_read_differently_are_refused(void **state)
{
	struct world *w = *state;
	static const char *const requests[] = {
		"POST /v1/token HTTP/1.1\r\nHost: l\r\nContent-Length: 4\r\n"
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/token HTTP/1.1\r\n\r\n",
		"POST /v1/token HTTP/1.1\r\nHost: l\r\nContent-Length: 2\r\nContent-Length: "
		"30\r\n\r\n{}",
		"POST /v1/token HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: gzip, "
		"chunked\r\n\r\n0\r\n\r\n",
		"POST /v1/token HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n"
		"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"POST /v1/token HTTP/1.1\r\nHost: l\r\nContent-Length: -1\r\n\r\n",
		"POST /v1/token HTTP/1.1\r\nHost: l\r\nContent-Length: 0x2\r\n\r\n{}",
		"GET /v1/token HTTP/1.1\r\n\r\n",
	};
	char reply[REPLY_N];

	world_start(w, 60, 10);
	for (size_t i = 0; i < TL_ARRAY_SIZE(requests); i++) {
		auto_close int fd = link_open(w);

		say(fd, requests[i]);
		hear(fd, reply);
		if (status_of(reply) != 400)
			fail_msg("%zu: %s", i, reply);
		for (int k = 0; k < 3 && *reply; k++) { /* nothing that follows is served */
			hear(fd, reply);
			assert_true(status_of(reply) == 0 || status_of(reply) == 400);
		}
		assert_string_equal(reply, "");
	}
	assert_int_equal(atomic_load(&w->calls), 0);
}

static void pipelined_requests_are_answered_in_their_order(void **state)
{
	struct world *w = *state;
	auto_close int fd = -1;
	char reply[REPLY_N];

	world_start(w, 60, 10);
	fd = link_open(w);
	for (int i = 0; i < 40; i++) {
		const char *request = i % 2 ? "GET /none HTTP/1.1\r\nHost: l\r\n\r\n" : GET;

		say(fd, request);
	}
	for (int i = 0; i < 40; i++) {
		hear(fd, reply);
		assert_int_equal(status_of(reply), i % 2 ? 404 : 200);
	}
}

static void bodies_have_a_limit_said_or_not(void **state)
{
	struct world *w = *state;
	static char chunk[16 + 65536];
	auto_close int fd = -1;
	char reply[REPLY_N];
	size_t sent;

	world_start(w, 60, 10);
	assert_int_equal(ask(w,
			     "POST /v1/token HTTP/1.1\r\nHost: l\r\n"
			     "Content-Length: 1073741824\r\n\r\n",
			     reply),
			 413);
	assert_non_null(strstr(reply, "limit of 16384 bytes"));
	fd = link_open(w);
	say(fd, "POST /v1/token HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n");
	(void)snprintf(chunk, sizeof(chunk), "10000\r\n");
	memset(chunk + 7, 'x', 65536);
	memcpy(chunk + 7 + 65536, "\r\n", 2);
	for (sent = 0; sent < 16384; sent++) /* a gigabyte, if it were taken */
		if (send(fd, chunk, 65545, MSG_NOSIGNAL) < 0)
			break;
	assert_true(sent < 64);
	assert_int_equal(atomic_load(&w->calls), 0);
}

static void paths_with_nul_and_escapes_are_read_as_they_are(void **state)
{
	struct world *w = *state;
	char reply[REPLY_N];

	world_start(w, 60, 10);
	assert_int_equal(ask(w, "GET /v1/token%00 HTTP/1.1\r\nHost: l\r\n\r\n", reply), 404);
	assert_int_equal(ask(w, "GET /v1/%74oken HTTP/1.1\r\nHost: l\r\n\r\n", reply), 200);
	assert_int_equal(ask(w, "GET //v1/token HTTP/1.1\r\nHost: l\r\n\r\n", reply), 301);
	assert_non_null(strstr(reply, "\r\nLocation: /v1/token\r\n"));
	assert_int_equal(ask(w, "GET //v1/token%0d%0aX:%20y HTTP/1.1\r\nHost: l\r\n\r\n", reply),
			 404);
	assert_null(strstr(reply, "X: y"));
}

static void a_full_house_of_slow_senders_lets_others_in(void **state)
{
	struct world *w = *state;
	int fds[TL_TOKEN_SERVER_CONNECTIONS_MAX];
	uint64_t begun_ms;
	char reply[REPLY_N];

	world_start(w, 60, 10);
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++) {
		fds[i] = link_open(w);
		say(fds[i], "GET /v1/tok");
	}
	begun_ms = tl_clock_mono_ms();
	assert_int_equal(ask(w, GET, reply), 200);
	assert_true(tl_clock_mono_ms() - begun_ms < 3000);
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void a_sender_that_trickles_is_cut_off(void **state)
{
	struct world *w = *state;
	auto_close int fd = -1;
	uint64_t begun_ms = tl_clock_mono_ms();

	world_start(w, 60, 10);
	fd = link_open(w);
	while (send(fd, "G", 1, MSG_NOSIGNAL) == 1) {
		tl_clock_sleep_ms(100);
		assert_true(tl_clock_mono_ms() - begun_ms < TL_TOKEN_SERVER_TRANSFER_MS + 2000);
	}
	assert_true(tl_clock_mono_ms() - begun_ms >= TL_TOKEN_SERVER_TRANSFER_MS - 100);
}

/* --- beginning and end --------------------------------------------------------------------- */

static void the_end_breaks_off_what_is_under_way(void **state)
{
	struct world *w = *state;
	auto_close int waiting = -1, silent = -1;
	uint64_t begun_ms;

	world_start(w, 60, 10);
	atomic_store(&w->is_held, true);
	waiting = link_open(w);
	silent = link_open(w);
	say(waiting, GET);
	until(&w->calls, 1);
	begun_ms = tl_clock_mono_ms();
	w->server = tl_token_server_stop(w->server);
	assert_true(tl_clock_mono_ms() - begun_ms < 2000);
}

static void the_socket_is_for_everybody_and_replaces_a_stale_one(void **state)
{
	struct world *w = *state;
	char path[128], reply[REPLY_N];
	mode_t before = umask(0077);
	struct stat is;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" TL_TOKEN_SOCKET_NAME, w->dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC,
		  0600); /* left by a launcher that was killed */
	close(fd);
	world_start(w, 60, 10);
	umask(before);
	assert_int_equal(lstat(path, &is), 0);
	assert_true(S_ISSOCK(is.st_mode));
	assert_int_equal(is.st_mode & 07777, 0777);
	assert_int_equal(ask(w, GET, reply), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_default_token_is_kept_for_a_moment_and_asked_for_anew_on_request, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			custom_tokens_are_never_kept_and_limited_by_the_bucket, setup, teardown),
		cmocka_unit_test_setup_teardown(identical_requests_share_one_call, setup, teardown),
		cmocka_unit_test_setup_teardown(a_verifier_that_asks_for_patience_gets_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_refusal_of_the_service_is_the_callers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(evidence_is_bounded_until_it_was_taken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			requests_that_two_could_read_differently_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_their_order,
						setup, teardown),
		cmocka_unit_test_setup_teardown(bodies_have_a_limit_said_or_not, setup, teardown),
		cmocka_unit_test_setup_teardown(paths_with_nul_and_escapes_are_read_as_they_are,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_house_of_slow_senders_lets_others_in, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_sender_that_trickles_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_breaks_off_what_is_under_way, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			the_socket_is_for_everybody_and_replaces_a_stale_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
