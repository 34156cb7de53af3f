/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of gRPC without a process, a thread, a file or the kernel: sockets of the programs that
 * are linked with this (--wrap) are numbers. All that the server will ever say can be read at once,
 * and then its end. What the client says is taken, and read by nobody.
 */
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <teelaunch/buf.h>

#include "fuzz.h"

/* RFC 9113, section 6. */
enum { WIRE_DATA = 0, WIRE_HEADERS = 1, WIRE_SETTINGS = 4 };
enum { WIRE_END_STREAM = 1, WIRE_END_HEADERS = 4 };

/* Of a script. */
#define WIRE_BYTES_MAX (128 * 1024)

/** What each connection gets from now on; borrowed. @piece  what recv() gives at most; not 0. */
void wire_set(const struct tl_buf *script, size_t piece);
/** Every socket is closed, or the client leaks. */
void wire_end(void);

/** Appends one frame; @id is 31 bits. */
void wire_frame(struct tl_buf *to, unsigned int type, unsigned int flags, uint32_t id,
		const void *data, size_t n);
/** HEADERS of stream 1: "name=value" each, to NULL, below 127 bytes. */
void wire_headers(struct tl_buf *to, unsigned int flags, const char *const *fields);
/** A gRPC message of stream 1, in as many DATA frames as it takes. */
void wire_message(struct tl_buf *to, const void *data, size_t n);

/* In place of the C library's. What isn't a socket of these goes there. */
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *at, socklen_t n);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_close(int fd);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_close(int fd);
