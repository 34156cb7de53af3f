/* SPDX-License-Identifier: Apache-2.0 */
/* journal_time N: N lines of the log into this machine's journal, each tried again until it is
 * taken. Prints how long that took in milliseconds, and how often a line wasn't taken at once. */
#include <inttypes.h>
#include <stdio.h>
#include <syslog.h>
#include <time.h>

#include <teelaunch/clock.h>
#include <teelaunch/str.h>

#include "launcher/journal.h"

int main(int argc, char **argv)
{
	static const struct timespec pause = { .tv_nsec = 50000 };
	uint64_t n = 0, again = 0;
	struct tl_error err = { 0 };
	struct journal *j = NULL;
	uint64_t began_ms;

	if (argc != 2 || tl_str_parse_u64(argv[1], UINT32_MAX, &n) < 0) {
		fprintf(stderr, "usage: journal_time N\n");
		return 1;
	}
	if (journal_open(JOURNAL_SOCKET, &j, &err) < 0) {
		fprintf(stderr, "journal_time: %s\n", err.msg);
		return 1;
	}
	began_ms = tl_clock_mono_ms();
	for (uint64_t i = 0; i < n; i++)
		while (!journal_line(j, LOG_INFO, "stage.done", "stage=pull took_ms=1234")) {
			again++;
			nanosleep(&pause, NULL);
		}
	printf("%" PRIu64 " %" PRIu64 "\n", tl_clock_mono_ms() - began_ms, again);
	journal_close(j);
	return 0;
}
