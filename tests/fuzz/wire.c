/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FRAME_BYTES_MAX 16384 /* RFC 9113, section 4.2: without another SETTINGS */
#define PREFIX_BYTES    5
#define CALLS_MAX       16

static struct {
	const struct tl_buf *script;
	size_t piece;
	int ends[CALLS_MAX];
	size_t n;
} wire;

void wire_set(const struct tl_buf *script, size_t piece)
{
	FUZZ_CHECK(piece && script->len_bytes <= WIRE_BYTES_MAX && !wire.n);
	wire.script = script;
	wire.piece = piece;
}

void wire_end(void)
{
	while (wire.n)
		close(wire.ends[--wire.n]);
}

int __wrap_connect(int fd, const struct sockaddr *at, socklen_t n)
{
	int ends[2];

	(void)at;
	(void)n;
	FUZZ_CHECK(wire.n < CALLS_MAX);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	FUZZ_CHECK(send(ends[1], wire.script->data, wire.script->len_bytes, 0) ==
		   (ssize_t)wire.script->len_bytes);
	FUZZ_CHECK(shutdown(ends[1], SHUT_WR) == 0);
	FUZZ_CHECK(dup3(ends[0], fd, O_CLOEXEC) == fd);
	close(ends[0]);
	wire.ends[wire.n++] = ends[1];
	return 0;
}

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
	return __real_recv(fd, to, n < wire.piece ? n : wire.piece, flags);
}

void wire_frame(struct tl_buf *to, unsigned int type, unsigned int flags, uint32_t id,
		const void *data, size_t n)
{
	FUZZ_CHECK(tl_buf_append_u8(to, (uint8_t)(n >> 16)) == 0);
	FUZZ_CHECK(tl_buf_append_be16(to, (uint16_t)n) == 0);
	FUZZ_CHECK(tl_buf_append_u8(to, (uint8_t)type) == 0);
	FUZZ_CHECK(tl_buf_append_u8(to, (uint8_t)flags) == 0);
	FUZZ_CHECK(tl_buf_append_be32(to, id) == 0);
	FUZZ_CHECK(tl_buf_append(to, data, n) == 0);
}

/* Literals that are in no table (RFC 7541, section 6.2.2). */
void wire_headers(struct tl_buf *to, unsigned int flags, const char *const *fields)
{
	uint8_t block[512];
	size_t n = 0;

	for (; *fields; fields++) {
		const char *value = strchr(*fields, '=') + 1;
		size_t name_n = (size_t)(value - 1 - *fields), value_n = strlen(value);

		FUZZ_CHECK(name_n < 127 && value_n < 127);
		FUZZ_CHECK(n + 3 + name_n + value_n <= sizeof(block));
		block[n++] = 0;
		block[n++] = (uint8_t)name_n;
		memcpy(block + n, *fields, name_n);
		n += name_n;
		block[n++] = (uint8_t)value_n;
		memcpy(block + n, value, value_n);
		n += value_n;
	}
	wire_frame(to, WIRE_HEADERS, WIRE_END_HEADERS | flags, 1, block, n);
}

void wire_message(struct tl_buf *to, const void *data, size_t n)
{
	const uint8_t prefix[PREFIX_BYTES] = { 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
					       (uint8_t)(n >> 8), (uint8_t)n };
	const uint8_t *at = data;

	wire_frame(to, WIRE_DATA, 0, 1, prefix, sizeof(prefix));
	while (n) {
		size_t now = n < FRAME_BYTES_MAX ? n : FRAME_BYTES_MAX;

		wire_frame(to, WIRE_DATA, 0, 1, at, now);
		at += now;
		n -= now;
	}
}
