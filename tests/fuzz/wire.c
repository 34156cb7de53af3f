/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <stdbool.h>
#include <string.h>

#define FRAME_BYTES_MAX 16384 /* RFC 9113, section 4.2: without another SETTINGS */
#define PREFIX_BYTES    5
#define CALLS_MAX       16

/* Above what the kernel gives. */
#define FD_FIRST (1 << 28)

static struct {
	const struct tl_buf *script;
	size_t piece;
	struct {
		bool is_open, is_connected;
		size_t at; /* of the script: what was read */
	} calls[CALLS_MAX];
} wire;

void wire_set(const struct tl_buf *script, size_t piece)
{
	FUZZ_CHECK(piece && script->len_bytes <= WIRE_BYTES_MAX);
	wire_end();
	wire.script = script;
	wire.piece = piece;
}

void wire_end(void)
{
	for (size_t i = 0; i < CALLS_MAX; i++)
		FUZZ_CHECK(!wire.calls[i].is_open);
}

static size_t call_of(int fd)
{
	FUZZ_CHECK(fd >= FD_FIRST && fd < FD_FIRST + CALLS_MAX);
	FUZZ_CHECK(wire.calls[fd - FD_FIRST].is_open);
	return (size_t)(fd - FD_FIRST);
}

int __wrap_socket(int domain, int type, int protocol)
{
	size_t i = 0;

	FUZZ_CHECK(domain == AF_UNIX && (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM);
	FUZZ_CHECK(!protocol);
	while (i < CALLS_MAX && wire.calls[i].is_open)
		i++;
	FUZZ_CHECK(i < CALLS_MAX);
	wire.calls[i].is_open = true;
	wire.calls[i].is_connected = false;
	wire.calls[i].at = 0;
	return FD_FIRST + (int)i;
}

int __wrap_connect(int fd, const struct sockaddr *at, socklen_t n)
{
	FUZZ_CHECK(at->sa_family == AF_UNIX && n);
	wire.calls[call_of(fd)].is_connected = true;
	return 0;
}

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
	size_t i = call_of(fd);
	size_t left = wire.script->len_bytes - wire.calls[i].at;

	FUZZ_CHECK(wire.calls[i].is_connected && !flags);
	if (n > left)
		n = left;
	if (n > wire.piece)
		n = wire.piece;
	if (n)
		memcpy(to, wire.script->data + wire.calls[i].at, n);
	wire.calls[i].at += n;
	return (ssize_t)n;
}

/* The bytes are looked at, for the sanitizers. */
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags)
{
	uint8_t taken[4096];

	(void)flags;
	FUZZ_CHECK(wire.calls[call_of(fd)].is_connected);
	if (n > sizeof(taken))
		n = sizeof(taken);
	memcpy(taken, from, n);
	return (ssize_t)n;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (!n || fds[0].fd < FD_FIRST)
		return __real_poll(fds, n, timeout_ms);
	(void)call_of(fds[0].fd);
	for (nfds_t i = 1; i < n; i++)
		fds[i].revents = 0; /* nobody cancels */
	fds[0].revents = fds[0].events & (POLLIN | POLLOUT);
	return fds[0].revents ? 1 : 0;
}

int __wrap_close(int fd)
{
	if (fd < FD_FIRST)
		return __real_close(fd);
	wire.calls[call_of(fd)].is_open = false;
	return 0;
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
