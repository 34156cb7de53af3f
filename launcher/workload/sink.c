/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>

#include "sink.h"

void sink_open(struct sink *s, int fd, bool is_records)
{
	auto_free char *link = NULL;
	struct stat st;
	int own;

	*s = (struct sink){ .fd = fd, .is_records = is_records };
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	s->is_socket = S_ISSOCK(st.st_mode);
	if (s->is_socket || S_ISREG(st.st_mode) || asprintf(&link, "/proc/self/fd/%d", fd) < 0)
		return;
	own = open(link, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own < 0)
		return;
	s->fd = own;
	s->is_owned = true;
}

void sink_close(struct sink *s)
{
	if (s->is_owned)
		close(s->fd);
	s->fd = -1;
	s->is_owned = false;
}

/* Where O_NONBLOCK couldn't be had, a ready pipe takes PIPE_BUF bytes without blocking. */
static ssize_t write_some(const struct sink *s, const char *data, size_t n)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };

	if (s->is_socket)
		return send(s->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!s->is_owned) {
		if (poll(&p, 1, 0) == 0) {
			errno = EAGAIN;
			return -1;
		}
		n = n < PIPE_BUF ? n : PIPE_BUF;
	}
	return write(s->fd, data, n);
}

/* True if it is worth trying again. */
static bool wait_writable(const struct sink *s, uint64_t until_ms)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };
	uint64_t now_ms = tl_clock_mono_ms();

	if (errno == EINTR)
		return true;
	if (errno != EAGAIN || now_ms >= until_ms)
		return false;
	return poll(&p, 1, (int)(until_ms - now_ms)) > 0;
}

static size_t write_bounded(struct sink *s, const char *data, size_t n)
{
	uint64_t until_ms = tl_clock_mono_ms() + (s->is_stuck ? 0 : SINK_PATIENCE_MS);
	size_t done = 0;

	while (done < n) {
		ssize_t k = write_some(s, data + done, n - done);

		if (k > 0) {
			done += (size_t)k;
			s->is_stuck = false;
		} else if (!wait_writable(s, until_ms)) {
			s->is_stuck = true;
			break;
		}
	}
	return done;
}

/* One line, between those of others. */
static void console_write(struct sink *s, const char *line, size_t n)
{
	bool is_torn = tl_log_console_begin();
	size_t done = 0;

	if (is_torn && write_bounded(s, "\n", 1) == 1)
		is_torn = false;
	if (!is_torn) {
		done = write_bounded(s, line, n);
		is_torn = done > 0 && done < n;
	}
	tl_log_console_end(is_torn);
	s->dropped_bytes += n - done;
}

static void console_lines_write(struct sink *s, const char *data, size_t n)
{
	while (n > 0) {
		const char *end = memchr(data, '\n', n);
		size_t line_n = end ? (size_t)(end - data) + 1 : n;

		console_write(s, data, line_n);
		data += line_n;
		n -= line_n;
	}
}

void sink_write(struct sink *s, const void *data, size_t n)
{
	size_t done;

	if (s->fd < 0 || n == 0)
		return;
	if (s->is_console && s->is_records) {
		console_lines_write(s, data, n);
		return;
	}
	if (s->is_torn && write_bounded(s, "\n", 1) == 1)
		s->is_torn = false;
	done = s->is_torn ? 0 : write_bounded(s, data, n);
	if (s->is_records && done > 0 && done < n)
		s->is_torn = ((const char *)data)[done - 1] != '\n';
	s->dropped_bytes += n - done;
}
