/* SPDX-License-Identifier: Apache-2.0 */
#include "run_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cert_chain.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/exit_decision.h>
#include <teelaunch/file.h>

#include "launcher/image/registry.h"

/* The trust store of a distribution has some 200 KiB. */
#define ROOTS_BYTES_MAX (4 * 1024 * 1024)

#define PERIOD_MS_MIN 1000
#define PERIOD_MS_MAX (3600 * 1000)

/* @words ends with NULL. */
static int parse_one_of(const char *const *words, const char *value, void *field)
{
	for (; *words; words++) {
		if (strcmp(value, *words) == 0) {
			*(const char **)field = value;
			return 0;
		}
	}
	return -EINVAL;
}

#define PARSE_ONE_OF(name, ...)                                                                    \
	static int name(const char *value, void *field)                                            \
	{                                                                                          \
		static const char *const words[] = { __VA_ARGS__, NULL };                          \
		return parse_one_of(words, value, field);                                          \
	}

PARSE_ONE_OF(parse_disk, "protected", "unprotected")
PARSE_ONE_OF(parse_root, "verity", "any")
PARSE_ONE_OF(parse_firewall, "on", "off")
PARSE_ONE_OF(parse_confine, "on", "strict", "off")
PARSE_ONE_OF(parse_unpack, "auto", "own", "containerd")
PARSE_ONE_OF(parse_console_output, "lines", "raw")
PARSE_ONE_OF(parse_api, "verifyConfidentialSpace", "verifyAttestation")

static int parse_https(const char *value, void *field)
{
	if (!tl_str_starts_with(value, "https://") || !value[strlen("https://")])
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_https_or_off(const char *value, void *field)
{
	if (strcmp(value, "off") != 0)
		return parse_https(value, field);
	*(const char **)field = value;
	return 0;
}

/* Samples that come faster say no more; one an hour is none. */
static int parse_period_ms(const char *value, void *field)
{
	uint64_t ms;
	int r = tl_str_parse_u64(value, PERIOD_MS_MAX, &ms);

	if (r < 0 || ms < PERIOD_MS_MIN)
		return r < 0 ? r : -ERANGE;
	*(uint64_t *)field = ms;
	return 0;
}

static int parse_port_or_off(const char *value, void *field)
{
	uint64_t port;

	if (strcmp(value, "off") != 0 &&
	    (tl_str_parse_u64(value, UINT16_MAX, &port) < 0 || port == 0))
		return -EINVAL;
	*(const char **)field = value;
	return 0;
}

static int parse_host(const char *value, void *field)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-:";

	if (!*value || strspn(value, allowed) != strlen(value))
		return -EINVAL;
	return tl_strv_add(field, value);
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

const struct option_row run_rows[RUN_OPTIONS] = {
	OPTION(struct run_arguments, "disk", "protected|unprotected", launch.disk, parse_disk,
	       "whether the disk that holds the workload must be protected [protected]"),
	OPTION(struct run_arguments, "root", "verity|any", launch.root, parse_root,
	       "whether the root must be the measured dm-verity device [verity]"),
	OPTION(struct run_arguments, "firewall", "on|off", launch.firewall, parse_firewall,
	       "whether the launcher decides what may come in from the network [on]"),
	OPTION(struct run_arguments, "firewall-also", "PORT/tcp|udp[,...]", launch.firewall_also,
	       parse_ports, "ports that are open all the time, beside the image's [none]"),
	OPTION(struct run_arguments, "confine", "on|strict|off", launch.confine, parse_confine,
	       "whether the launcher confines itself; strict: not without Landlock [on]"),
	OPTION(struct run_arguments, "readiness", "PORT|off", launch.readiness, parse_port_or_off,
	       "TCP port that answers GET /ready while everything is measured and runs [off]"),
	OPTION(struct run_arguments, "containerd", "SOCKET", launch.containerd, parse_absolute,
	       "containerd's socket [/run/containerd/containerd.sock]"),
	OPTION(struct run_arguments, "tcti", "CONF", launch.tcti, NULL,
	       "how to reach the TPM [device:/dev/tpmrm0]"),
	OPTION(struct run_arguments, "firmware-log", "FILE", launch.firmware_log, NULL,
	       "event log of this boot [/sys/kernel/security/tpm0/binary_bios_measurements]"),
	OPTION(struct run_arguments, "kernel-cmdline", "FILE", launch.kernel_cmdline, NULL,
	       "the kernel's command line [/proc/cmdline]"),
	OPTION(struct run_arguments, "verifier", "URL", launch.verifier, parse_https,
	       "attestation verifier [https://confidentialcomputing.googleapis.com]"),
	OPTION(struct run_arguments, "verifier-roots", "PEM", launch.verifier_roots, parse_file,
	       "the only roots that may vouch for the verifier [the system's]"),
	OPTION(struct run_arguments, "verifier-api", "verifyConfidentialSpace|verifyAttestation",
	       launch.verifier_api, parse_api,
	       "which call of the verifier is used [verifyConfidentialSpace]"),
	OPTION(struct run_arguments, "registry-roots", "HOST=PEM", launch.registry_roots,
	       parse_roots, "the only roots that may vouch for that registry; may be repeated"),
	OPTION(struct run_arguments, "google-roots", "PEM", launch.google_roots, parse_file,
	       "the only roots that may vouch for Google's registries and IAM [the system's]"),
	OPTION(struct run_arguments, "cloud-logging", "URL|off", launch.cloud_logging,
	       parse_https_or_off,
	       "Cloud Logging, for the log and redirected output "
	       "[https://logging.googleapis.com]"),
	OPTION(struct run_arguments, "cloud-monitoring", "URL|off", launch.cloud_monitoring,
	       parse_https_or_off,
	       "Cloud Monitoring, for samples of the machine's health that are asked for "
	       "[https://monitoring.googleapis.com]"),
	OPTION(struct run_arguments, "iam", "URL", launch.iam, parse_https,
	       "service for impersonated accounts [https://iamcredentials.googleapis.com]"),
	OPTION(struct run_arguments, "ita", "URL", launch.ita, parse_https,
	       "Intel Trust Authority [the host of ita-region]"),
	OPTION(struct run_arguments, "ita-roots", "PEM", launch.ita_roots, parse_file,
	       "the only roots that may vouch for Intel Trust Authority [the system's]"),
	OPTION(struct run_arguments, "aia-host", "HOST[:PORT]", launch.aia_hosts, parse_host,
	       "may be asked for certificates above the TPM's, with all hosts below it; may be "
	       "repeated [storage.googleapis.com]"),
	OPTION(struct run_arguments, "console", "FILE", launch.console, NULL,
	       "where the log and redirected output go [none: standard error]"),
	OPTION(struct run_arguments, "console-output", "lines|raw", launch.console_output,
	       parse_console_output,
	       "redirected output as lines that say they are the workload's, or as it comes "
	       "[lines]"),
	OPTION(struct run_arguments, "shared-dir", "DIR", launch.shared_dir, parse_absolute,
	       "directory shown to the workload [/tmp/container_launcher]"),
	OPTION(struct run_arguments, "state-dir", "DIR", launch.state_dir, parse_absolute,
	       "private directory: report, FIFOs [/run/teelaunch]"),
	OPTION(struct run_arguments, "content-dir", "DIR", launch.content_dir, NULL,
	       "where containerd keeps images; for the space check [/var/lib/containerd]"),
	OPTION(struct run_arguments, "unpack", "auto|own|containerd", launch.unpack, parse_unpack,
	       "who unpacks layers: teelaunch-unpack while they are downloaded, containerd, or the "
	       "latter only where it must [auto]"),
	OPTION(struct run_arguments, "unpack-program", "FILE", launch.unpack_program,
	       parse_absolute, "teelaunch-unpack [/usr/libexec/teelaunch/teelaunch-unpack]"),
	OPTION(struct run_arguments, "first-token-budget-ms", "N", launch.first_token_budget_ms,
	       parse_budget_ms, "time for the first token, retries included [60000]"),
	OPTION(struct run_arguments, "token-rate", "N", launch.token_rate, parse_rate,
	       "calls to the verifier a minute for the workload's token requests [60]"),
	OPTION(struct run_arguments, "token-burst", "N", launch.token_burst, parse_rate,
	       "so many of these at once after a quiet time [5]"),
	OPTION(struct run_arguments, "token-cache-ms", "N", launch.token_cache_ms, parse_ms,
	       "so long one default token answers GET /v1/token; 0 = never [10000]"),
	OPTION(struct run_arguments, "stop-grace-ms", "N", launch.stop_grace_ms, parse_ms,
	       "SIGKILL so long after SIGTERM; 0 = never [30000]"),
	OPTION(struct run_arguments, "restart-delay-max-ms", "N", launch.restart_delay_max_ms,
	       parse_ms,
	       "longest wait before a restart after launches that failed quickly [300000]"),
	OPTION(struct run_arguments, "drain-ms", "N", launch.drain_ms, parse_ms,
	       "time for reading the workload's last output [10000]"),
	OPTION(struct run_arguments, "monitoring-period-ms", "N", launch.monitoring_period_ms,
	       parse_period_ms,
	       "between two samples of the machine's health, 1000 to 3600000 [60000]"),
	OPTION(struct run_arguments, "log-level", "error|warning|info|debug", log_level,
	       parse_log_level, "what is logged, from there up [info]"),
};

struct run_arguments run_defaults(const char *metadata_host)
{
	return (struct run_arguments){
		.launch = {
			.metadata_host = metadata_host,
			.containerd = "/run/containerd/containerd.sock",
			.tcti = "device:/dev/tpmrm0",
			.firmware_log = "/sys/kernel/security/tpm0/binary_bios_measurements",
			.kernel_cmdline = "/proc/cmdline",
			.verifier = "https://confidentialcomputing.googleapis.com",
			.cloud_logging = "https://logging.googleapis.com",
			.cloud_monitoring = "https://monitoring.googleapis.com",
			.verifier_api = "verifyConfidentialSpace",
			.shared_dir = "/tmp/container_launcher",
			.state_dir = "/run/teelaunch",
			.content_dir = "/var/lib/containerd",
			.unpack = "auto",
			.unpack_program = "/usr/libexec/teelaunch/teelaunch-unpack",
			.disk = "protected",
			.root = "verity",
			.firewall = "on",
			.confine = "on",
			.readiness = "off",
			.console_output = "lines",
			.first_token_budget_ms = 60000,
			.token_rate = 60,
			.token_burst = 5,
			.token_cache_ms = 10000,
			.restart_delay_max_ms = TL_RESTART_DELAY_MAX_MS,
			.stop_grace_ms = 30000,
			.drain_ms = 10000,
			.monitoring_period_ms = 60000,
		},
		.log_level = "info",
	};
}

int run_defaults_finish(struct run_arguments *a)
{
	return a->launch.aia_hosts.n ? 0 : tl_strv_add(&a->launch.aia_hosts, TL_AIA_HOST_DEFAULT);
}

void run_arguments_done(struct run_arguments *a)
{
	tl_strv_done(&a->launch.registry_roots);
	tl_strv_done(&a->launch.firewall_also);
	tl_strv_done(&a->launch.aia_hosts);
}

/* "PREFIXsha256:HEX" of the file's content. */
static int file_digest_add(const char *prefix, int prefix_n, const char *path, struct tl_strv *ret,
			   struct tl_error *err)
{
	auto_buf struct tl_buf content = { 0 };
	uint8_t digest[TL_HASH_SIZE_MAX];
	char hex[2 * TL_HASH_SIZE_MAX + 1];
	int r;

	tl_buf_init(&content, ROOTS_BYTES_MAX);
	r = tl_file_read(path, &content, err);
	if (r < 0)
		return r;
	r = tl_digest(TL_SHA256, content.data ? (const void *)content.data : "", content.len_bytes,
		      digest);
	if (r < 0)
		return tl_fail(err, TL_E_INTERNAL, -r, "hash '%s'", path);
	tl_hex_encode(digest, tl_hash_size(TL_SHA256), hex);
	if (tl_strv_printf(ret, "%.*ssha256:%s", prefix_n, prefix, hex) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "launch record");
	return 0;
}

static int roots_add(const struct tl_strv *entries, struct run_record *ret, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < entries->n; i++) {
		const char *entry = entries->items[i], *path = strchr(entry, '=') + 1;

		r = file_digest_add(entry, (int)(path - entry), path, &ret->roots, err);
	}
	return r;
}

static int text_make(const struct option_row *row, const char *value, struct run_record *to,
		     struct tl_record_option *ret, struct tl_error *err)
{
	int r = 0;

	ret->text = value;
	if (value && row->parse == parse_file) {
		r = file_digest_add("", 0, value, &to->texts, err);
		ret->text = r == 0 ? to->texts.items[to->texts.n - 1] : NULL;
	}
	return r;
}

static int option_make(const struct option_row *row, const void *arguments, struct run_record *to,
		       struct tl_error *err)
{
	const void *field = (const char *)arguments + row->offset;
	struct tl_record_option *o = &to->items[to->n++];

	o->name = row->name + strlen("--");
	switch (row->type) {
	case OPTION_TEXT:
		o->kind = TL_RECORD_TEXT;
		return text_make(row, *(const char *const *)field, to, o, err);
	case OPTION_NUMBER:
		o->kind = TL_RECORD_NUMBER;
		o->number = *(const uint64_t *)field;
		return 0;
	case OPTION_BOOL:
		o->kind = TL_RECORD_BOOL;
		o->number = *(const bool *)field;
		return 0;
	case OPTION_TEXTS:
		o->kind = TL_RECORD_TEXTS;
		o->texts = row->parse == parse_roots ? &to->roots : field;
		return row->parse == parse_roots ? roots_add(field, to, err) : 0;
	case OPTION_OTHER:
		break;
	}
	return tl_fail(err, TL_E_INTERNAL, EINVAL, "no launch record can have %s", row->name);
}

int run_record_make(const struct run_arguments *a, struct run_record *ret, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < RUN_OPTIONS; i++)
		r = option_make(&run_rows[i], a, ret, err);
	if (r == 0)
		ret->items[ret->n++] = (struct tl_record_option){ .name = "metadata-host",
								  .text = a->launch.metadata_host };
	return r;
}

void run_record_done(struct run_record *r)
{
	tl_strv_done(&r->texts);
	tl_strv_done(&r->roots);
	r->n = 0;
}
