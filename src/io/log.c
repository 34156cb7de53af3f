/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/log.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <teelaunch/clock.h>
#include <teelaunch/str.h>

/* How long a sink may block one line: a serial line of 115200 baud takes the longest one in less.
 * One that took nothing for so long isn't waited for again until it takes something. */
#define SINK_WAIT_MS 1000
#define TO_CONSOLE   (-1) /* in place of a descriptor */

static atomic_int log_level = LOG_INFO;
static atomic_int console_fd = -1;
static atomic_ulong dropped;
/* Who writes a line to the console, in turns: a workload that writes all the time keeps nobody
 * waiting for more than a line. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t turn;
	uint64_t next, now;
	bool is_torn; /* the last line has no end */
} console_turns = { .lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER };
static atomic_bool is_console_stuck, is_stderr_stuck;
/* Held while one of the two is called, so that it isn't afterwards. */
static pthread_rwlock_t sink_lock = PTHREAD_RWLOCK_INITIALIZER;
static void (*sink_line)(void *ctx, int level, const char *event, const char *text);
static void *sink_ctx;
static bool (*journal_line)(void *ctx, int level, const char *event, const char *text);
static void *journal_ctx;

void tl_log_set_level(int level)
{
	log_level = level;
}

/* In a turn of its own: nobody writes to the one before any more. */
void tl_log_set_console(int fd)
{
	(void)tl_log_console_begin();
	console_fd = fd;
	is_console_stuck = false;
	tl_log_console_end(false);
}

void tl_log_set_sink(void (*line)(void *ctx, int level, const char *event, const char *text),
		     void *ctx)
{
	pthread_rwlock_wrlock(&sink_lock);
	sink_line = line;
	sink_ctx = ctx;
	pthread_rwlock_unlock(&sink_lock);
}

void tl_log_set_journal(bool (*line)(void *ctx, int level, const char *event, const char *text),
			void *ctx)
{
	pthread_rwlock_wrlock(&sink_lock);
	journal_line = line;
	journal_ctx = ctx;
	pthread_rwlock_unlock(&sink_lock);
}

unsigned long tl_log_dropped(void)
{
	return dropped;
}

const char *tl_log_level_name(int level)
{
	if (level <= LOG_ERR)
		return "ERROR";
	if (level == LOG_WARNING)
		return "WARN";
	return level == LOG_DEBUG ? "DEBUG" : "INFO";
}

/*
 * A sink that nobody reads must not stop the launch: wait a little, then drop. poll() promises no
 * more than PIPE_BUF bytes, so a longer line goes in pieces, each of which is waited for.
 */
static int write_bounded(int fd, const char *data, size_t n, bool is_stuck, size_t *ret_done)
{
	uint64_t until_ms = tl_clock_mono_ms() + (is_stuck ? 0 : SINK_WAIT_MS);
	size_t all = n;

	while (n) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		uint64_t now_ms = tl_clock_mono_ms();
		ssize_t w;

		if (now_ms > until_ms || poll(&p, 1, (int)(until_ms - now_ms)) != 1)
			return -EIO;
		w = write(fd, data, n < PIPE_BUF ? n : PIPE_BUF);
		if (w < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (w > 0) {
			data += w;
			n -= (size_t)w;
			*ret_done = all - n;
		}
	}
	return 0;
}

bool tl_log_console_begin(void)
{
	uint64_t mine;
	bool is_torn;

	pthread_mutex_lock(&console_turns.lock);
	mine = console_turns.next++;
	while (console_turns.now != mine)
		pthread_cond_wait(&console_turns.turn, &console_turns.lock);
	is_torn = console_turns.is_torn;
	pthread_mutex_unlock(&console_turns.lock);
	return is_torn;
}

void tl_log_console_end(bool is_torn)
{
	pthread_mutex_lock(&console_turns.lock);
	console_turns.is_torn = is_torn;
	console_turns.now++;
	pthread_cond_broadcast(&console_turns.turn);
	pthread_mutex_unlock(&console_turns.lock);
}

/* Which one it is counts in the turn: before, it may still be closed, and its number another
 * file's. */
static int console_write(const char *line, size_t n, bool is_stuck)
{
	bool is_torn = tl_log_console_begin();
	const int fd = console_fd;
	size_t done = 0;
	int r = fd >= 0 && is_torn ? write_bounded(fd, "\n", 1, is_stuck, &done) : 0;

	if (fd >= 0 && r == 0) {
		done = 0;
		r = write_bounded(fd, line, n, is_stuck, &done);
		is_torn = done > 0 && done < n;
	}
	tl_log_console_end(is_torn);
	return r;
}

/* @fd: or TO_CONSOLE. @is_stuck: known to be; true again where it took nothing. */
static int line_write(int fd, const char *line, size_t n, atomic_bool *is_stuck)
{
	size_t done = 0;
	bool stuck = is_stuck && *is_stuck;
	int r = fd == TO_CONSOLE ? console_write(line, n, stuck)
				 : write_bounded(fd, line, n, stuck, &done);

	if (is_stuck)
		*is_stuck = r < 0;
	if (r < 0)
		dropped++;
	return r < 0 ? -EIO : 0;
}

static int write_line(int fd, const struct iovec *iov, int n, atomic_bool *is_stuck)
{
	char line[TL_LOG_LINE_MAX + 256];
	size_t len = 0;

	for (int i = 0; i < n && len + iov[i].iov_len <= sizeof(line); i++) {
		memcpy(line + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return line_write(fd, line, len, is_stuck);
}

int tl_log_raw(int fd, const char *line, size_t n)
{
	return line_write(fd == console_fd ? TO_CONSOLE : fd, line, n, NULL);
}

const char *tl_log_quote(const char *s, char *buf, size_t cap_bytes)
{
	size_t at = 0;

	for (; *s && at + 2 < cap_bytes; s++) {
		if (*s == '\'' || *s == '\\')
			buf[at++] = '\\';
		buf[at++] = *s;
	}
	buf[at] = '\0';
	return buf;
}

static int time_prefix(char *ret, size_t cap)
{
	struct timespec t = { 0 };
	struct tm tm;
	char seconds[32];

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	return snprintf(ret, cap, "time=%s.%03ldZ ", seconds, t.tv_nsec / 1000000);
}

/* To those who take lines by a call. True if one of them is the journal. */
static bool line_hand_over(int level, const char *event, const char *text)
{
	bool has_journal;

	pthread_rwlock_rdlock(&sink_lock);
	has_journal = journal_line;
	if (has_journal && !journal_line(journal_ctx, level, event, text))
		dropped++;
	if (sink_line)
		sink_line(sink_ctx, level, event, text);
	pthread_rwlock_unlock(&sink_lock);
	return has_journal;
}

__attribute__((format(printf, 4, 0))) static void
event_write(bool has_console, int level, const char *event, const char *fmt, va_list ap)
{
	char raw[TL_LOG_LINE_MAX];
	char text[TL_LOG_LINE_MAX];
	char priority[8], stamp[64], head[128];

	if (level > log_level)
		return;
	vsnprintf(raw, sizeof(raw), fmt, ap);
	tl_str_escape(raw, text, sizeof(text));
	snprintf(priority, sizeof(priority), "<%d>", level);
	time_prefix(stamp, sizeof(stamp));
	snprintf(head, sizeof(head), "level=%s event=%s ", tl_log_level_name(level), event);

	/* journald has its own clock and reads the priority; a person and the console want the
	 * time. */
	bool for_person = isatty(STDERR_FILENO);
	const struct iovec line[] = {
		{ for_person ? stamp : priority, strlen(for_person ? stamp : priority) },
		{ head, strlen(head) },
		{ text, strlen(text) },
		{ (void *)(uintptr_t) "\n", 1 },
	};
	if (!line_hand_over(level, event, text))
		write_line(STDERR_FILENO, line, 4, &is_stderr_stuck);
	if (has_console) {
		struct iovec on_console[] = { { stamp, strlen(stamp) }, line[1], line[2], line[3] };

		write_line(TO_CONSOLE, on_console, 4, &is_console_stuck);
	}
}

void tl_log_event(int level, const char *event, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	event_write(console_fd >= 0, level, event, fmt, ap);
	va_end(ap);
}

void tl_log_event_quiet(int level, const char *event, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	event_write(false, level, event, fmt, ap);
	va_end(ap);
}
