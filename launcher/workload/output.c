/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>
#include <teelaunch/thread.h>

#include "console_lines.h"
#include "json_lines.h"
#include "output.h"
#include "sink.h"

#define READ_BYTES (32 * 1024)
/* A longer line is cut: log collectors have limits of their own (journald: 48 KiB). */
#define LINE_BYTES_MAX (32 * 1024)
/* A line without an end (a prompt) is passed on after this. */
#define LINE_FLUSH_MS 500

#define FOLDER_PREFIX "output-"
#define FOLDER        FOLDER_PREFIX "XXXXXX" /* of mkdtemp() */

enum { STDOUT, STDERR, STREAMS };

static const char *const names[STREAMS] = { "stdout", "stderr" };
static const char *const severities[STREAMS] = { "INFO", "ERROR" };
static const int levels[STREAMS] = { LOG_INFO, LOG_ERR };
static const char *const prefixes[STREAMS] = { OUTPUT_PREFIX, OUTPUT_PREFIX_STDERR };

struct stream {
	char *path;
	int fd;
	struct sink json;
	char line[LINE_BYTES_MAX];
	size_t line_n;
	uint64_t line_since_ms;
	bool is_ended;
};

struct output {
	char *dir;
	struct stream streams[STREAMS];
	struct sink console;
	bool is_console_raw;
	void (*records)(void *ctx, int level, const char *lines, size_t n);
	void *records_ctx;
	struct tl_buf encoded;
	uint64_t bytes, lines;
	int wake_fd;
	_Atomic uint64_t drain_until_ms; /* UINT64_MAX: the workload runs */
	pthread_t thread;
	bool is_started;
	char chunk[READ_BYTES];
};

static int fifo_open(struct output *o, int i, struct tl_error *err)
{
	struct stream *s = &o->streams[i];

	if (asprintf(&s->path, "%s/%s", o->dir, names[i]) < 0) {
		s->path = NULL;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "output pipes");
	}
	if (mkfifo(s->path, 0600) < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_OUTPUT, errno, "make '%s'", s->path);
	/* Open before the shim opens its end: nobody blocks, and nothing written gets lost. */
	s->fd = open(s->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return s->fd < 0 ? tl_fail_sys(err, TL_E_CONTAINER_OUTPUT, errno, "open '%s'", s->path) : 0;
}

/* Only what is made here: pipes in a folder, which no link leads to. */
static int folder_remove(int parent_fd, const char *folder)
{
	auto_close int fd =
		openat(parent_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < STREAMS; i++) {
		struct stat st;

		if (fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISFIFO(st.st_mode))
			(void)unlinkat(fd, names[i], 0);
	}
	return unlinkat(parent_fd, folder, AT_REMOVEDIR);
}

void output_remove_earlier(const char *parent)
{
	DIR *dir = opendir(parent);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strlen(entry->d_name) == strlen(FOLDER) &&
		    strncmp(entry->d_name, FOLDER, strlen(FOLDER_PREFIX)) == 0)
			(void)folder_remove(dirfd(dir), entry->d_name);
	if (dir)
		closedir(dir);
}

static int dir_make(struct output *o, const char *parent, struct tl_error *err)
{
	auto_free char *dir = NULL;

	if (asprintf(&dir, "%s/" FOLDER, parent) < 0) {
		dir = NULL;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "output pipes");
	}
	if (!mkdtemp(dir))
		return tl_fail_sys(err, TL_E_CONTAINER_OUTPUT, errno, "make a folder in '%s'",
				   parent);
	o->dir = take_ptr(dir);
	return 0;
}

int output_open(const struct output_config *config, struct output **ret, struct tl_error *err)
{
	struct output *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "output pipes");
	atomic_init(&o->drain_until_ms, UINT64_MAX);
	tl_buf_init(&o->encoded,
		    LINE_BYTES_MAX * JSON_LINES_GROWTH + READ_BYTES * JSON_LINES_OVERHEAD);
	o->is_console_raw = config->is_console_raw;
	o->records = config->records;
	o->records_ctx = config->records_ctx;
	for (int i = 0; i < STREAMS; i++)
		o->streams[i].fd = -1;
	sink_open(&o->console, config->console_fd, !config->is_console_raw);
	o->console.is_console = true;
	sink_open(&o->streams[STDOUT].json, config->stdout_fd, true);
	sink_open(&o->streams[STDERR].json, config->stderr_fd, true);
	o->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = o->wake_fd < 0 ? tl_fail_sys(err, TL_E_CONTAINER_OUTPUT, errno, "eventfd") : 0;
	if (r == 0)
		r = dir_make(o, config->dir, err);
	for (int i = 0; r == 0 && i < STREAMS; i++)
		r = fifo_open(o, i, err);
	if (r < 0) {
		output_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

const char *output_stdout_path(const struct output *o)
{
	return o ? o->streams[STDOUT].path : NULL;
}

const char *output_stderr_path(const struct output *o)
{
	return o ? o->streams[STDERR].path : NULL;
}

/* What was encoded, with code @r, of @n bytes. */
static void encoded_write(struct output *o, struct sink *to, int r, size_t n)
{
	if (r == 0)
		sink_write(to, o->encoded.data, o->encoded.len_bytes);
	else
		to->dropped_bytes += n;
	tl_buf_reset(&o->encoded);
}

static bool is_console_lines(const struct output *o)
{
	return o->console.fd >= 0 && !o->is_console_raw;
}

static void lines_emit(struct output *o, int i, bool is_flush)
{
	struct stream *s = &o->streams[i];
	size_t n = s->is_ended ? s->line_n : json_lines_complete(s->line, s->line_n, is_flush);

	if (n == 0)
		return;
	tl_buf_reset(&o->encoded);
	if (s->json.fd >= 0 || o->records) {
		int r = json_lines_encode(severities[i], s->line, n, &o->encoded);

		if (r == 0 && o->records)
			o->records(o->records_ctx, levels[i], tl_buf_str(&o->encoded),
				   o->encoded.len_bytes);
		encoded_write(o, &s->json, r, n);
	}
	if (is_console_lines(o))
		encoded_write(o, &o->console,
			      console_lines_encode(prefixes[i], s->line, n, &o->encoded), n);
	memmove(s->line, s->line + n, s->line_n - n);
	s->line_n -= n;
}

static void lines_feed(struct output *o, int i, const char *data, size_t n)
{
	struct stream *s = &o->streams[i];

	while (n > 0) {
		size_t part = LINE_BYTES_MAX - s->line_n;

		part = part < n ? part : n;
		if (s->line_n == 0)
			s->line_since_ms = tl_clock_mono_ms();
		memcpy(s->line + s->line_n, data, part);
		s->line_n += part;
		data += part;
		n -= part;
		lines_emit(o, i, s->line_n == LINE_BYTES_MAX);
	}
}

static uint64_t count_lines(const char *data, size_t n)
{
	const char *end = data + n;
	uint64_t lines = 0;

	while ((data = memchr(data, '\n', (size_t)(end - data)))) {
		data++;
		lines++;
	}
	return lines;
}

/* One read: the streams take turns. */
static void stream_relay(struct output *o, int i)
{
	struct stream *s = &o->streams[i];
	ssize_t n = read(s->fd, o->chunk, sizeof(o->chunk));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		o->bytes += (uint64_t)n;
		o->lines += count_lines(o->chunk, (size_t)n);
		if (o->is_console_raw)
			sink_write(&o->console, o->chunk, (size_t)n);
		if (s->json.fd >= 0 || o->records || is_console_lines(o))
			lines_feed(o, i, o->chunk, (size_t)n);
		return;
	}
	s->is_ended = true;
	lines_emit(o, i, true);
}

static int wait_ms(const struct output *o, uint64_t now_ms)
{
	uint64_t until_ms = atomic_load(&o->drain_until_ms);

	for (int i = 0; i < STREAMS; i++) {
		const struct stream *s = &o->streams[i];

		if (s->line_n && s->line_since_ms + LINE_FLUSH_MS < until_ms)
			until_ms = s->line_since_ms + LINE_FLUSH_MS;
	}
	if (until_ms == UINT64_MAX)
		return -1;
	return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

static void idle_lines_flush(struct output *o)
{
	uint64_t now_ms = tl_clock_mono_ms();

	for (int i = 0; i < STREAMS; i++) {
		struct stream *s = &o->streams[i];

		if (!s->line_n || s->line_since_ms + LINE_FLUSH_MS > now_ms)
			continue;
		lines_emit(o, i, true);
		s->line_since_ms = now_ms;
	}
}

static bool is_done(const struct output *o)
{
	return (o->streams[STDOUT].is_ended && o->streams[STDERR].is_ended) ||
	       tl_clock_mono_ms() >= atomic_load(&o->drain_until_ms);
}

/* Before the shim has opened its end, poll() says nothing; afterwards POLLHUP is the end. */
static void *relay_main(void *arg)
{
	struct output *o = arg;
	struct pollfd fds[STREAMS + 1];
	uint64_t count;

	while (!is_done(o)) {
		for (int i = 0; i < STREAMS; i++)
			fds[i] = (struct pollfd){
				.fd = o->streams[i].is_ended ? -1 : o->streams[i].fd,
				.events = POLLIN,
			};
		fds[STREAMS] = (struct pollfd){ .fd = o->wake_fd, .events = POLLIN };
		if (poll(fds, STREAMS + 1, wait_ms(o, tl_clock_mono_ms())) > 0) {
			for (int i = 0; i < STREAMS; i++)
				if (fds[i].revents)
					stream_relay(o, i);
			if (fds[STREAMS].revents && read(o->wake_fd, &count, sizeof(count)) < 0)
				continue;
		}
		idle_lines_flush(o);
	}
	for (int i = 0; i < STREAMS; i++) {
		if (o->streams[i].line_n)
			lines_emit(o, i, true);
		if (o->streams[i].line_n)
			lines_emit(o, i, true);
	}
	return NULL;
}

int output_start(struct output *o, struct tl_error *err)
{
	int r = tl_thread_start("tl-output", relay_main, o, &o->thread, err);

	o->is_started = r == 0;
	return r;
}

static void thread_end(struct output *o, uint64_t drain_ms)
{
	uint64_t one = 1;

	if (!o->is_started)
		return;
	atomic_store(&o->drain_until_ms, tl_deadline_in(tl_clock_mono_ms(), drain_ms).at_ms);
	/* The counter of an eventfd can't be full after one write. */
	while (write(o->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
	pthread_join(o->thread, NULL);
	o->is_started = false;
}

void output_finish(struct output *o, uint64_t drain_ms, struct output_stats *ret)
{
	thread_end(o, drain_ms);
	*ret = (struct output_stats){
		.bytes = o->bytes,
		.lines = o->lines,
		.dropped_bytes = o->console.dropped_bytes,
		.is_cut = !o->streams[STDOUT].is_ended || !o->streams[STDERR].is_ended,
	};
	for (int i = 0; i < STREAMS; i++)
		ret->dropped_bytes += o->streams[i].json.dropped_bytes;
}

struct output *output_free(struct output *o)
{
	if (!o)
		return NULL;
	thread_end(o, 0);
	for (int i = 0; i < STREAMS; i++) {
		struct stream *s = &o->streams[i];

		sink_close(&s->json);
		if (s->fd >= 0)
			close(s->fd);
		free(s->path);
	}
	sink_close(&o->console);
	if (o->wake_fd >= 0)
		close(o->wake_fd);
	/* One more time for what failed: else it stays until the next launch. */
	if (o->dir && folder_remove(AT_FDCWD, o->dir) < 0)
		(void)folder_remove(AT_FDCWD, o->dir);
	free(o->dir);
	tl_buf_done(&o->encoded);
	free(o);
	return NULL;
}
