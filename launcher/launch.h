/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One launch, from the metadata to the decision what becomes of the VM. What the image decides
 * comes in as options; what the operator decides comes from the metadata; there is no third place.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/launch_record.h>
#include <teelaunch/str.h>

struct confinement;

/* All strings are borrowed for the whole launch. */
struct launch_options {
	const char *metadata_host;    /* host or host:port; plain http */
	const char *cloud_logging;    /* https URL of Cloud Logging, without path; "off": none */
	const char *cloud_monitoring; /* https URL of Cloud Monitoring, without path; "off": none */
	const char *containerd;       /* absolute path of the socket */
	const char *tcti; /* TPM transmission interface, as Tss2_TctiLdr_Initialize takes it */
	const char *firmware_log;      /* TCG2 event log of this boot */
	const char *kernel_cmdline;    /* file with the kernel's command line */
	const char *verifier;          /* https URL of the verifier */
	const char *verifier_roots;    /* PEM file; NULL: the system's trust store */
	const char *verifier_api;      /* "verifyConfidentialSpace" or "verifyAttestation" */
	const char *google_roots;      /* PEM file for Google's registries and IAM; NULL: the
					  system's */
	const char *iam;               /* https URL of IAM; NULL: Google's */
	const char *ita;               /* https URL of Intel Trust Authority; NULL: the region's */
	const char *ita_roots;         /* PEM file; NULL: the system's trust store */
	struct tl_strv aia_hosts;      /* teelaunch/cert_chain.h */
	struct tl_strv registry_roots; /* "HOST[:PORT]=PEM-FILE" */
	const char *console;           /* file or device for the log and the workload; NULL: none */
	const char *console_output; /* redirected output there: "lines" behind a prefix, or "raw" */
	const char *shared_dir;     /* host directory that the workload sees read-only */
	const char *state_dir;      /* private; report and FIFOs */
	const char *content_dir;    /* on the file system that will hold the image: space check */
	const char *unpack;         /* "auto", "own" or "containerd": who unpacks layers */
	const char *unpack_program; /* absolute path */
	const char *disk;           /* "protected" or "unprotected" */
	const char *root;           /* "verity": the measured root and nothing else; or "any" */
	const char *firewall;       /* "on"; or "off": what may come in isn't ours to say */
	const char *confine;        /* "on", "strict" or "off": confine/confine.h */
	const char *readiness; /* TCP port that tells whether the workload is ready; or "off" */
	struct tl_strv firewall_also; /* ports that are open all the time: "22/tcp" */
	uint64_t first_token_budget_ms;
	/* What the workload may spend by the token socket (teelaunch/token_server.h). */
	uint64_t token_rate, token_burst, token_cache_ms;
	uint64_t stop_grace_ms;        /* SIGKILL so long after SIGTERM; 0: never */
	uint64_t restart_delay_max_ms; /* before a restart after a quick failure */
	uint64_t drain_ms;             /* bound on reading the last output */
	uint64_t monitoring_period_ms; /* between two samples, if any are asked for */
	/* All of the above and what else the unit says, for the launch record. */
	const struct tl_record_option *unit;
	size_t unit_n;
	const char *version, *commit;
	/* What confine_launch() did, before there were threads; a failure ends the launch. */
	const struct confinement *confinement;
	const struct tl_error *confinement_failure; /* code 0: none */
	struct journal *journal;                    /* NULL: standard error leads somewhere else */
};

/**
 * Do it all. Blocks until the workload has ended and everything is undone, or until the launch
 * failed. Prints the report on every path, logs each stage. @cancel: an orderly shutdown was asked
 * for.
 *
 * Returns the exit code of the process: 0 or 1 stop, 3 restart, 4 hold (docs/operators.md).
 */
int launch_run(const struct launch_options *options, struct tl_cancel *cancel);
