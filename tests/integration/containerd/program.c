/* SPDX-License-Identifier: Apache-2.0 */
/* The workload of the tests: a static program that does what its arguments say, in order. */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t is_terminated;

static void on_term(int signal)
{
	(void)signal;
	is_terminated = 1;
}

static int number(const char *text)
{
	int n = 0;

	for (; text && *text; text++)
		n = n * 10 + (*text - '0');
	return n;
}

static void do_say(const char *text)
{
	dprintf(STDOUT_FILENO, "%s\n", text);
}

static void do_complain(const char *text)
{
	dprintf(STDERR_FILENO, "%s\n", text);
}

/* So many kilobytes in one burst, in numbered lines of 64 bytes, then a last line. */
static void do_burst(const char *kilobytes)
{
	int lines = number(kilobytes) * 16;

	for (int i = 0; i < lines; i++)
		printf("%08d %.*s\n", i, 54,
		       "......................................................");
	printf("the last line\n");
	fflush(stdout);
}

static void do_exit(const char *status)
{
	_exit(number(status));
}

/* A fault of its own: other signals don't reach the first process of a PID namespace. */
static void do_crash(const char *unused)
{
	(void)unused;
	*(volatile int *)NULL = 1;
}

static void do_sleep(const char *seconds)
{
	sleep((unsigned int)number(seconds));
}

static void do_trap(const char *signal)
{
	struct sigaction action = { .sa_handler = on_term };

	sigaction(number(signal), &action, NULL);
}

static void do_ignore(const char *signal)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigaction(number(signal), &action, NULL);
}

static void do_wait(const char *text)
{
	while (!is_terminated)
		pause();
	do_say(text);
}

static void do_environment(const char *name)
{
	printf("%s=%s\n", name, getenv(name) ? getenv(name) : "(none)");
	fflush(stdout);
}

static void do_ids(const char *unused)
{
	gid_t groups[64];
	int n = getgroups(64, groups);
	char directory[256];

	(void)unused;
	printf("uid=%u gid=%u groups=", (unsigned int)getuid(), (unsigned int)getgid());
	for (int i = 0; i < n; i++)
		printf("%s%u", i ? "," : "", (unsigned int)groups[i]);
	printf(" cwd=%s\n", getcwd(directory, sizeof(directory)));
	fflush(stdout);
}

static void do_cat(const char *path)
{
	char buffer[4096];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		printf("%s: %s\n", path, strerror(errno));
	while (f && (n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		fwrite(buffer, 1, n, stdout);
	if (f)
		fclose(f);
	fflush(stdout);
}

static void do_write(const char *path)
{
	FILE *f = fopen(path, "w");

	printf("write %s: %s\n", path, f ? "ok" : strerror(errno));
	if (f)
		fclose(f);
	fflush(stdout);
}

/* Touches memory until it is gone. */
static void do_eat(const char *megabytes)
{
	for (int i = 0; i < number(megabytes); i++) {
		char *p = malloc(1024 * 1024);

		if (p)
			memset(p, 1, 1024 * 1024);
	}
}

static const struct {
	const char *name;
	void (*run)(const char *value);
} acts[] = {
	{ "say", do_say },         { "complain", do_complain }, { "burst", do_burst },
	{ "exit", do_exit },       { "crash", do_crash },       { "sleep", do_sleep },
	{ "trap", do_trap },       { "ignore", do_ignore },     { "wait", do_wait },
	{ "env", do_environment }, { "ids", do_ids },           { "cat", do_cat },
	{ "write", do_write },     { "eat", do_eat },
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (value)
			*value++ = '\0';
		for (size_t k = 0; k < sizeof(acts) / sizeof(acts[0]); k++)
			if (strcmp(acts[k].name, argv[i]) == 0)
				acts[k].run(value ? value : "");
	}
	return 0;
}
