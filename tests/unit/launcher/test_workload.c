/* SPDX-License-Identifier: Apache-2.0 */
/* What of the workload needs no containerd: its sinks, its pipes, what its end means. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "launcher/workload/output.h"
#include "launcher/workload/rootfs.h"
#include "launcher/workload/sink.h"
#include "launcher/workload/workload_private.h"

static void an_end_is_judged_by_status_signal_and_memory(void **state)
{
	static const struct {
		struct tl_workload_end end;
		enum tl_code code;
	} rows[] = {
		{ { .exit_status = 0 }, TL_OK },
		{ { .exit_status = 0, .is_oom_killed = true }, TL_OK }, /* a child, and it coped */
		{ { .exit_status = 1 }, TL_E_WORKLOAD_STATUS },
		{ { .exit_status = 255 }, TL_E_WORKLOAD_STATUS },
		{ { .exit_status = 143, .signal = 15 }, TL_E_WORKLOAD_SIGNAL },
		{ { .exit_status = 137, .signal = 9 }, TL_E_WORKLOAD_SIGNAL },
		{ { .exit_status = 137, .signal = 9, .is_oom_killed = true }, TL_E_WORKLOAD_OOM },
		{ { .exit_status = 1, .is_oom_killed = true }, TL_E_WORKLOAD_STATUS },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_error err = { 0 };
		int r = tl_workload_judge(&rows[i].end, &err);

		assert_int_equal(err.code, rows[i].code);
		assert_int_equal(r == 0, rows[i].code == TL_OK);
		if (r < 0)
			assert_int_equal(err.class, TL_WORKLOAD);
	}
}

static void only_a_program_that_cannot_start_is_the_workloads_fault(void **state)
{
	static const struct {
		const char *msg;
		enum tl_code code;
	} rows[] = {
		{ "runc create failed: unable to start container process: exec: \"/x\": stat /x: "
		  "no "
		  "such file or directory: unknown",
		  TL_E_WORKLOAD_PROGRAM },
		{ "unable to start container process: chdir to cwd (\"/x\") set in config.json "
		  "failed",
		  TL_E_WORKLOAD_PROGRAM },
		{ "unable to start container process: error during container init: error mounting "
		  "\"tmpfs\" to rootfs at \"/etc/passwd\": not a directory",
		  TL_E_CONTAINER_SETUP },
		{ "error during container init: error mounting: cannot allocate memory",
		  TL_E_CONTAINER_CREATE },
		{ "unable to apply cgroup configuration", TL_E_CONTAINER_CREATE },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_error reason = { .code = TL_E_CONTAINERD_FAILED };
		struct tl_error err = { 0 };

		snprintf(reason.msg, sizeof(reason.msg), "%s", rows[i].msg);
		assert_true(workload_runtime_error(-EIO, &reason, &err) < 0);
		assert_int_equal(err.code, rows[i].code);
		assert_int_equal(workload_runtime_error(-ECONNRESET, &reason, &err), -ECONNRESET);
		assert_int_equal(err.code, TL_E_CONTAINERD_FAILED);
	}
}

static void a_specification_that_changed_is_fatal(void **state)
{
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(workload_spec_compare("{}", "{}", &err), 0);
	assert_int_equal(workload_spec_compare("{} ", "{}", &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_CONTAINER_SPEC);
	assert_int_equal(err.class, TL_FATAL);
}

static void a_full_pipe_costs_one_wait_and_then_drops(void **state)
{
	static char much[256 * 1024];
	int fds[2];
	struct sink s;
	uint64_t start_ms = tl_clock_mono_ms();
	char byte;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sink_open(&s, fds[1], true);
	memset(much, 'x', sizeof(much));
	sink_write(&s, much, sizeof(much));
	assert_in_range(tl_clock_mono_ms() - start_ms, SINK_PATIENCE_MS - 100,
			SINK_PATIENCE_MS + 1000);
	assert_true(s.dropped_bytes > 0 && s.dropped_bytes < sizeof(much));
	start_ms = tl_clock_mono_ms();
	sink_write(&s, "y\n", 2);
	assert_in_range(tl_clock_mono_ms() - start_ms, 0, 200);
	/* Once it takes bytes again, the torn record is ended first. */
	for (uint64_t left = sizeof(much) - s.dropped_bytes + 2; left > 0; left--)
		assert_int_equal(read(fds[0], &byte, 1), 1);
	sink_write(&s, "z\n", 2);
	assert_int_equal(read(fds[0], much, sizeof(much)), 3);
	assert_memory_equal(much, "\nz\n", 3);
	sink_close(&s);
	/* The descriptor it was given is as it was: blocking. */
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
}

static void a_console_that_was_stuck_is_written_again(void **state)
{
	static char much[256 * 1024];
	int fds[2];
	struct sink s;
	char byte;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sink_open(&s, fds[1], true);
	s.is_console = true;
	memset(much, 'x', sizeof(much));
	much[sizeof(much) - 1] = '\n';
	sink_write(&s, much, sizeof(much));
	assert_true(s.dropped_bytes > 0 && s.dropped_bytes < sizeof(much));
	for (uint64_t left = sizeof(much) - s.dropped_bytes; left > 0; left--)
		assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	sink_write(&s, "z\n", 2);
	assert_int_equal(read(fds[0], much, sizeof(much)), 3);
	assert_memory_equal(much, "\nz\n", 3);
	sink_close(&s);
	close(fds[0]);
	close(fds[1]);
}

static void a_socket_nobody_reads_and_a_closed_pipe_only_drop(void **state)
{
	static char much[1024 * 1024];
	int pair[2], fds[2];
	struct sink s;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	sink_open(&s, pair[1], true);
	sink_write(&s, much, sizeof(much));
	assert_true(s.dropped_bytes > 0);
	sink_close(&s);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sink_open(&s, fds[1], false);
	close(fds[0]);
	sink_write(&s, "abc", 3);
	assert_int_equal(s.dropped_bytes, 3);
	sink_close(&s);
	close(pair[0]);
	close(pair[1]);
	close(fds[1]);
}

static void write_and_close(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* @expected: what one write of "one\ntwo" to standard output becomes on the console. */
static void relay_check(bool is_raw, const char *expected)
{
	char dir[] = "/tmp/tl-output-XXXXXX";
	int console[2], out[2];
	struct output_config config = { .dir = dir, .stderr_fd = -1, .is_console_raw = is_raw };
	struct output *o = NULL;
	struct output_stats stats = { 0 };
	struct tl_error err = { 0 };
	struct stat st;
	char got[256] = { 0 };

	assert_non_null(mkdtemp(dir));
	assert_int_equal(pipe2(console, O_CLOEXEC) + pipe2(out, O_CLOEXEC), 0);
	config.console_fd = console[1];
	config.stdout_fd = out[1];
	assert_int_equal(output_open(&config, &o, &err), 0);
	assert_int_equal(stat(output_stdout_path(o), &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(output_start(o, &err), 0);
	write_and_close(output_stdout_path(o), "one\ntwo");
	write_and_close(output_stderr_path(o), "");
	output_finish(o, 5000, &stats);
	assert_int_equal(stats.bytes, 7);
	assert_int_equal(stats.dropped_bytes, 0);
	assert_false(stats.is_cut);
	assert_true(read(console[0], got, sizeof(got) - 1) > 0);
	assert_string_equal(got, expected);
	memset(got, 0, sizeof(got));
	assert_true(read(out[0], got, sizeof(got) - 1) > 0);
	assert_string_equal(got, "{\"message\":\"one\",\"severity\":\"INFO\"}\n"
				 "{\"message\":\"two\",\"severity\":\"INFO\"}\n");
	output_free(o);
	assert_int_equal(rmdir(dir), 0);
	for (int i = 0; i < 2; i++) {
		close(console[i]);
		close(out[i]);
	}
}

static void output_is_relayed_to_its_end_and_the_pipes_go(void **state)
{
	(void)state;
	relay_check(true, "one\ntwo");
	relay_check(false, "workload: one\nworkload: two\n");
}

/* Standard output as records; the caller frees and closes what is set. */
static struct output *records_open(char *dir, int out[2])
{
	struct output_config config = { .dir = dir, .console_fd = -1, .stderr_fd = -1 };
	struct tl_error err = { 0 };
	struct output *o = NULL;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	config.stdout_fd = out[1];
	assert_int_equal(output_open(&config, &o, &err), 0);
	assert_int_equal(output_start(o, &err), 0);
	return o;
}

/* All of it fits into the pipe. */
static size_t records_finish(struct output *o, const char *dir, int out[2], char *ret, size_t cap)
{
	struct output_stats stats = { 0 };
	size_t n = 0;
	ssize_t k;

	output_finish(o, 5000, &stats);
	assert_int_equal(stats.dropped_bytes, 0);
	output_free(o);
	close(out[1]);
	while (n < cap - 1 && (k = read(out[0], ret + n, cap - 1 - n)) > 0)
		n += (size_t)k;
	ret[n] = '\0';
	close(out[0]);
	assert_int_equal(rmdir(dir), 0);
	return n;
}

/* 'a' makes each character begin at an odd place, and lines are cut at an even one. */
static void no_character_is_cut_where_a_long_line_is(void **state)
{
	char dir[] = "/tmp/tl-output-XXXXXX";
	static char text[1 + 2 * 20000 + 1], got[128 * 1024];
	struct output *o;
	size_t found = 0;
	int out[2];

	(void)state;
	text[0] = 'a';
	for (size_t i = 1; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 2);
	o = records_open(dir, out);
	write_and_close(output_stdout_path(o), text);
	write_and_close(output_stderr_path(o), "");
	(void)records_finish(o, dir, out, got, sizeof(got));
	for (const char *at = got; (at = strstr(at, "\xc3\xa4")); at += 2)
		found++;
	assert_int_equal(found, 20000);
	assert_null(strstr(got, "\\ufffd"));
	assert_null(strstr(got, "\xef\xbf\xbd"));
}

static void a_line_that_comes_in_pieces_is_one_record(void **state)
{
	char dir[] = "/tmp/tl-output-XXXXXX", got[256];
	struct output *o;
	int out[2], fd;

	(void)state;
	o = records_open(dir, out);
	fd = open(output_stdout_path(o), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (const char *at = "one\xc3\xa4t"; *at; at++) {
		assert_int_equal(write(fd, at, 1), 1);
		tl_clock_sleep_ms(10);
	}
	assert_int_equal(write(fd, "wo\n", 3), 3);
	close(fd);
	write_and_close(output_stderr_path(o), "");
	(void)records_finish(o, dir, out, got, sizeof(got));
	assert_string_equal(got, "{\"message\":\"one\xc3\xa4two\",\"severity\":\"INFO\"}\n");
}

static atomic_bool is_logging = true;

static void *log_all_the_time(void *arg)
{
	(void)arg;
	while (atomic_load(&is_logging)) {
		tl_log_event(LOG_INFO, "from.the.log", "word=%d", 7);
		tl_clock_sleep_ms(1);
	}
	return NULL;
}

/* A reader of a terminal that is slower than its writers; keeps what it read. */
struct reader {
	int fd;
	char text[4 * 1024 * 1024];
	size_t n;
};

static void *read_slowly(void *arg)
{
	struct reader *r = arg;
	ssize_t n;

	while (r->n < sizeof(r->text) &&
	       (n = read(r->fd, r->text + r->n, r->n % 7 ? 701 : 4001)) > 0) {
		r->n += (size_t)n;
		if (r->n % 5 == 0)
			tl_clock_sleep_ms(1);
	}
	return NULL;
}

/* The workload's long lines and the log's, on one terminal, which takes long ones in pieces. */
static void lines_of_workload_and_log_do_not_tear_one_another(void **state)
{
	static struct reader r;
	char line[9000], *rest = r.text, *at;
	int slave, ours = 0, theirs = 0;
	struct sink sink;
	pthread_t thread, logger;
	struct termios raw;

	(void)state;
	r.fd = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(r.fd >= 0 && grantpt(r.fd) == 0 && unlockpt(r.fd) == 0);
	slave = open(ptsname(r.fd), O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_true(slave >= 0 && tcgetattr(slave, &raw) == 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	sink_open(&sink, slave, true);
	sink.is_console = true;
	tl_log_set_console(slave);
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &r), 0);
	memset(line, 'x', sizeof(line));
	memcpy(line, OUTPUT_PREFIX, strlen(OUTPUT_PREFIX));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(pthread_create(&logger, NULL, log_all_the_time, NULL), 0);
	for (int i = 0; i < 100; i++)
		sink_write(&sink, line, sizeof(line));
	atomic_store(&is_logging, false);
	pthread_join(logger, NULL);
	tl_clock_sleep_ms(300); /* for the reader */
	tl_log_set_console(-1);
	sink_close(&sink);
	close(slave);
	pthread_join(thread, NULL);
	close(r.fd);
	while ((at = strsep(&rest, "\n"))) {
		if (!*at)
			continue; /* the end of a line that was torn */
		if (tl_str_starts_with(at, OUTPUT_PREFIX)) {
			assert_null(strstr(at, "time="));
			theirs++;
		} else {
			assert_true(tl_str_starts_with(at, "time="));
			assert_non_null(strstr(at, "event=from.the.log"));
			ours++;
		}
	}
	assert_true(ours > 0 && theirs > 0);
}

static void output_that_never_ends_is_cut_at_the_deadline(void **state)
{
	char dir[] = "/tmp/tl-output-XXXXXX";
	struct output_config config = {
		.dir = dir, .console_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct output *o = NULL;
	struct output_stats stats = { 0 };
	struct tl_error err = { 0 };
	uint64_t start_ms;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(output_open(&config, &o, &err), 0);
	fd = open(output_stdout_path(o), O_WRONLY | O_CLOEXEC);
	assert_int_equal(output_start(o, &err), 0);
	start_ms = tl_clock_mono_ms();
	output_finish(o, 300, &stats);
	assert_in_range(tl_clock_mono_ms() - start_ms, 250, 2000);
	assert_true(stats.is_cut);
	close(fd);
	output_free(o);
	assert_int_equal(rmdir(dir), 0);
}

/* Of a launcher that was killed. */
static void pipes_of_an_earlier_launch_are_removed(void **state)
{
	char dir[] = "/tmp/tl-output-XXXXXX";
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, "output-abcdef", 0700), 0);
	assert_int_equal(mkfifoat(fd, "output-abcdef/stdout", 0600), 0);
	assert_int_equal(mkdirat(fd, "output-ghijkl", 0700), 0);
	/* What isn't made here. */
	assert_int_equal(mkdirat(fd, "output-of-last-week", 0700), 0);
	assert_int_equal(mkfifoat(fd, "output-of-last-week/stdout", 0600), 0);
	assert_int_equal(mkdirat(fd, "output-mnopqr", 0700), 0);
	assert_int_equal(mknodat(fd, "output-mnopqr/stdout", S_IFREG | 0600, 0), 0);
	assert_int_equal(symlinkat("output-of-last-week", fd, "output-stuvwx"), 0);
	output_remove_earlier(dir);
	output_remove_earlier("/nowhere");
	assert_int_equal(fstatat(fd, "output-abcdef", &st, 0), -1);
	assert_int_equal(fstatat(fd, "output-ghijkl", &st, 0), -1);
	assert_int_equal(unlinkat(fd, "output-stuvwx", 0), 0);
	assert_int_equal(unlinkat(fd, "output-of-last-week/stdout", 0), 0);
	assert_int_equal(unlinkat(fd, "output-of-last-week", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(fd, "output-mnopqr/stdout", 0), 0);
	assert_int_equal(unlinkat(fd, "output-mnopqr", AT_REMOVEDIR), 0);
	assert_int_equal(rmdir(dir), 0);
	close(fd);
}

static void pipes_that_cannot_be_made_leave_nothing(void **state)
{
	struct output_config config = {
		.dir = "/nonexistent", .console_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct output *o = NULL;
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(output_open(&config, &o, &err), -ENOENT);
	assert_int_equal(err.code, TL_E_CONTAINER_OUTPUT);
	assert_null(o);
}

static void a_file_system_that_is_not_understood_is_no_user(void **state)
{
	char type[] = "fuse", source[] = "x";
	struct tl_ctrd_mount mount = { .type = type, .source = source };
	struct tl_ctrd_mounts mounts = { .items = &mount, .n = 1 };
	struct oci_user user = { .uid = 99 };
	struct tl_error err = { 0 };

	(void)state;
	assert_true(rootfs_user_resolve(&mounts, "", &user, &err) < 0);
	assert_int_equal(err.code, TL_E_CONTAINER_ROOTFS);
	assert_int_equal(user.uid, 99);
}

/* A bind source stands for an image of one layer. */
static int resolve_in(const char *top, const char *user, struct oci_user *ret, struct tl_error *err)
{
	char type[] = "bind";
	auto_free char *source = strdup(top);
	struct tl_ctrd_mount mount = { .type = type, .source = source };
	struct tl_ctrd_mounts mounts = { .items = &mount, .n = 1 };

	return rootfs_user_resolve(&mounts, user, ret, err);
}

static void links_stay_in_the_image_and_only_files_are_read(void **state)
{
	char top[] = "/tmp/tl-rootfs-XXXXXX";
	struct oci_user user = { 0 };
	struct tl_error err = { 0 };
	auto_close int dir = -1;

	(void)state;
	assert_non_null(mkdtemp(top));
	dir = open(top, O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(dir, "etc", 0755) | mkdirat(dir, "in", 0755), 0);
	/* Absolute and climbing links end in the image: the machine's own users don't count. */
	assert_int_equal(symlinkat("/../../in/passwd", dir, "etc/passwd"), 0);
	assert_int_equal(resolve_in(top, "root", &user, &err), -ENOENT);
	assert_int_equal(err.code, TL_E_CONTAINER_USER);
	int fd = openat(dir, "in/passwd", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "me:x:12:34::/:\n", 15), 15);
	close(fd);
	assert_int_equal(resolve_in(top, "me", &user, &err), 0);
	assert_int_equal(user.uid, 12);
	/* A FIFO would block for ever. */
	assert_int_equal(mkfifoat(dir, "etc/group", 0644), 0);
	assert_int_equal(resolve_in(top, "me", &user, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "/etc/group isn't a regular file"));
	unlinkat(dir, "etc/group", 0);
	unlinkat(dir, "etc/passwd", 0);
	unlinkat(dir, "in/passwd", 0);
	unlinkat(dir, "etc", AT_REMOVEDIR);
	unlinkat(dir, "in", AT_REMOVEDIR);
	assert_int_equal(rmdir(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_is_judged_by_status_signal_and_memory),
		cmocka_unit_test(only_a_program_that_cannot_start_is_the_workloads_fault),
		cmocka_unit_test(a_specification_that_changed_is_fatal),
		cmocka_unit_test(a_full_pipe_costs_one_wait_and_then_drops),
		cmocka_unit_test(a_console_that_was_stuck_is_written_again),
		cmocka_unit_test(no_character_is_cut_where_a_long_line_is),
		cmocka_unit_test(a_line_that_comes_in_pieces_is_one_record),
		cmocka_unit_test(a_socket_nobody_reads_and_a_closed_pipe_only_drop),
		cmocka_unit_test(output_is_relayed_to_its_end_and_the_pipes_go),
		cmocka_unit_test(lines_of_workload_and_log_do_not_tear_one_another),
		cmocka_unit_test(output_that_never_ends_is_cut_at_the_deadline),
		cmocka_unit_test(pipes_of_an_earlier_launch_are_removed),
		cmocka_unit_test(pipes_that_cannot_be_made_leave_nothing),
		cmocka_unit_test(a_file_system_that_is_not_understood_is_no_user),
		cmocka_unit_test(links_stay_in_the_image_and_only_files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
