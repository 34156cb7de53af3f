/* SPDX-License-Identifier: Apache-2.0 */
/* One call against servers that say what these tables write, byte by byte. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "launcher/containerd/http2.h"

/* RFC 9113, section 6. */
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
#define FRAME_HEAD     9
#define PREFACE_BYTES  24 /* section 3.4 */
#define WINDOW_DEFAULT 65535
#define SCRIPT_MAX     (1024 * 1024)

static void frame(struct tl_buf *to, unsigned int type, unsigned int flags, uint32_t id,
		  const void *data, size_t n)
{
	assert_int_equal(tl_buf_append_u8(to, (uint8_t)(n >> 16)), 0);
	assert_int_equal(tl_buf_append_be16(to, (uint16_t)n), 0);
	assert_int_equal(tl_buf_append_u8(to, (uint8_t)type), 0);
	assert_int_equal(tl_buf_append_u8(to, (uint8_t)flags), 0);
	assert_int_equal(tl_buf_append_be32(to, id), 0);
	assert_int_equal(tl_buf_append(to, data, n), 0);
}

/* "name=value" each, to NULL: literals that are in no table (RFC 7541, section 6.2.2). */
static void headers(struct tl_buf *to, unsigned int flags, const char *const *fields)
{
	auto_buf struct tl_buf block = { 0 };

	tl_buf_init(&block, SCRIPT_MAX);
	for (; *fields; fields++) {
		const char *value = strchr(*fields, '=') + 1;
		size_t name_n = (size_t)(value - 1 - *fields);

		assert_true(name_n < 127 && strlen(value) < 127);
		tl_buf_append_u8(&block, 0);
		tl_buf_append_u8(&block, (uint8_t)name_n);
		tl_buf_append(&block, *fields, name_n);
		tl_buf_append_u8(&block, (uint8_t)strlen(value));
		assert_int_equal(tl_buf_append_str(&block, value), 0);
	}
	frame(to, HEADERS, END_HEADERS | flags, 1, block.data, block.len_bytes);
}

/* --- a server: says its script, then reads on until the client has gone ---------------------- */

struct server {
	char folder[32], path[64];
	int listener;
	pthread_t thread;
	struct tl_buf script;
	bool hangs_up; /* after the script */
	struct tl_buf heard;
	void (*play)(struct server *s, int fd); /* instead of the script */
};

static void hear(struct server *s, int fd)
{
	char bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n > 0)
		tl_buf_append(&s->heard, bytes, (size_t)n);
	else
		s->hangs_up = true;
}

static void say(struct server *s, int fd)
{
	(void)!send(fd, s->script.data, s->script.len_bytes, MSG_NOSIGNAL);
	tl_buf_reset(&s->script);
}

static void *server_main(void *arg)
{
	struct server *s = arg;
	auto_close int fd = accept(s->listener, NULL, NULL);

	if (fd < 0)
		return NULL;
	if (s->play)
		s->play(s, fd);
	else if (s->script.len_bytes)
		say(s, fd);
	while (!s->hangs_up)
		hear(s, fd);
	return NULL;
}

static struct server *server_new(void)
{
	struct server *s = calloc(1, sizeof(*s));
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	assert_non_null(s);
	tl_buf_init(&s->script, SCRIPT_MAX);
	tl_buf_init(&s->heard, SCRIPT_MAX);
	snprintf(s->folder, sizeof(s->folder), "/tmp/tl-http2-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/socket", s->folder);
	memcpy(at.sun_path, s->path, sizeof(s->path));
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->listener, 1), 0);
	frame(&s->script, SETTINGS, 0, 0, NULL, 0);
	return s;
}

static void server_start(struct server *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_end(struct server *s)
{
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
	unlink(s->path);
	rmdir(s->folder);
	tl_buf_done(&s->script);
	tl_buf_done(&s->heard);
	free(s);
}

static struct http2_call *call_open(const struct server *s, struct tl_cancel *cancel,
				    uint64_t budget_ms)
{
	const struct http2_request request = {
		.socket_path = s->path,
		.method = "/a.B/C",
		.namespace = "default",
		.lease = "l",
		.deadline = tl_deadline_in(tl_clock_mono_ms(), budget_ms),
		.cancel = cancel,
	};
	struct http2_call *c = http2_open(&request);

	assert_non_null(c);
	return c;
}

static void ask(struct http2_call *c)
{
	struct iovec part = { (char[]){ "ask" }, 3 };

	(void)http2_send(c, &part, 1, true);
}

/* The messages that came, as one text with "|" behind each, and the status. */
static int answers(struct http2_call *c, char *ret, size_t room)
{
	const uint8_t *bytes;
	size_t n, at = 0;

	while (http2_recv(c, &bytes, &n)) {
		assert_true(at + n + 2 < room);
		memcpy(ret + at, bytes, n);
		at += n;
		ret[at++] = '|';
	}
	ret[at] = '\0';
	return http2_status(c);
}

/* --- what servers say ------------------------------------------------------------------------ */

static const char *const head[] = { ":status=200", "content-type=application/grpc", NULL };

#define TEXT(s) (s), sizeof(s) - 1

static void say_answer(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, 0, 1, TEXT("\0\0\0\0\5hello\0\0\0\0\0\0\0\0\0\2ab"));
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=0", "grpc-message=", NULL });
}

static void say_bytewise(struct server *s)
{
	const char text[] = "\0\0\0\0\5hello";

	headers(&s->script, 0, head);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		frame(&s->script, DATA, 0, 1, text + i, 1);
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=0", NULL });
}

static void say_refusal(struct server *s)
{
	headers(&s->script, END_STREAM,
		(const char *[]){ ":status=200", "content-type=application/grpc", "grpc-status=5",
				  "grpc-message=no%20such%2Fthing%: 5%4", NULL });
}

static void say_late_refusal(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, 0, 1, TEXT("\0\0\0\0\5hello"));
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=13", NULL });
}

static void say_no_number(struct server *s)
{
	headers(&s->script, END_STREAM,
		(const char *[]){ ":status=200", "grpc-status=4294967296", NULL });
}

static void say_no_status(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, END_STREAM, 1, TEXT("\0\0\0\0\5hello"));
}

static void say_not_found(struct server *s)
{
	headers(&s->script, END_STREAM, (const char *[]){ ":status=404", "grpc-status=0", NULL });
}

static void say_error_page(struct server *s)
{
	headers(&s->script, END_STREAM, (const char *[]){ ":status=503", NULL });
}

static void say_compressed(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, 0, 1, TEXT("\1\0\0\0\5hello"));
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=0", NULL });
}

static void say_too_large(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, 0, 1, TEXT("\0\1\0\0\1x"));
}

static void say_cut_message(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, 0, 1, TEXT("\0\0\0\0\5hell"));
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=0", NULL });
}

static void say_cut_prefix(struct server *s)
{
	headers(&s->script, 0, head);
	frame(&s->script, DATA, 0, 1, TEXT("\0\0\0\0"));
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=0", NULL });
}

static void say_and_hang_up(struct server *s)
{
	headers(&s->script, 0, head);
	s->hangs_up = true;
}

static void say_http1(struct server *s)
{
	tl_buf_reset(&s->script);
	tl_buf_append_str(&s->script, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
}

static void say_too_large_frame(struct server *s)
{
	tl_buf_append(&s->script, TEXT("\xff\xff\xff\0\0\0\0\0\1"));
}

static void say_goaway(struct server *s)
{
	frame(&s->script, GOAWAY, 0, 0, TEXT("\0\0\0\0\0\0\0\0"));
}

static void reset(struct server *s, unsigned int code)
{
	const uint8_t bytes[4] = { 0, 0, 0, (uint8_t)code };

	frame(&s->script, RST_STREAM, 0, 1, bytes, sizeof(bytes));
}

#define SAY_RESET(name, code)                                                                      \
	static void name(struct server *s)                                                         \
	{                                                                                          \
		reset(s, code);                                                                    \
	}
SAY_RESET(say_reset_refused, 7)
SAY_RESET(say_reset_cancel, 8)
SAY_RESET(say_reset_calm, 11)
SAY_RESET(say_reset_internal, 2)

/* A good status too early counts for nothing if the call then breaks. */
static void say_status_and_reset(struct server *s)
{
	headers(&s->script, 0,
		(const char *[]){ ":status=200", "grpc-status=0", "grpc-message=well", NULL });
	reset(s, 2);
}

/* As Go's server does when it ends a call that the client hasn't half-closed. */
static void say_answer_and_reset(struct server *s)
{
	say_answer(s);
	reset(s, 0);
}

static void each_answer_has_its_messages_and_its_status(void **state)
{
	static const struct {
		const char *what;
		void (*say)(struct server *s);
		const char *messages;
		int status;
		const char *details;
	} rows[] = {
		{ "answer", say_answer, "hello||ab|", HTTP2_OK, "" },
		{ "bytewise", say_bytewise, "hello|", HTTP2_OK, "" },
		{ "answer and reset", say_answer_and_reset, "hello||ab|", HTTP2_OK, "" },
		{ "refusal", say_refusal, "", 5, "no such/thing%: 5%4" },
		{ "late refusal", say_late_refusal, "hello|", 13, "" },
		{ "no number", say_no_number, "", HTTP2_UNKNOWN, "" },
		{ "no status", say_no_status, "hello|", HTTP2_INTERNAL, "ended without a status" },
		{ "404", say_not_found, "", HTTP2_UNIMPLEMENTED, "HTTP status 404" },
		{ "503", say_error_page, "", HTTP2_UNKNOWN, "HTTP status 503" },
		{ "compressed", say_compressed, "", HTTP2_DATA_LOSS, "a compressed message" },
		{ "too large", say_too_large, "", HTTP2_RESOURCE_EXHAUSTED,
		  "a message above 16 MiB" },
		{ "cut", say_cut_message, "", HTTP2_DATA_LOSS, "ended within a message" },
		{ "cut prefix", say_cut_prefix, "", HTTP2_DATA_LOSS, "ended within a message" },
		{ "hangs up", say_and_hang_up, "", HTTP2_UNAVAILABLE, NULL },
		{ "HTTP/1.1", say_http1, "", HTTP2_UNAVAILABLE, NULL },
		{ "large frame", say_too_large_frame, "", HTTP2_UNAVAILABLE, NULL },
		{ "goaway", say_goaway, "", HTTP2_UNAVAILABLE, NULL },
		{ "refused", say_reset_refused, "", HTTP2_UNAVAILABLE,
		  "reset with HTTP/2 error 7" },
		{ "cancel", say_reset_cancel, "", HTTP2_CANCELLED, NULL },
		{ "calm", say_reset_calm, "", HTTP2_RESOURCE_EXHAUSTED, NULL },
		{ "status, reset", say_status_and_reset, "", HTTP2_INTERNAL,
		  "reset with HTTP/2 error 2" },
		{ "internal", say_reset_internal, "", HTTP2_INTERNAL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct server *s = server_new();
		struct http2_call *c;
		char messages[64];
		int status;

		rows[i].say(s);
		server_start(s);
		c = call_open(s, NULL, 20000);
		ask(c);
		status = answers(c, messages, sizeof(messages));
		if (status != rows[i].status || strcmp(messages, rows[i].messages) != 0)
			fail_msg("%s: status %d '%s', messages '%s'", rows[i].what, status,
				 http2_details(c), messages);
		if (rows[i].details)
			assert_string_equal(http2_details(c), rows[i].details);
		/* It stays as it was. */
		assert_int_equal(answers(c, messages, sizeof(messages)), rows[i].status);
		assert_string_equal(messages, "");
		http2_free(c);
		server_end(s);
	}
}

static void nobody_there_is_unavailable_at_once(void **state)
{
	const struct http2_request request = { .socket_path = "/nonexistent/socket",
					       .method = "/a.B/C",
					       .namespace = "default",
					       .deadline = tl_deadline_never() };
	struct http2_call *c = http2_open(&request);
	char messages[8];

	(void)state;
	ask(c);
	assert_int_equal(answers(c, messages, sizeof(messages)), HTTP2_UNAVAILABLE);
	assert_string_equal(http2_details(c), "No such file or directory");
	http2_free(c);
}

static void silence_ends_at_the_deadline(void **state)
{
	struct server *s = server_new();
	struct http2_call *c;
	char messages[8];
	uint64_t began_ms = tl_clock_mono_ms();

	(void)state;
	server_start(s);
	c = call_open(s, NULL, 50);
	ask(c);
	assert_int_equal(answers(c, messages, sizeof(messages)), HTTP2_DEADLINE_EXCEEDED);
	assert_true(tl_clock_mono_ms() - began_ms >= 50);
	http2_free(c);
	server_end(s);
}

static void *cancel_soon(void *arg)
{
	tl_clock_sleep_ms(20);
	http2_cancel(arg);
	return NULL;
}

static void either_cancellation_ends_it(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct server *s = server_new();
		auto_cancel struct tl_cancel *cancel = tl_cancel_new();
		struct http2_call *c;
		char messages[8];
		pthread_t thread;

		server_start(s);
		c = call_open(s, cancel, 20000);
		ask(c);
		if (i)
			tl_cancel_request(cancel);
		else
			assert_int_equal(pthread_create(&thread, NULL, cancel_soon, c), 0);
		assert_int_equal(answers(c, messages, sizeof(messages)), HTTP2_CANCELLED);
		if (!i)
			pthread_join(thread, NULL);
		http2_free(c);
		server_end(s);
	}
}

/* --- what the client says -------------------------------------------------------------------- */

/* The whole frame at @at, which moves behind it; NULL when there is none yet. */
static const uint8_t *heard_frame(const struct server *s, size_t *at, size_t *ret_n)
{
	const uint8_t *p = s->heard.data + *at;

	if (*at + FRAME_HEAD > s->heard.len_bytes)
		return NULL;
	*ret_n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	*at += FRAME_HEAD + *ret_n;
	return *at <= s->heard.len_bytes ? p : NULL;
}

/* The payloads of all frames of @type in what the server heard, one after the other. */
static size_t heard_payload(const struct server *s, unsigned int type, struct tl_buf *ret)
{
	size_t frames = 0, at = PREFACE_BYTES, n = 0;

	for (const uint8_t *p; (p = heard_frame(s, &at, &n));)
		if (p[3] == type && ++frames)
			assert_int_equal(tl_buf_append(ret, p + FRAME_HEAD, n), 0);
	return frames;
}

static size_t heard_data_bytes(const struct server *s)
{
	size_t sum = 0, at = PREFACE_BYTES, n = 0;

	for (const uint8_t *p; (p = heard_frame(s, &at, &n));)
		sum += p[3] == DATA ? n : 0;
	return sum;
}

#define LARGE_BYTES 200000

/* No more than the window comes until it is opened; a PING is answered meanwhile. */
static void play_window(struct server *s, int fd)
{
	auto_buf struct tl_buf pings = { 0 };
	const uint8_t more[4] = { 0, 0xf, 0xff, 0xff };

	tl_buf_init(&pings, SCRIPT_MAX);
	frame(&s->script, PING, 0, 0, TEXT("12345678"));
	say(s, fd);
	while (!s->hangs_up &&
	       (heard_data_bytes(s) < WINDOW_DEFAULT || heard_payload(s, PING, &pings) == 0))
		hear(s, fd);
	s->hangs_up |= heard_data_bytes(s) != WINDOW_DEFAULT ||
		       strncmp(tl_buf_str(&pings), "12345678", 8) != 0;
	frame(&s->script, WINDOW, 0, 0, more, sizeof(more));
	frame(&s->script, WINDOW, 0, 1, more, sizeof(more));
	say(s, fd);
	while (!s->hangs_up && heard_data_bytes(s) < LARGE_BYTES + 5)
		hear(s, fd);
	say_answer(s);
	say(s, fd);
}

static void a_large_message_waits_for_the_servers_window_and_arrives_whole(void **state)
{
	struct server *s = server_new();
	auto_buf struct tl_buf data = { 0 };
	auto_free uint8_t *bytes = malloc(LARGE_BYTES);
	const struct iovec parts[2] = { { bytes, 7 }, { bytes + 7, LARGE_BYTES - 7 } };
	struct http2_call *c;
	char messages[64];

	(void)state;
	for (size_t i = 0; i < LARGE_BYTES; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 4099);
	s->play = play_window;
	server_start(s);
	c = call_open(s, NULL, 20000);
	assert_true(http2_send(c, parts, 2, false));
	assert_true(http2_send(c, NULL, 0, true));
	assert_int_equal(answers(c, messages, sizeof(messages)), HTTP2_OK);
	assert_string_equal(messages, "hello||ab|");
	http2_free(c);
	tl_buf_init(&data, SCRIPT_MAX);
	heard_payload(s, DATA, &data);
	assert_int_equal(data.len_bytes, 5 + LARGE_BYTES);
	assert_memory_equal(data.data, "\0\0\3\x0d\x40", 5);
	assert_memory_equal(data.data + 5, bytes, LARGE_BYTES);
	server_end(s);
}

/* What the client has allowed in all, on the connection and on its one stream. */
static size_t heard_window(const struct server *s)
{
	size_t sums[2] = { WINDOW_DEFAULT, WINDOW_DEFAULT }, at = PREFACE_BYTES, n = 0;

	for (const uint8_t *p; (p = heard_frame(s, &at, &n));)
		if (p[3] == WINDOW)
			sums[p[8] & 1] += (size_t)p[10] << 16 | (size_t)p[11] << 8 | p[12];
	return sums[0] < sums[1] ? sums[0] : sums[1];
}

/* The window opens as messages are asked for, so more than it holds arrives. */
static void play_flood(struct server *s, int fd)
{
	static uint8_t bytes[16384];

	headers(&s->script, 0, head);
	memcpy(bytes, "\0\0\0\x3f\xfb", 5); /* one message a frame */
	for (size_t sent = 0; sent < 1024 * 1024; sent += sizeof(bytes)) {
		while (!s->hangs_up && sent + sizeof(bytes) > heard_window(s))
			hear(s, fd);
		frame(&s->script, DATA, 0, 1, bytes, sizeof(bytes));
		say(s, fd);
	}
	headers(&s->script, END_STREAM, (const char *[]){ "grpc-status=0", NULL });
	say(s, fd);
}

static void more_than_the_window_arrives_as_it_is_asked_for(void **state)
{
	struct server *s = server_new();
	struct http2_call *c;
	const uint8_t *bytes;
	size_t n, messages = 0;

	(void)state;
	s->play = play_flood;
	server_start(s);
	c = call_open(s, NULL, 20000);
	ask(c);
	while (http2_recv(c, &bytes, &n)) {
		assert_int_equal(n, 16379);
		messages++;
	}
	assert_int_equal(http2_status(c), HTTP2_OK);
	assert_int_equal(messages, 64);
	http2_free(c);
	server_end(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_answer_has_its_messages_and_its_status),
		cmocka_unit_test(nobody_there_is_unavailable_at_once),
		cmocka_unit_test(silence_ends_at_the_deadline),
		cmocka_unit_test(either_cancellation_ends_it),
		cmocka_unit_test(a_large_message_waits_for_the_servers_window_and_arrives_whole),
		cmocka_unit_test(more_than_the_window_arrives_as_it_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
