/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/log.h>

#define ROUNDS  2000
#define LOGGERS 3

static atomic_bool is_ending;

static void *log_all_the_time(void *arg)
{
	(void)arg;
	while (!atomic_load(&is_ending))
		tl_log_event(LOG_INFO, "test",
			     "msg='of a thread that knows nothing of the console'");
	return NULL;
}

/* Its number is at once another file's, as numbers are given out from the lowest. */
static void a_console_that_was_taken_away_gets_no_line(void **state)
{
	pthread_t loggers[LOGGERS];
	off_t lines = 0, strays = 0;
	int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	(void)state;
	assert_true(quiet >= 0 && kept >= 0);
	assert_int_equal(dup2(quiet, STDERR_FILENO), STDERR_FILENO);
	for (size_t i = 0; i < LOGGERS; i++)
		assert_int_equal(pthread_create(&loggers[i], NULL, log_all_the_time, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		int console = memfd_create("console", MFD_CLOEXEC), other;
		struct stat st;

		tl_log_set_console(console);
		tl_log_event(LOG_INFO, "test", "msg='a line'");
		tl_log_set_console(-1);
		assert_int_equal(fstat(console, &st), 0);
		lines += st.st_size > 0;
		close(console);
		other = memfd_create("other", MFD_CLOEXEC);
		assert_int_equal(other, console);
		usleep(10);
		assert_int_equal(fstat(other, &st), 0);
		strays += st.st_size > 0;
		close(other);
	}
	atomic_store(&is_ending, true);
	for (size_t i = 0; i < LOGGERS; i++)
		pthread_join(loggers[i], NULL);
	assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	close(kept);
	close(quiet);
	assert_int_equal(lines, ROUNDS);
	assert_int_equal(strays, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_console_that_was_taken_away_gets_no_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
