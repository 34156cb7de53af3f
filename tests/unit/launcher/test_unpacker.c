/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher's end of an unpacker, against one that does what it likes: this program again, which
 * finds its part in a file of its target. What the real one does is shown by image_pull.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>
#include <teelaunch/thread.h>

#include "launcher/unpack/unpacker.h"

#define PART  "part"
#define FACTS "facts"

/* --- the process --------------------------------------------------------------------------- */

static int received[TL_UNPACK_LOWER_MAX];

/* How many descriptors came with a message of @kind. */
static int receive(uint32_t kind, size_t bytes)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(received))];
	} control;
	struct tl_unpack_start start;
	struct iovec part = { .iov_base = &start, .iov_len = sizeof(start) };
	struct msghdr msg = { .msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	const struct cmsghdr *head;

	if (recvmsg(TL_UNPACK_CONTROL_FD, &msg, 0) != (ssize_t)bytes || start.head.kind != kind ||
	    start.head.version != TL_UNPACK_VERSION)
		_exit(70);
	head = CMSG_FIRSTHDR(&msg);
	if (!head)
		return 0;
	memcpy(received, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
	return (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

static void say(const void *message, size_t bytes)
{
	if (send(TL_UNPACK_CONTROL_FD, message, bytes, 0) != (ssize_t)bytes)
		_exit(71);
}

static void say_kind(uint32_t kind, size_t bytes)
{
	union {
		struct tl_unpack_head head;
		char bytes[1024];
	} m = { .head = { TL_UNPACK_VERSION, kind } };

	say(&m, bytes);
}

static void say_failed(uint32_t why, char filler)
{
	struct tl_unpack_failed f = { .head = { TL_UNPACK_VERSION, TL_UNPACK_FAILED }, .why = why };

	memset(f.text, filler, sizeof(f.text) - (filler == '~' ? 0 : 200));
	say(&f, sizeof(f));
}

static uint64_t drain(void)
{
	static char part[65536];
	uint64_t n = 0;
	ssize_t got;

	while ((got = read(STDIN_FILENO, part, sizeof(part))) > 0)
		n += (uint64_t)got;
	return n;
}

/* What it was started with, into its target. */
static void facts_write(int target, int argc, char **environment)
{
	auto_free char *text = NULL;
	auto_close int to = openat(target, FACTS, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct stat null, out;
	sigset_t mask;
	int fds = 0, blocked = 0;

	for (int fd = 0; fd < 1024; fd++)
		fds += fcntl(fd, F_GETFD) >= 0;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < NSIG; s++)
		blocked += sigismember(&mask, s) == 1;
	stat("/dev/null", &null);
	fstat(STDOUT_FILENO, &out);
	/* Two more than it was given: the target and this file. */
	if (asprintf(&text, "%d %d %d %d %d %d", argc, environment[0] != NULL, fds - 2, blocked,
		     signal(SIGPIPE, SIG_DFL) == SIG_IGN, out.st_rdev == null.st_rdev) < 0 ||
	    tl_write_all(to, text, strlen(text)) < 0)
		_exit(72);
}

static void extracted(uint64_t bytes)
{
	struct tl_unpack_extracted x = { .head = { TL_UNPACK_VERSION, TL_UNPACK_EXTRACTED },
					 .diff_id = { 1, 2, 3 },
					 .bytes_inflated = bytes };

	say(&x, sizeof(x));
}

static void play(const char *part)
{
	uint64_t bytes;

	if (strcmp(part, "gone at once") == 0)
		_exit(3);
	if (strcmp(part, "killed at once") == 0) {
		prctl(PR_SET_DUMPABLE, 0); /* no core */
		raise(SIGSYS);
	}
	if (strcmp(part, "deaf") == 0)
		pause();
	if (strcmp(part, "early") == 0) {
		extracted(1);
		pause();
	}
	if (strncmp(part, "fails ", 6) == 0) {
		uint64_t why = 0;

		if (tl_str_parse_u64(part + 6, UINT32_MAX, &why) < 0)
			_exit(77);
		say_failed((uint32_t)why, 'x');
		_exit(1);
	}
	if (strcmp(part, "endless text") == 0)
		say_failed(TL_UNPACK_BROKEN, '~');
	bytes = drain();
	if (strcmp(part, "unprintable") == 0)
		say_failed(TL_UNPACK_BROKEN, '\n');
	if (strcmp(part, "unknown") == 0)
		say_kind(99, sizeof(struct tl_unpack_head));
	if (strcmp(part, "short") == 0)
		say_kind(TL_UNPACK_EXTRACTED, sizeof(struct tl_unpack_extracted) - 1);
	if (strcmp(part, "long") == 0)
		say_kind(TL_UNPACK_EXTRACTED, 1024);
	if (strcmp(part, "another version") == 0)
		say(&(struct tl_unpack_extracted){ .head = { 2, TL_UNPACK_EXTRACTED } },
		    sizeof(struct tl_unpack_extracted));
	if (strcmp(part, "closes") == 0) {
		close(TL_UNPACK_CONTROL_FD);
		pause();
	}
	if (strcmp(part, "mute") == 0)
		pause();
	extracted(bytes);
	if (receive(TL_UNPACK_FINISH, sizeof(struct tl_unpack_head)) != (int)bytes)
		_exit(73);
	if (strcmp(part, "never done") == 0)
		_exit(4);
	say_kind(TL_UNPACK_DONE, sizeof(struct tl_unpack_head));
	/* Not even now is it let live. */
	pause();
}

static int child_main(int argc, char **environment)
{
	char part[64] = "";
	int target;

	if (receive(TL_UNPACK_START, sizeof(struct tl_unpack_start)) != 1)
		return 74;
	target = received[0];
	{
		auto_close int from = openat(target, PART, O_RDONLY | O_CLOEXEC);

		if (from < 0 || read(from, part, sizeof(part) - 1) < 0)
			return 75;
	}
	facts_write(target, argc, environment);
	play(part);
	return 76;
}

/* --- the tests ----------------------------------------------------------------------------- */

struct world {
	char dir[64], self[4096];
	int target;
};

static int world_make(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	ssize_t n = readlink("/proc/self/exe", w->self, sizeof(w->self) - 1);

	assert_true(n > 0);
	snprintf(w->dir, sizeof(w->dir), "/tmp/test_unpacker.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->target = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->target >= 0);
	signal(SIGPIPE, SIG_IGN);
	*state = w;
	return 0;
}

static int world_clear(void **state)
{
	struct world *w = *state;

	/* No process is left. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	unlinkat(w->target, PART, 0);
	unlinkat(w->target, FACTS, 0);
	close(w->target);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

static struct tl_unpacker *started(const struct world *w, const char *part)
{
	struct tl_unpacker *u = NULL;
	struct tl_error err;

	assert_int_equal(tl_file_replace(w->target, PART, part, strlen(part), 0600, &err), 0);
	assert_int_equal(tl_unpacker_start(w->self, w->target, &u, &err), 0);
	return u;
}

static void a_layer_goes_in_and_comes_out(void **state)
{
	const struct world *w = *state;
	auto_unpacker struct tl_unpacker *u = started(w, "good");
	struct tl_unpack_extracted x = { 0 };
	int lower[TL_UNPACK_LOWER_MAX];
	struct tl_error err;

	for (size_t i = 0; i < TL_UNPACK_LOWER_MAX; i++)
		lower[i] = w->target;
	assert_int_equal(tl_unpacker_write(u, "layer", 5, NULL, &err), 0);
	assert_int_equal(tl_unpacker_write(u, w->self, 122, NULL, &err), 0);
	assert_int_equal(tl_unpacker_extracted(u, NULL, &x, &err), 0);
	assert_int_equal(x.bytes_inflated, TL_UNPACK_LOWER_MAX);
	assert_memory_equal(x.diff_id, "\1\2\3", 4);
	assert_int_equal(tl_unpacker_finish(u, lower, TL_UNPACK_LOWER_MAX, NULL, &err), 0);
}

static void a_layer_without_one_below_has_no_descriptors(void **state)
{
	auto_unpacker struct tl_unpacker *u = started(*state, "good");
	struct tl_unpack_extracted x;
	struct tl_error err;

	assert_int_equal(tl_unpacker_extracted(u, NULL, &x, &err), 0);
	assert_int_equal(tl_unpacker_finish(u, NULL, 0, NULL, &err), 0);
}

static void too_many_layers_below_are_not_for_it(void **state)
{
	auto_unpacker struct tl_unpacker *u = started(*state, "good");
	int lower[TL_UNPACK_LOWER_MAX + 1] = { 0 };
	struct tl_error err;

	assert_int_equal(tl_unpacker_finish(u, lower, TL_UNPACK_LOWER_MAX + 1, NULL, &err),
			 -EOPNOTSUPP);
}

/* More than the pipe holds; the process reads all of it. */
static void many_bytes_are_taken(void **state)
{
	const size_t n = 8 << 20;
	auto_free char *data = calloc(1, n);
	auto_unpacker struct tl_unpacker *u = started(*state, "good");
	struct tl_unpack_extracted x = { 0 };
	struct tl_error err;

	assert_int_equal(tl_unpacker_write(u, data, n, NULL, &err), 0);
	assert_int_equal(tl_unpacker_extracted(u, NULL, &x, &err), 0);
	assert_int_equal(x.bytes_inflated, n);
}

/* A descriptor that isn't closed at exec, signals that are blocked, a variable. */
static void it_gets_nothing_of_this_process(void **state)
{
	const struct world *w = *state;
	auto_close int leak = dup(w->target);
	auto_buf struct tl_buf facts = { 0 };
	struct tl_unpack_extracted x;
	struct tl_error err;
	char path[128];
	sigset_t all, before;

	assert_int_equal(fcntl(leak, F_GETFD) & FD_CLOEXEC, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	{
		auto_unpacker struct tl_unpacker *u = started(w, "good");

		sigprocmask(SIG_SETMASK, &before, NULL);
		assert_int_equal(tl_unpacker_extracted(u, NULL, &x, &err), 0);
	}
	snprintf(path, sizeof(path), "%s/" FACTS, w->dir);
	tl_buf_init(&facts, 4096);
	assert_int_equal(tl_file_read(path, &facts, &err), 0);
	/* argc, variables, descriptors, signals blocked, SIGPIPE ignored, output to nowhere */
	assert_string_equal(tl_buf_str(&facts), "1 0 4 0 0 1");
}

static void what_it_says_is_what_it_means(void **state)
{
	static const struct {
		const char *part;
		int r;
		enum tl_code code;
		const char *text;
	} parts[] = {
		{ "fails 1", -EBADMSG, TL_E_UNPACK, "xxx" },
		{ "fails 2", -EOPNOTSUPP, TL_E_UNPACK, "xxx" },
		{ "fails 3", -ENOSPC, TL_E_DISK_SPACE, "xxx" },
		{ "fails 4", -EIO, TL_E_UNPACKER, "xxx" },
		{ "fails 5", -EBADMSG, TL_E_UNPACK, "xxx" },
		{ "fails 6", -EPROTO, TL_E_UNPACKER, "xxx" },
		{ "fails 0", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "fails 7", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "fails 4294967295", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "endless text", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "unprintable", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "unknown", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "short", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "long", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "another version", -EPROTO, TL_E_UNPACKER, "no sense" },
		{ "closes", -ECONNABORTED, TL_E_UNPACKER, "signal 9" },
		{ "gone at once", -ECONNABORTED, TL_E_UNPACKER, "exit code 3" },
		{ "killed at once", -ECONNABORTED, TL_E_UNPACKER, "signal 31" },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(parts); i++) {
		auto_unpacker struct tl_unpacker *u = started(*state, parts[i].part);
		struct tl_unpack_extracted x, poison;
		struct tl_error err = { 0 };

		memset(&x, 0x5a, sizeof(x));
		poison = x;
		assert_int_equal(tl_unpacker_extracted(u, NULL, &x, &err), parts[i].r);
		assert_memory_equal(&x, &poison, sizeof(x));
		assert_int_equal(err.code, parts[i].code);
		assert_non_null(strstr(err.msg, parts[i].text));
	}
}

static void a_failure_ends_the_writing(void **state)
{
	static const struct {
		const char *part;
		int r;
	} parts[] = {
		{ "fails 1", -EBADMSG }, { "fails 2", -EOPNOTSUPP },
		{ "early", -EPROTO },    { "gone at once", -ECONNABORTED },
		{ "fails 3", -ENOSPC },  { "killed at once", -ECONNABORTED },
	};
	auto_free char *data = calloc(1, 1 << 20);

	for (size_t i = 0; i < TL_ARRAY_SIZE(parts); i++) {
		auto_unpacker struct tl_unpacker *u = started(*state, parts[i].part);
		struct tl_error err = { 0 };
		int r = 0;

		for (int n = 0; r == 0 && n < 100; n++)
			r = tl_unpacker_write(u, data, 1 << 20, NULL, &err);
		assert_int_equal(r, parts[i].r);
	}
}

static void done_is_waited_for(void **state)
{
	auto_unpacker struct tl_unpacker *u = started(*state, "never done");
	struct tl_unpack_extracted x;
	struct tl_error err = { 0 };

	assert_int_equal(tl_unpacker_extracted(u, NULL, &x, &err), 0);
	assert_int_equal(tl_unpacker_finish(u, NULL, 0, NULL, &err), -ECONNABORTED);
	assert_non_null(strstr(err.msg, "exit code 4"));
}

static void *cancel_later(void *cancel)
{
	tl_clock_sleep_ms(50);
	tl_cancel_request(cancel);
	return NULL;
}

static void cancelling_ends_a_wait(void **state)
{
	static const char *const parts[] = { "deaf", "mute" };
	auto_free char *data = calloc(1, 4 << 20);

	for (size_t i = 0; i < TL_ARRAY_SIZE(parts); i++) {
		auto_cancel struct tl_cancel *cancel = tl_cancel_new();
		auto_unpacker struct tl_unpacker *u = started(*state, parts[i]);
		struct tl_unpack_extracted x;
		struct tl_error err = { 0 };
		pthread_t thread;
		int r;

		assert_int_equal(tl_thread_start("cancel", cancel_later, cancel, &thread, &err), 0);
		r = tl_unpacker_write(u, data, 4 << 20, cancel, &err);
		if (r == 0)
			r = tl_unpacker_extracted(u, cancel, &x, &err);
		assert_int_equal(r, -ECANCELED);
		assert_int_equal(err.code, TL_E_INTERRUPTED);
		pthread_join(thread, NULL);
	}
}

static void a_program_that_is_not_there_is_said(void **state)
{
	const struct world *w = *state;
	struct tl_unpacker *u = NULL;
	struct tl_error err = { 0 };

	assert_int_equal(tl_unpacker_start("/nowhere/teelaunch-unpack", w->target, &u, &err),
			 -ENOENT);
	assert_int_equal(err.code, TL_E_UNPACKER);
	assert_string_equal(err.msg, "'/nowhere/teelaunch-unpack': No such file or directory");
	assert_null(u);
	assert_int_equal(tl_unpacker_start(w->dir, w->target, &u, &err), -EACCES);
	assert_null(tl_unpacker_free(NULL));
}

int main(int argc, char **argv, char **environment)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_layer_goes_in_and_comes_out, world_make,
						world_clear),
		cmocka_unit_test_setup_teardown(a_layer_without_one_below_has_no_descriptors,
						world_make, world_clear),
		cmocka_unit_test_setup_teardown(too_many_layers_below_are_not_for_it, world_make,
						world_clear),
		cmocka_unit_test_setup_teardown(many_bytes_are_taken, world_make, world_clear),
		cmocka_unit_test_setup_teardown(it_gets_nothing_of_this_process, world_make,
						world_clear),
		cmocka_unit_test_setup_teardown(what_it_says_is_what_it_means, world_make,
						world_clear),
		cmocka_unit_test_setup_teardown(a_failure_ends_the_writing, world_make,
						world_clear),
		cmocka_unit_test_setup_teardown(done_is_waited_for, world_make, world_clear),
		cmocka_unit_test_setup_teardown(cancelling_ends_a_wait, world_make, world_clear),
		cmocka_unit_test_setup_teardown(a_program_that_is_not_there_is_said, world_make,
						world_clear),
	};

	if (strcmp(argv[0], "teelaunch-unpack") == 0)
		return child_main(argc, environment);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
