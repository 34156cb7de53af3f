/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server may say on containerd's socket: frames of HTTP/2, messages of gRPC. The call ends,
 * its end is stable, and neither the messages nor success depend on how the bytes come in.
 *
 * The first byte: bit 0, the bytes are the wire's, else each frame is kind, flags, stream, length,
 * payload, and gets its head from here; the rest, how large the pieces are that come in.
 */
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "launcher/containerd/http2.h"
#include "wire.h"

#define INPUT_MAX  8192 /* below what nghttp2 takes for a flood */
#define HEAD_BYTES 4
#define FNV_START  UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME  UINT64_C(0x100000001b3)

enum { KIND_TYPE = 0x0f, KIND_MESSAGE = 0x10, KIND_HEAD = 0x20, KIND_TRAILERS = 0x40 };

struct outcome {
	int status;
	char details[600];
	size_t messages_n, bytes;
	uint64_t hash;
};

static const char *const head[] = { ":status=200", "content-type=application/grpc", NULL };

static void trailers(struct tl_buf *to, const uint8_t *text, size_t n)
{
	char message[100] = "grpc-message=";
	const size_t at = strlen(message);
	const char *const fields[] = { n & 1 ? "grpc-status=5" : "grpc-status=0", message, NULL };

	for (size_t i = 0; i < n && at + i + 1 < sizeof(message); i++)
		message[at + i] = text[i] > ' ' && text[i] < 0x7f ? (char)text[i] : '%';
	wire_headers(to, WIRE_END_STREAM, fields);
}

static void frames(struct tl_buf *to, const uint8_t *data, size_t n)
{
	wire_frame(to, WIRE_SETTINGS, 0, 0, "", 0);
	while (n >= HEAD_BYTES) {
		const uint8_t *payload = data + HEAD_BYTES;
		size_t len = data[3] < n - HEAD_BYTES ? data[3] : n - HEAD_BYTES;

		if (data[0] & KIND_HEAD)
			wire_headers(to, 0, head);
		else if (data[0] & KIND_TRAILERS)
			trailers(to, payload, len);
		else if (data[0] & KIND_MESSAGE)
			wire_message(to, payload, len);
		else
			wire_frame(to, data[0] & KIND_TYPE, data[1],
				   data[2] == UINT8_MAX ? INT32_MAX : data[2] & 3, payload, len);
		data += HEAD_BYTES + len;
		n -= HEAD_BYTES + len;
	}
}

static void hash_add(uint64_t *hash, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*hash = (*hash ^ data[i]) * FNV_PRIME;
	*hash = (*hash ^ n) * FNV_PRIME;
}

static void call(const struct tl_buf *script, size_t piece, struct outcome *ret)
{
	static const struct http2_request request = {
		.socket_path = "/run/containerd/containerd.sock",
		.method = "/a.B/C",
		.namespace = "default",
		.lease = "l",
		.deadline = { UINT64_MAX },
	};
	char question[] = "question";
	const struct iovec part = { question, sizeof(question) };
	struct http2_call *c;
	const uint8_t *message;
	size_t n;

	wire_set(script, piece);
	c = http2_open(&request);
	FUZZ_CHECK(c);
	*ret = (struct outcome){ .hash = FNV_START };
	(void)http2_send(c, &part, 1, true);
	while (http2_recv(c, &message, &n)) {
		ret->messages_n++;
		ret->bytes += n;
		hash_add(&ret->hash, message, n);
	}
	ret->status = http2_status(c);
	FUZZ_CHECK(strlen(http2_details(c)) < 512);
	snprintf(ret->details, sizeof(ret->details), "%s", http2_details(c));
	FUZZ_CHECK(!http2_recv(c, &message, &n) && http2_status(c) == ret->status);
	FUZZ_CHECK(!http2_send(c, &part, 1, true) && http2_status(c) == ret->status);
	http2_free(c);
	wire_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct tl_buf script = { 0 };
	struct outcome whole, pieces;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	tl_buf_init(&script, WIRE_BYTES_MAX * 8);
	if (data[0] & 1)
		FUZZ_CHECK(tl_buf_append(&script, data + 1, size - 1) == 0);
	else
		frames(&script, data + 1, size - 1);
	if (script.len_bytes > WIRE_BYTES_MAX)
		return 0;
	call(&script, WIRE_BYTES_MAX, &whole);
	FUZZ_CHECK(whole.bytes <= script.len_bytes);
	/* A server that said nothing of HTTP/2 has not said that all is well. */
	FUZZ_CHECK(whole.status != HTTP2_OK || script.len_bytes > HEAD_BYTES);
	call(&script, (size_t)(data[0] >> 1) + 1, &pieces);
	/* After a breach of the protocol, which of its ends is seen first depends on that. */
	FUZZ_CHECK((whole.status == HTTP2_OK) == (pieces.status == HTTP2_OK));
	FUZZ_CHECK(whole.status != HTTP2_OK || strcmp(whole.details, pieces.details) == 0);
	FUZZ_CHECK(whole.messages_n == pieces.messages_n && whole.hash == pieces.hash);
	return 0;
}
