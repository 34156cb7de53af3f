/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of gRPC without a process, a thread or a file: connect() of the programs linked with
 * this (--wrap) gets a socket in which all that the server will ever say lies already, and then its
 * end. What the client says is read by nobody.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <teelaunch/buf.h>

#include "fuzz.h"

/* RFC 9113, section 6. */
enum { WIRE_DATA = 0, WIRE_HEADERS = 1, WIRE_SETTINGS = 4 };
enum { WIRE_END_STREAM = 1, WIRE_END_HEADERS = 4 };

/* Of a script: what a Unix socket takes at once. */
#define WIRE_BYTES_MAX (128 * 1024)

/** What each connection gets from now on; borrowed. @piece  what recv() gives at most; not 0. */
void wire_set(const struct tl_buf *script, size_t piece);
/** Closes the servers' ends. */
void wire_end(void);

/** Appends one frame; @id is 31 bits. */
void wire_frame(struct tl_buf *to, unsigned int type, unsigned int flags, uint32_t id,
		const void *data, size_t n);
/** HEADERS of stream 1: "name=value" each, to NULL, below 127 bytes. */
void wire_headers(struct tl_buf *to, unsigned int flags, const char *const *fields);
/** A gRPC message of stream 1, in as many DATA frames as it takes. */
void wire_message(struct tl_buf *to, const void *data, size_t n);

/* In place of connect(2) and recv(2). */
int __wrap_connect(int fd, const struct sockaddr *at, socklen_t n);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __real_recv(int fd, void *to, size_t n, int flags);
