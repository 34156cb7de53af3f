/* SPDX-License-Identifier: Apache-2.0 */
/* Two helpers that tests lay over a VM image, which has neither a shell nor tools:
 *   agent pause    say so on the console and wait a little: a good moment to save the VM
 *   agent killer   once a workload was started as "... kill-launcher": SIGKILL for the launcher;
 *                  as "... stop-launcher": SIGSTOP, once it is ready, so that it gives no sign of
 * life
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_S       3
#define READY_S       15 /* until the launcher has told systemd that the workload runs */
#define POLL_NS       500000000
#define CMDLINE_BYTES 4096

static void console_say(const char *text)
{
	int fd = open("/dev/console", O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

static int pause_run(void)
{
	console_say("test: paused\n");
	sleep(PAUSE_S);
	return 0;
}

/* The arguments of a process, separated and followed by spaces; "" when there is none. */
static void cmdline_read(const char *pid, char *ret, size_t cap_bytes)
{
	char path[64];
	ssize_t n;
	int fd;

	*ret = '\0';
	snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, ret, cap_bytes - 1);
	close(fd);
	for (ssize_t i = 0; i < n; i++)
		if (!ret[i])
			ret[i] = ' ';
	ret[n > 0 ? n : 0] = '\0';
}

/* The pid of the first process whose arguments begin and go on like this; 0: none. */
static pid_t process_find(const char *first, const char *part)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	pid_t found = 0;

	while (proc && !found && (e = readdir(proc))) {
		char cmdline[CMDLINE_BYTES];

		if (!isdigit((unsigned char)*e->d_name))
			continue;
		cmdline_read(e->d_name, cmdline, sizeof(cmdline));
		if (strncmp(cmdline, first, strlen(first)) == 0 && strstr(cmdline, part))
			for (const char *d = e->d_name; *d; d++)
				found = found * 10 + (*d - '0');
	}
	if (proc)
		closedir(proc);
	return found;
}

static int killer_run(void)
{
	const struct timespec wait = { .tv_nsec = POLL_NS };
	bool is_kill, is_stop;

	for (;;) {
		is_kill = process_find("/hello ", " kill-launcher ");
		is_stop = process_find("/hello ", " stop-launcher ");
		if (is_kill || is_stop)
			break;
		nanosleep(&wait, NULL);
	}
	console_say(is_kill ? "test: killing the launcher\n" : "test: stopping the launcher\n");
	if (is_stop)
		sleep(READY_S);
	return kill(process_find("/usr/sbin/teelaunchd ", " run "), is_kill ? SIGKILL : SIGSTOP) <
	       0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "pause") == 0)
		return pause_run();
	return argc == 2 && strcmp(argv[1], "killer") == 0 ? killer_run() : 2;
}
