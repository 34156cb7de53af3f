/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher: parse the command line of a unit, call one function, return its code. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cert_chain.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/exit_decision.h>
#include <teelaunch/log.h>

#include "launcher/image/registry.h"
#include "launcher/launch.h"
#include "teelaunchd_disk.h"
#include "teelaunchd_options.h"

struct arguments {
	struct launch_options launch;
	const char *log_level;
};

static int parse_disk(const char *value, void *field)
{
	if (strcmp(value, "protected") != 0 && strcmp(value, "unprotected") != 0)
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_root(const char *value, void *field)
{
	if (strcmp(value, "verity") != 0 && strcmp(value, "any") != 0)
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_firewall(const char *value, void *field)
{
	bool is_on = strcmp(value, "on") == 0;

	if (!is_on && strcmp(value, "off") != 0)
		return -EINVAL;
	*(bool *)field = is_on;
	return 0;
}

static int parse_console_output(const char *value, void *field)
{
	bool is_raw = strcmp(value, "raw") == 0;

	if (!is_raw && strcmp(value, "lines") != 0)
		return -EINVAL;
	*(bool *)field = is_raw;
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

static int parse_cloud_logging(const char *value, void *field)
{
	if (strcmp(value, "off") != 0)
		return parse_https(value, field);
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

static int parse_roots(const char *value, void *field)
{
	return tl_registry_roots_add(field, value);
}

static int parse_host(const char *value, void *field)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-:";

	if (!*value || strspn(value, allowed) != strlen(value))
		return -EINVAL;
	return tl_strv_add(field, value);
}

static const struct option_row run_rows[] = {
	OPTION(struct arguments, "disk", "protected|unprotected", launch.disk, parse_disk,
	       "whether the disk that holds the workload must be protected [protected]"),
	OPTION(struct arguments, "root", "verity|any", launch.root, parse_root,
	       "whether the root must be the measured dm-verity device [verity]"),
	OPTION(struct arguments, "firewall", "on|off", launch.is_firewall_on, parse_firewall,
	       "whether the launcher decides what may come in from the network [on]"),
	OPTION(struct arguments, "firewall-also", "PORT/tcp|udp[,...]", launch.firewall_also,
	       parse_ports, "ports that are open all the time, beside the image's [none]"),
	OPTION(struct arguments, "containerd", "SOCKET", launch.containerd, parse_absolute,
	       "containerd's socket [/run/containerd/containerd.sock]"),
	OPTION(struct arguments, "tcti", "CONF", launch.tcti, NULL,
	       "how to reach the TPM [device:/dev/tpmrm0]"),
	OPTION(struct arguments, "firmware-log", "FILE", launch.firmware_log, NULL,
	       "event log of this boot [/sys/kernel/security/tpm0/binary_bios_measurements]"),
	OPTION(struct arguments, "kernel-cmdline", "FILE", launch.kernel_cmdline, NULL,
	       "the kernel's command line [/proc/cmdline]"),
	OPTION(struct arguments, "verifier", "URL", launch.verifier, parse_https,
	       "attestation verifier [https://confidentialcomputing.googleapis.com]"),
	OPTION(struct arguments, "verifier-roots", "PEM", launch.verifier_roots, parse_file,
	       "the only roots that may vouch for the verifier [the system's]"),
	OPTION(struct arguments, "verifier-api", "METHOD", launch.verifier_api, parse_api,
	       "verifyConfidentialSpace or verifyAttestation [verifyConfidentialSpace]"),
	OPTION(struct arguments, "registry-roots", "HOST=PEM", launch.registry_roots, parse_roots,
	       "the only roots that may vouch for that registry; may be repeated"),
	OPTION(struct arguments, "google-roots", "PEM", launch.google_roots, parse_file,
	       "the only roots that may vouch for Google's registries and IAM [the system's]"),
	OPTION(struct arguments, "cloud-logging", "URL|off", launch.cloud_logging,
	       parse_cloud_logging,
	       "Cloud Logging, for the log and redirected output "
	       "[https://logging.googleapis.com]"),
	OPTION(struct arguments, "iam", "URL", launch.iam, parse_https,
	       "service for impersonated accounts [https://iamcredentials.googleapis.com]"),
	OPTION(struct arguments, "ita", "URL", launch.ita, parse_https,
	       "Intel Trust Authority [the host of ita-region]"),
	OPTION(struct arguments, "ita-roots", "PEM", launch.ita_roots, parse_file,
	       "the only roots that may vouch for Intel Trust Authority [the system's]"),
	OPTION(struct arguments, "aia-host", "HOST[:PORT]", launch.aia_hosts, parse_host,
	       "may be asked for certificates above the TPM's, with all hosts below it; may be "
	       "repeated [storage.googleapis.com]"),
	OPTION(struct arguments, "console", "FILE", launch.console, NULL,
	       "where the log and redirected output go [none: standard error]"),
	OPTION(struct arguments, "console-output", "lines|raw", launch.is_console_raw,
	       parse_console_output,
	       "redirected output as lines that say they are the workload's, or as it comes "
	       "[lines]"),
	OPTION(struct arguments, "shared-dir", "DIR", launch.shared_dir, parse_absolute,
	       "directory shown to the workload [/tmp/container_launcher]"),
	OPTION(struct arguments, "state-dir", "DIR", launch.state_dir, parse_absolute,
	       "private directory: report, FIFOs [/run/teelaunch]"),
	OPTION(struct arguments, "content-dir", "DIR", launch.content_dir, NULL,
	       "where containerd keeps images; for the space check [/var/lib/containerd]"),
	OPTION(struct arguments, "first-token-budget-ms", "N", launch.first_token_budget_ms,
	       parse_budget_ms, "time for the first token, retries included [60000]"),
	OPTION(struct arguments, "token-rate", "N", launch.token_rate, parse_rate,
	       "calls to the verifier a minute for the workload's token requests [60]"),
	OPTION(struct arguments, "token-burst", "N", launch.token_burst, parse_rate,
	       "so many of these at once after a quiet time [5]"),
	OPTION(struct arguments, "token-cache-ms", "N", launch.token_cache_ms, parse_ms,
	       "so long one default token answers GET /v1/token; 0 = never [10000]"),
	OPTION(struct arguments, "stop-grace-ms", "N", launch.stop_grace_ms, parse_ms,
	       "SIGKILL so long after SIGTERM; 0 = never [30000]"),
	OPTION(struct arguments, "restart-delay-max-ms", "N", launch.restart_delay_max_ms, parse_ms,
	       "longest wait before a restart after launches that failed quickly [300000]"),
	OPTION(struct arguments, "drain-ms", "N", launch.drain_ms, parse_ms,
	       "time for reading the workload's last output [10000]"),
	OPTION(struct arguments, "log-level", "LEVEL", log_level, parse_log_level,
	       "error, warning, info, debug [info]"),
};

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

static int launch(const struct arguments *a)
{
	struct tl_cancel *cancel = tl_cancel_new(); /* the signal thread keeps it to the end */

	if (!cancel || signals_start(cancel) < 0) {
		fprintf(stderr, "teelaunchd: no thread for signals: %s\n", strerrordesc_np(errno));
		return EXIT_USAGE;
	}
	return launch_run(&a->launch, cancel);
}

static int run(const struct verb *verb, int argc, char **argv)
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
			.cloud_logging = "https://logging.googleapis.com",
			.verifier_api = "verifyConfidentialSpace",
			.shared_dir = "/tmp/container_launcher",
			.state_dir = "/run/teelaunch",
			.content_dir = "/var/lib/containerd",
			.disk = "protected",
			.root = "verity",
			.is_firewall_on = true,
			.first_token_budget_ms = 60000,
			.token_rate = 60,
			.token_burst = 5,
			.token_cache_ms = 10000,
			.restart_delay_max_ms = TL_RESTART_DELAY_MAX_MS,
			.stop_grace_ms = 30000,
			.drain_ms = 10000,
			.version = TL_VERSION,
			.commit = TL_COMMIT,
		},
	};
	int code;

	if (options_parse(verb, &a, argc, argv) < 0 ||
	    (!a.launch.aia_hosts.n && tl_strv_add(&a.launch.aia_hosts, TL_AIA_HOST_DEFAULT) < 0))
		return EXIT_USAGE;
	process_harden();
	code = launch(&a);
	tl_strv_done(&a.launch.registry_roots);
	tl_strv_done(&a.launch.firewall_also);
	tl_strv_done(&a.launch.aia_hosts);
	return code;
}

static const struct verb verb_run = {
	.name = "run",
	.summary = "Launch one confidential workload as the VM's metadata and the image's policy "
		   "say.",
	.exit_status = "Exit status: 0, 1 stop the VM; 3 restart it; 4 hold it.",
	.rows = run_rows,
	.rows_n = TL_ARRAY_SIZE(run_rows),
	.run = run,
};

/* One verb a unit. */
static const struct verb *const verbs[] = { &verb_firewall, &verb_disk, &verb_run, &verb_exit };

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; name && i < TL_ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

static void usage(FILE *to)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(verbs); i++) {
		if (i)
			fputc('\n', to);
		options_help(verbs[i], to);
	}
}

int main(int argc, char **argv)
{
	const struct verb *verb = verb_find(argc > 1 ? argv[1] : NULL);

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout), 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("teelaunchd %s (%s)\n", TL_VERSION, TL_COMMIT) < 0;
	if (!verb) {
		fprintf(stderr, "teelaunchd: %s: a verb is needed%s%s\n\n",
			tl_catalogue_find(TL_E_USAGE)->id, argc < 2 ? "" : ", not ",
			argc < 2 ? "" : argv[1]);
		return usage(stderr), EXIT_USAGE;
	}
	if (argc == 3 && strcmp(argv[2], "--help") == 0)
		return options_help(verb, stdout), 0;
	return verb->run(verb, argc - 2, argv + 2);
}
