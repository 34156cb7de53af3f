/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to the journal's socket, read as the native protocol says, and what becomes of it when
 * nobody reads. A real journald reads it in tests/integration/test_launch_journal.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>

#include "launcher/journal.h"

struct place {
	char dir[32], path[64];
	int fd; /* journald's end; -1: none */
};

static void bind_again(struct place *p)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (p->fd >= 0)
		close(p->fd);
	unlink(p->path);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", p->path);
	p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(p->fd >= 0);
	assert_int_equal(bind(p->fd, (struct sockaddr *)&at, sizeof(at)), 0);
}

static int place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	*p = (struct place){ .dir = "/tmp/tlj-XXXXXX", .fd = -1 };
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/socket", p->dir);
	bind_again(p);
	*state = p;
	return 0;
}

static int place_remove(void **state)
{
	struct place *p = *state;

	close(p->fd);
	unlink(p->path);
	rmdir(p->dir);
	free(p);
	return 0;
}

static struct journal *opened(const struct place *p)
{
	struct tl_error err = { 0 };
	struct journal *j = NULL;

	assert_int_equal(journal_open(p->path, &j, &err), 0);
	return j;
}

/* The value of @name in an entry of fields in the form NAME, LF, size, value, LF; and how often. */
static char *field(const char *entry, size_t n, const char *name, unsigned int *ret_count)
{
	char *value = NULL;
	unsigned int count = 0;

	while (n > 0) {
		const char *lf = memchr(entry, '\n', n);
		uint64_t size;

		assert_non_null(lf);
		for (const char *c = entry; c < lf; c++)
			assert_true((*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
				    *c == '_');
		memcpy(&size, lf + 1, sizeof(size));
		size = le64toh(size);
		assert_true((size_t)(lf - entry) + 1 + sizeof(size) + size + 1 <= n);
		if ((size_t)(lf - entry) == strlen(name) &&
		    memcmp(entry, name, strlen(name)) == 0) {
			free(value);
			value = strndup(lf + 1 + sizeof(size), size);
			count++;
		}
		n -= (size_t)(lf - entry) + 1 + sizeof(size) + size + 1;
		entry = lf + 1 + sizeof(size) + size + 1;
		assert_int_equal(entry[-1], '\n');
	}
	if (ret_count)
		*ret_count = count;
	return value;
}

static void assert_field(const char *entry, size_t n, const char *name, const char *expected)
{
	unsigned int count;
	auto_free char *value = field(entry, n, name, &count);

	assert_int_equal(count, 1);
	assert_string_equal(value, expected);
}

static void a_line_has_its_keys_as_fields(void **state)
{
	struct place *p = *state;
	struct journal *j = opened(p);
	char entry[8192];
	ssize_t n;

	assert_true(
		journal_line(j, LOG_ERR, "stage.failed",
			     "stage=pull took_ms=17 code=TL0502 msg='it\\'s 1=2 TL_EVENT=x' rest"));
	n = recv(p->fd, entry, sizeof(entry), 0);
	assert_true(n > 0);
	assert_field(entry, (size_t)n, "MESSAGE",
		     "level=ERROR event=stage.failed stage=pull took_ms=17 code=TL0502 "
		     "msg='it\\'s 1=2 TL_EVENT=x' rest");
	assert_field(entry, (size_t)n, "PRIORITY", "3");
	assert_field(entry, (size_t)n, "SYSLOG_IDENTIFIER", "teelaunchd");
	assert_field(entry, (size_t)n, "TL_EVENT", "stage.failed");
	assert_field(entry, (size_t)n, "TL_STAGE", "pull");
	assert_field(entry, (size_t)n, "TL_TOOK_MS", "17");
	assert_field(entry, (size_t)n, "TL_CODE", "TL0502");
	assert_field(entry, (size_t)n, "TL_MSG", "it's 1=2 TL_EVENT=x");
	journal_close(j);
}

static void a_value_with_a_line_feed_ends_no_field(void **state)
{
	static const char value[] = "a\nTL_EVENT=forged\nPRIORITY\n";
	struct place *p = *state;
	struct journal *j = opened(p);
	char entry[1024];
	ssize_t n;

	assert_true(journal_document(j, LOG_INFO, "e", "m", "TL_REPORT", value, sizeof(value) - 1));
	n = recv(p->fd, entry, sizeof(entry), 0);
	assert_true(n > 0);
	assert_field(entry, (size_t)n, "TL_REPORT", value);
	assert_field(entry, (size_t)n, "TL_EVENT", "e");
	assert_field(entry, (size_t)n, "PRIORITY", "6");
	journal_close(j);
}

/* journald reads such a file once nobody can change it. */
static void what_is_larger_than_a_datagram_comes_as_a_sealed_file(void **state)
{
	size_t big = 400 * 1024;
	auto_free char *value = malloc(big);
	struct place *p = *state;
	struct journal *j = opened(p);
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char none[16];
	struct iovec iov = { none, sizeof(none) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct stat st;
	struct cmsghdr *head;
	char *entry, *got;
	int fd = -1;

	memset(value, 'r', big);
	assert_true(journal_document(j, LOG_INFO, "launch.report", "m", "TL_REPORT", value, big));
	assert_int_equal(recvmsg(p->fd, &message, 0), 0);
	head = CMSG_FIRSTHDR(&message);
	if (!head)
		fail_msg("no file came");
	else
		memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	assert_int_equal(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(fstat(fd, &st), 0);
	entry = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(entry != MAP_FAILED);
	got = field(entry, (size_t)st.st_size, "TL_REPORT", NULL);
	assert_int_equal(strlen(got), big);
	assert_memory_equal(got, value, big);
	free(got);
	munmap(entry, (size_t)st.st_size);
	close(fd);
	journal_close(j);
}

/* A journald that is stopped, one that is gone, and a new one: nothing waits, and what was lost is
 * said. */
static void a_journal_that_does_not_read_costs_no_time_and_is_told_what_it_missed(void **state)
{
	struct place *p = *state;
	struct journal *j = opened(p);
	uint64_t began_ms = tl_clock_mono_ms();
	unsigned long lost = 0, sent = 0;
	char entry[4096], expected[32];
	ssize_t n;

	for (int i = 0; i < 20000; i++) {
		if (journal_line(j, LOG_INFO, "a", "b=c"))
			sent++;
		else
			lost++;
	}
	assert_true(sent > 0 && lost > 0);
	bind_again(p);
	close(p->fd);
	p->fd = -1;
	assert_false(journal_line(j, LOG_INFO, "a", ""));
	unlink(p->path);
	assert_false(journal_line(j, LOG_INFO, "a", ""));
	/* A hang is meant, not a busy machine. */
	assert_true(tl_clock_mono_ms() - began_ms < 30000);

	bind_again(p);
	assert_true(journal_line(j, LOG_INFO, "back", ""));
	n = recv(p->fd, entry, sizeof(entry), 0);
	assert_true(n > 0);
	assert_field(entry, (size_t)n, "TL_EVENT", "back");
	n = recv(p->fd, entry, sizeof(entry), 0);
	assert_true(n > 0);
	assert_field(entry, (size_t)n, "TL_EVENT", "journal.dropped");
	snprintf(expected, sizeof(expected), "%lu", lost + 2);
	assert_field(entry, (size_t)n, "TL_LINES", expected);
	/* Said once. */
	assert_true(journal_line(j, LOG_INFO, "more", ""));
	assert_true(recv(p->fd, entry, sizeof(entry), 0) > 0);
	assert_true(recv(p->fd, entry, sizeof(entry), 0) < 0);
	journal_close(j);
}

#define BUSY_LINES 2000 /* more than any queue has room for */

static atomic_bool may_end;

static void *slow_reader(void *ctx)
{
	const struct place *p = ctx;
	struct pollfd ready = { .fd = p->fd, .events = POLLIN };
	char entry[4096];
	uintptr_t n = 0;

	while (poll(&ready, 1, 10) > 0 || !atomic_load(&may_end)) {
		usleep(100);
		if (recv(p->fd, entry, sizeof(entry), 0) > 0)
			n++;
	}
	return (void *)n;
}

static void a_journal_that_is_busy_loses_nothing(void **state)
{
	struct place *p = *state;
	struct journal *j = opened(p);
	unsigned int lost = 0;
	pthread_t thread;
	void *heard;

	assert_int_equal(pthread_create(&thread, NULL, slow_reader, p), 0);
	for (int i = 0; i < BUSY_LINES; i++)
		lost += !journal_line(j, LOG_INFO, "a", "b=c");
	atomic_store(&may_end, true);
	assert_int_equal(pthread_join(thread, &heard), 0);
	/* One that doesn't wait would lose nearly all. The machine may be busy, too. */
	if (lost > BUSY_LINES / 10 || (uintptr_t)heard < BUSY_LINES - lost)
		fail_msg("%u lost, %u read", lost, (unsigned int)(uintptr_t)heard);
	journal_close(j);
}

static void only_the_stream_that_systemd_named_is_the_journal(void **state)
{
	struct stat st;
	char name[64];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fstat(fds[1], &st), 0);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_true(journal_is_stream(name, fds[1]));
	assert_false(journal_is_stream(name, -1));
	name[strlen(name) - 1] = '\0';
	assert_false(journal_is_stream(name, fds[1]));
	assert_false(journal_is_stream("", fds[1]));
	assert_false(journal_is_stream(NULL, fds[1]));
	close(fds[0]);
	close(fds[1]);
}

static void without_a_socket_there_is_no_journal(void **state)
{
	struct tl_error err = { 0 };
	struct journal *j = (struct journal *)&err;

	(void)state;
	assert_true(journal_open("/nonexistent/socket", &j, &err) < 0);
	assert_int_equal(err.code, TL_E_IO);
	assert_ptr_equal(j, &err);
	assert_null(journal_close(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_its_keys_as_fields, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(a_value_with_a_line_feed_ends_no_field, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(
			what_is_larger_than_a_datagram_comes_as_a_sealed_file, place_make,
			place_remove),
		cmocka_unit_test_setup_teardown(
			a_journal_that_does_not_read_costs_no_time_and_is_told_what_it_missed,
			place_make, place_remove),
		cmocka_unit_test_setup_teardown(a_journal_that_is_busy_loses_nothing, place_make,
						place_remove),
		cmocka_unit_test(only_the_stream_that_systemd_named_is_the_journal),
		cmocka_unit_test(without_a_socket_there_is_no_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
