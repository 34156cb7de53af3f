/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a launch as data, and the loop that walks it. The table itself is in sequence.c: the
 * one place that knows the order. Stages are in stages_*.c; what follows from the end in finish.c.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/cert_chain.h>
#include <teelaunch/error.h>
#include <teelaunch/event_log.h>
#include <teelaunch/findings.h>
#include <teelaunch/http.h>
#include <teelaunch/image_ref.h>
#include <teelaunch/launch_policy.h>
#include <teelaunch/launch_spec.h>
#include <teelaunch/tee.h>

#include "cloud_log.h"
#include "confine/confine.h"
#include "disk/watch.h"
#include "health/health.h"
#include "image/resolve.h"
#include "launch.h"
#include "machine.h"
#include "manager.h"
#include "report.h"

/* "pull" must give a sign of life that often; it goes on for up to an hour. */
#define PULL_SIGN_S 120

/* One launch under way. Owned by launch_run(); stages fill it from the top down. */
struct launch {
	const struct launch_options *options;
	struct tl_cancel *cancel;
	uint64_t started_ms;
	struct manager_notes notes;
	struct power_button *power_button;
	int console_fd; /* where the log and the workload's raw output go; -1: standard error */
	struct cloud_writer *cloud_log, *cloud_monitoring; /* NULL: none */
	struct confinement confinement;
	struct machine_facts machine;
	bool has_machine;
	struct disk_watch *disk_watch; /* NULL: no protected disk */
	struct tl_cancel *kill;        /* the workload, at once; NULL: never */
	struct tl_error disk_alarm;    /* what it saw; code 0: nothing */

	struct metadata *metadata;
	struct tl_launch_spec spec;
	bool has_spec;
	struct tl_findings findings;
	size_t findings_logged; /* this many of them are in the log */

	struct tl_image_ref ref;
	char *reference_shown; /* without credentials; NULL before the attributes were read */
	struct tl_registry *registry;
	struct tl_resolved_image image;
	bool has_image;
	struct tl_launch_policy policy;

	struct tl_ctrd *containerd;
	bool is_swept; /* nothing of an earlier launch is left, nor of what was undone */
	struct tl_workload *workload;
	struct tl_tee *tee;
	bool has_snp;                     /* the processor reports beside the TPM */
	struct tl_cert_chain *cert_chain; /* above the attestation key's; as long as @tee */
	struct tl_event_list events;
	struct signature_store *signatures;        /* NULL: none are asked for */
	struct signature_keeper *signature_keeper; /* NULL: the token's keeper does it, or none */
	struct token_keeping *tokens;              /* NULL: no token is kept */
	struct token_serving *serving;
	struct health *monitoring;   /* while the workload runs; NULL: nothing is monitored */
	struct readiness *readiness; /* NULL: none */
	atomic_bool is_running;      /* between the workload's start and its end */
	atomic_int health;           /* enum probe_status, of the image's HEALTHCHECK */

	enum tl_outcome outcome; /* from launch_finish() on */
	struct report report;    /* numbers and static texts; the rest is filled in by finish.c */
	char pcr13_hex[2 * TL_HASH_SIZE_MAX + 1], pcr15_hex[2 * TL_HASH_SIZE_MAX + 1];
	char rtmr3_hex[2 * TL_HASH_SIZE_MAX + 1];
};

struct stage {
	const char *name;
	/*
	 * So long it may take, its own deadlines used up, before the service manager ends a
	 * launcher that is stuck. "pull" tells as it goes on; the first token's budget is the
	 * unit's to add.
	 */
	uint32_t limit_s;
	int (*run)(struct launch *l, struct tl_error *err);
	void (*undo)(struct launch *l); /* NULL: nothing to undo. Only after run() succeeded */
};

int stage_disk(struct launch *l, struct tl_error *err);
void stage_disk_undo(struct launch *l);
int stage_machine(struct launch *l, struct tl_error *err);
int stage_metadata(struct launch *l, struct tl_error *err);
int stage_spec(struct launch *l, struct tl_error *err);
int stage_resolve(struct launch *l, struct tl_error *err);
int stage_policy(struct launch *l, struct tl_error *err);
int stage_connect(struct launch *l, struct tl_error *err);
int stage_pull(struct launch *l, struct tl_error *err);
int stage_create(struct launch *l, struct tl_error *err);
void stage_create_undo(struct launch *l);
int stage_confine(struct launch *l, struct tl_error *err);
int stage_tpm(struct launch *l, struct tl_error *err);
void stage_tpm_undo(struct launch *l);
int stage_measure(struct launch *l, struct tl_error *err);
int stage_token(struct launch *l, struct tl_error *err);
void stage_token_undo(struct launch *l);
int stage_serve(struct launch *l, struct tl_error *err);
void stage_serve_undo(struct launch *l);
int stage_open(struct launch *l, struct tl_error *err);
void stage_open_undo(struct launch *l);
int stage_run(struct launch *l, struct tl_error *err);

/**
 * The launch record of a launch whose stages up to "create" have run: teelaunch/launch_record.h.
 * @ret  an empty buffer. Reads nothing but @l.
 */
int launch_record_write(const struct launch *l, struct tl_buf *ret, struct tl_error *err);

/** What the launcher took from itself when it started, in log and report; or its failure. */
int confinement_judge(struct launch *l, struct tl_error *err);

/** Nothing but replies may come in, if the firewall is ours: TL_E_FIREWALL. */
int firewall_shut(const struct launch *l, struct tl_error *err);

/** The launcher's own folders, or a clear word that something is in their place: TL_E_FOLDER. */
int folders_make(const struct launch *l, struct tl_error *err);

/** Best effort, within seconds: a launch that ended early must not leave an earlier one running. */
void launch_sweep_late(struct launch *l);

/**
 * Decide, report, and return the exit code. @r and @err are how the stages ended. Before a restart
 * that has to wait, it waits: the report comes afterwards, because a shutdown asked for meanwhile
 * ends the wait, and then the machine stops.
 */
int launch_finish(struct launch *l, int r, const struct tl_error *err);

/** The code that launch_finish() gave; or, where a shutdown was asked for since, no restart. */
int launch_code_final(const struct launch *l, int code);

/** The last line of a launch; tools stop reading there. */
void launch_exiting_log(int code);
