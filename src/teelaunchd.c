/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher: parse the command line of its unit, call one function, return its code. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>

#include "launcher/launch.h"

#define EXIT_USAGE 1

/* One row an option. A row without a parser is a string. */
struct arguments {
	struct launch_options launch;
	const char *log_level;
};

/* At least one: a budget of nothing is a mistake. */
static int parse_budget_ms(const char *value, void *field)
{
	uint64_t ms;
	int r = tl_str_parse_u64(value, 24 * 3600 * 1000, &ms);

	if (r < 0 || ms == 0)
		return -EINVAL;
	*(uint64_t *)field = ms;
	return 0;
}

static int parse_ms(const char *value, void *field)
{
	/* A day: a unit that waits longer is a mistake. */
	return tl_str_parse_u64(value, 24 * 3600 * 1000, field);
}

static int parse_disk(const char *value, void *field)
{
	if (strcmp(value, "protected") != 0 && strcmp(value, "unprotected") != 0)
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_api(const char *value, void *field)
{
	if (strcmp(value, "verifyConfidentialSpace") != 0 &&
	    strcmp(value, "verifyAttestation") != 0)
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_https(const char *value, void *field)
{
	if (!tl_str_starts_with(value, "https://") || !value[strlen("https://")])
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

/* A file that is missing is better noticed before a launch than half-way through it. */
static int parse_file(const char *value, void *field)
{
	if (access(value, R_OK) < 0)
		return -errno;
	*(const char **)field = value;
	return 0;
}

static int parse_absolute(const char *value, void *field)
{
	if (*value != '/' || !value[1])
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_roots(const char *value, void *field)
{
	const char *equals = strchr(value, '=');
	const struct tl_strv *have = field;

	if (!equals || equals == value || !equals[1])
		return -EINVAL;
	if (access(equals + 1, R_OK) < 0)
		return -errno;
	for (size_t i = 0; i < have->n; i++)
		if (strncmp(have->items[i], value, (size_t)(equals + 1 - value)) == 0)
			return -EEXIST;
	return tl_strv_add(field, value);
}

#define OPTION(name, arg, member, parse, help)                                                     \
	{                                                                                          \
		"--" name, arg, offsetof(struct arguments, member), parse, help                    \
	}
static const struct option_row {
	const char *name, *arg;
	size_t offset;
	int (*parse)(const char *value, void *field);
	const char *help;
} option_rows[] = {
	OPTION("disk", "protected|unprotected", launch.disk, parse_disk,
	       "whether the disk that holds the workload must be protected [protected]"),
	OPTION("containerd", "SOCKET", launch.containerd, parse_absolute,
	       "containerd's socket [/run/containerd/containerd.sock]"),
	OPTION("tcti", "CONF", launch.tcti, NULL, "how to reach the TPM [device:/dev/tpmrm0]"),
	OPTION("firmware-log", "FILE", launch.firmware_log, NULL,
	       "event log of this boot [/sys/kernel/security/tpm0/binary_bios_measurements]"),
	OPTION("kernel-cmdline", "FILE", launch.kernel_cmdline, NULL,
	       "the kernel's command line [/proc/cmdline]"),
	OPTION("verifier", "URL", launch.verifier, parse_https,
	       "attestation verifier [https://confidentialcomputing.googleapis.com]"),
	OPTION("verifier-roots", "PEM", launch.verifier_roots, parse_file,
	       "the only roots that may vouch for the verifier [the system's]"),
	OPTION("verifier-api", "METHOD", launch.verifier_api, parse_api,
	       "verifyConfidentialSpace or verifyAttestation [verifyConfidentialSpace]"),
	OPTION("registry-roots", "HOST=PEM", launch.registry_roots, parse_roots,
	       "the only roots that may vouch for that registry; may be repeated"),
	OPTION("google-roots", "PEM", launch.google_roots, parse_file,
	       "the only roots that may vouch for Google's registries [the system's]"),
	OPTION("console", "FILE", launch.console, NULL,
	       "where the log and redirected output go [none: standard error]"),
	OPTION("shared-dir", "DIR", launch.shared_dir, parse_absolute,
	       "directory shown to the workload [/tmp/container_launcher]"),
	OPTION("state-dir", "DIR", launch.state_dir, parse_absolute,
	       "private directory: report, FIFOs [/run/teelaunch]"),
	OPTION("content-dir", "DIR", launch.content_dir, NULL,
	       "where containerd keeps images; for the space check [/var/lib/containerd]"),
	OPTION("first-token-budget-ms", "N", launch.first_token_budget_ms, parse_budget_ms,
	       "time for the first token, retries included [60000]"),
	OPTION("stop-grace-ms", "N", launch.stop_grace_ms, parse_ms,
	       "SIGKILL so long after SIGTERM; 0 = never [30000]"),
	OPTION("drain-ms", "N", launch.drain_ms, parse_ms,
	       "time for reading the workload's last output [10000]"),
	OPTION("log-level", "LEVEL", log_level, NULL, "error, warning, info, debug [info]"),
};

static void usage(FILE *to)
{
	fputs("Usage: teelaunchd run [OPTION VALUE]...\n"
	      "Launch one confidential workload as the VM's metadata and the image's policy "
	      "say.\n\n",
	      to);
	for (size_t i = 0; i < TL_ARRAY_SIZE(option_rows); i++)
		fprintf(to, "  %s %s\n        %s\n", option_rows[i].name, option_rows[i].arg,
			option_rows[i].help);
	fputs("\nExit status: 0, 1 stop the VM; 3 restart it; 4 hold it. See teelaunchd(8).\n", to);
}

static int option_set(struct arguments *a, const char *name, const char *value)
{
	int r;

	for (size_t i = 0; i < TL_ARRAY_SIZE(option_rows); i++) {
		const struct option_row *row = &option_rows[i];
		void *field = (char *)a + row->offset;

		if (strcmp(row->name, name) != 0)
			continue;
		if (!value || !*value) {
			fprintf(stderr, "teelaunchd: %s: %s needs a value: %s\n",
				tl_catalogue_find(TL_E_USAGE)->id, name, row->arg);
			return -EINVAL;
		}
		if (!row->parse) {
			*(const char **)field = value;
			return 0;
		}
		r = row->parse(value, field);
		if (r == 0)
			return 0;
		fprintf(stderr, "teelaunchd: %s: %s takes %s, not '%s' (%s): %s\n",
			tl_catalogue_find(TL_E_USAGE)->id, name, row->arg, value,
			strerrordesc_np(-r), row->help);
		return -EINVAL;
	}
	fprintf(stderr, "teelaunchd: %s: unknown option '%s'; see teelaunchd --help\n",
		tl_catalogue_find(TL_E_USAGE)->id, name);
	return -EINVAL;
}

static int log_level_set(const char *name)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "error", LOG_ERR },
		{ "warning", LOG_WARNING },
		{ "info", LOG_INFO },
		{ "debug", LOG_DEBUG },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(levels); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			tl_log_set_level(levels[i].level);
			return 0;
		}
	}
	fprintf(stderr, "teelaunchd: --log-level takes error, warning, info, or debug\n");
	return -EINVAL;
}

static void *signals_main(void *arg)
{
	sigset_t set;
	int sig;

	pthread_setname_np(pthread_self(), "signals");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	while (sigwait(&set, &sig) == 0)
		tl_cancel_request(arg);
	return NULL;
}

/*
 * Signals are blocked before any library starts a thread, so that they reach the one thread that
 * waits for them and nobody else. It lives as long as the process.
 */
static int signals_start(struct tl_cancel *cancel)
{
	pthread_t thread;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
	    pthread_create(&thread, NULL, signals_main, cancel) != 0)
		return -1;
	return pthread_detach(thread);
}

/*
 * The process will hold tokens: no core dump, no ptrace by others; and nothing it makes is for the
 * world. What libraries would read from the environment (key logs, trust stores, configuration) is
 * the image's to decide, by options: none of it stays.
 */
static void process_harden(void)
{
	const struct rlimit none = { 0 };

	clearenv();
	/* tpm2-tss would print to standard error what comes back as an error anyway. */
	setenv("TSS2_LOG", "all+none", 1);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	umask(0077);
}

static int run(const struct arguments *a)
{
	struct tl_cancel *cancel = tl_cancel_new(); /* the signal thread keeps it to the end */

	if (!cancel || signals_start(cancel) < 0) {
		fprintf(stderr, "teelaunchd: no thread for signals: %s\n", strerrordesc_np(errno));
		return EXIT_USAGE;
	}
	return launch_run(&a->launch, cancel);
}

int main(int argc, char **argv)
{
	const char *from_environment = getenv("GCE_METADATA_HOST");
	auto_free char *metadata_host =
		strdup(tl_str_is_empty(from_environment) ? "169.254.169.254" : from_environment);
	struct arguments a = {
		.launch = {
			.metadata_host = metadata_host,
			.containerd = "/run/containerd/containerd.sock",
			.tcti = "device:/dev/tpmrm0",
			.firmware_log = "/sys/kernel/security/tpm0/binary_bios_measurements",
			.kernel_cmdline = "/proc/cmdline",
			.verifier = "https://confidentialcomputing.googleapis.com",
			.verifier_api = "verifyConfidentialSpace",
			.shared_dir = "/tmp/container_launcher",
			.state_dir = "/run/teelaunch",
			.content_dir = "/var/lib/containerd",
			.disk = "protected",
			.first_token_budget_ms = 60000,
			.stop_grace_ms = 30000,
			.drain_ms = 10000,
			.version = TL_VERSION,
			.commit = TL_COMMIT,
		},
		.log_level = "info",
	};
	int code;

	if (argc > 1 && strcmp(argv[argc - 1], "--help") == 0)
		return usage(stdout), 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("teelaunchd %s (%s)\n", TL_VERSION, TL_COMMIT) < 0;
	if (argc < 2 || strcmp(argv[1], "run") != 0) {
		fprintf(stderr, "teelaunchd: %s: the verb 'run' is needed%s%s\n\n",
			tl_catalogue_find(TL_E_USAGE)->id, argc < 2 ? "" : ", not ",
			argc < 2 ? "" : argv[1]);
		return usage(stderr), EXIT_USAGE;
	}
	for (int i = 2; i < argc; i += 2)
		if (option_set(&a, argv[i], i + 1 < argc ? argv[i + 1] : NULL) < 0)
			return EXIT_USAGE;
	if (log_level_set(a.log_level) < 0)
		return EXIT_USAGE;
	process_harden();
	code = run(&a);
	tl_strv_done(&a.launch.registry_roots);
	return code;
}
