/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on the token socket: the real server in this process, a connection for each input. */
#include "fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/digest.h>
#include <teelaunch/token_server.h>

#define ANSWER_MAX (256 * 1024)
/* Half a request has no answer; the server waits longer for the rest than this does. */
#define ANSWER_MS 50

/* Another one for each input: libFuzzer learns what is looked for, and a refusal may quote what was
 * asked. */
static char canary[40];

static void canary_change(void)
{
	static uint64_t n;

	n = n * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	(void)snprintf(canary, sizeof(canary), "canary-%016" PRIx64, n);
}

static int token(void *ctx, const struct tl_token_options *options, struct tl_attest_result *ret,
		 uint64_t *ret_retry_after_ms, struct tl_error *err)
{
	(void)ctx;
	(void)err;
	*ret_retry_after_ms = 0;
	/* What comes so far was judged; fuzz_token_request says by which rules. */
	FUZZ_CHECK(!options || strcmp(options->audience, TL_TOKEN_AUDIENCE_DEFAULT) != 0);
	ret->now_ms = tl_clock_real_ms();
	ret->claims.exp_s = ret->now_ms / 1000 + 3600;
	return tl_secret_set(&ret->token, canary, strlen(canary));
}

static int evidence(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
		    struct tl_error *err)
{
	(void)ctx;
	(void)err;
	ret->n_quotes = 1;
	ret->quotes[0].hash = TL_SHA256;
	return tl_blob_set(&ret->quotes[0].attest, nonce, n);
}

static struct world {
	char dir[32];
	struct sockaddr_un at;
	struct tl_cancel *quit;
	struct tl_token_server *server;
} world;

static void world_end(void)
{
	world.server = tl_token_server_stop(world.server);
	tl_cancel_free(world.quit);
	(void)rmdir(world.dir);
}

/* The one state that is kept: a server without requests under way. */
static void world_begin(void)
{
	const struct tl_token_server_options options = {
		.dir = world.dir,
		.limits = { .per_minute = 1000000, .burst = 1000000 },
		.token = token,
		.evidence = evidence,
		.quit = world.quit = tl_cancel_new(),
	};
	struct tl_error err = { 0 };
	uint8_t digest[TL_HASH_SIZE_MAX];

	/* OpenSSL, so that its end comes after that of our threads. */
	FUZZ_CHECK(tl_digest(TL_SHA256, "", 0, digest) == 0);
	(void)snprintf(world.dir, sizeof(world.dir), "/tmp/tl-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(world.dir));
	FUZZ_CHECK(tl_token_server_start(&options, &world.server, &err) == 0);
	world.at.sun_family = AF_UNIX;
	(void)snprintf(world.at.sun_path, sizeof(world.at.sun_path), "%s/" TL_TOKEN_SOCKET_NAME,
		       world.dir);
	(void)atexit(world_end);
}

/* Sent as far as it is taken: a server may answer, and hang up, before it has read it all. */
static void say(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		data += n;
		size -= (size_t)n;
	}
	(void)shutdown(fd, SHUT_WR);
}

static size_t hear(int fd, char ret[ANSWER_MAX])
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n < ANSWER_MAX - 1) {
		ssize_t got;

		if (poll(&p, 1, ANSWER_MS) != 1)
			break;
		got = recv(fd, ret + n, ANSWER_MAX - 1 - n, 0);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	ret[n] = '\0';
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char answer[ANSWER_MAX];
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!world.server)
		world_begin();
	FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&world.at, sizeof(world.at)) == 0);
	canary_change();
	say(fd, data, size);
	if (!hear(fd, answer))
		return 0;
	FUZZ_CHECK(strncmp(answer, "HTTP/1.", 7) == 0 && answer[8] == ' ');
	FUZZ_CHECK(answer[9] >= '1' && answer[9] <= '5');
	/* A token is in answers with 200 alone. */
	FUZZ_CHECK(!strstr(answer, canary) || strstr(answer, " 200 OK\r\n"));
	return 0;
}
