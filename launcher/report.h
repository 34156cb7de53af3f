/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch report: what happened, in one JSON document (schema "teelaunch.report/1"), made on
 * every exit path. It is telemetry for operators, not evidence. It never carries a secret, a token,
 * a variable's value or a byte of the workload.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

#define REPORT_STAGES_MAX 24
/* The console line, prefix and newline included: a serial console is slow and lossy. */
#define REPORT_CONSOLE_MAX 4096
#define REPORT_FULL_MAX    (256 * 1024)
#define REPORT_REASON_MAX  160
#define REPORT_PREFIX      "TEELAUNCH-REPORT "

struct journal;

/* The launcher's last line: of an exit code, and report_exit_text() of it. Tools stop reading
 * there. */
#define EXITING_EVENT  "launch.exiting"
#define EXITING_FORMAT "msg='TEE container launcher exiting' exit_code=%d exit_msg='%s'"
const char *report_exit_text(int exit_code);

struct report_stage {
	const char *name;  /* static */
	uint64_t start_ms; /* since the launcher's start */
	uint64_t took_ms;
	const char *outcome; /* "ok", "failed", "skipped"; static */
};

/* One reason of a denial; strings borrowed. */
struct report_finding {
	const char *code, *key, *message, *fix;
};

/* Everything but numbers is borrowed and may be NULL: then the field is left out. */
struct report {
	const char *result; /* "success", "workload", "denied", "retry", "fatal" */
	const char *code;   /* "TL0401"; NULL on success */
	const char *message;
	int exit_code;
	uint64_t restart_delay_ms; /* 0: none */
	const char *action;        /* "stop", "restart", "hold" */
	const char *decided_by;    /* "workload", "launcher", "operator" */
	struct report_stage stages[REPORT_STAGES_MAX];
	size_t stages_n;
	const struct report_finding *findings;
	size_t findings_n;
	struct {
		const char *reference, *digest, *config_digest;
		uint64_t size_bytes;
		size_t layers;
	} image;
	struct {
		bool has_begun;
		uint64_t downloaded_bytes;
		uint64_t unpacked_bytes; /* archives that were unpacked without containerd */
		unsigned int layers_own, layers_containerd, layers_reused;
		uint64_t downloaded_at_ms, unpacked_at_ms, took_ms; /* since its beginning */
		char reason[REPORT_REASON_MAX]; /* the first for which containerd unpacked; "" */
	} pull;
	struct {
		bool has_run, is_oom_killed;
		int exit_status; /* -1: ended by a signal, or unknown */
		int signal;      /* 0: ended by itself */
		uint64_t run_ms;
		/* Of the image's HEALTHCHECK: the last word ("healthy"; static; NULL: none), how
		 * often it was run and wasn't well. */
		const char *health;
		uint64_t probes, probes_failed;
	} workload;
	struct {
		const char *mode;                      /* "unprotected" or "protected" */
		const char *cipher, *integrity, *tags; /* NULL: not known to be protected */
		uint64_t setup_ms, size_bytes;
	} disk;
	const char *root; /* "verity" or "any" */
	struct {
		const char *mode, *phase; /* confine/confine.h; static */
		uint64_t capabilities;    /* that the launcher has kept, a bit for each number */
		int landlock_abi;         /* 0: no Landlock */
		size_t threads;           /* that it was found in force for */
	} confinement;
	struct {
		const char *pcr13_sha256; /* hex */
		const char *pcr15_sha256; /* of the launch record, hex */
		const char *rtmr3;        /* hex; NULL: a machine without TDX */
		size_t events;            /* 0: nothing was measured */
	} measured;
	struct {
		const char *state;  /* "valid", "none" */
		int64_t expires_at; /* seconds since the epoch; 0: none */
		unsigned int attempts;
		int64_t clock_skew_s; /* this clock less the verifier's, when it last answered */
		/* By the token socket: asked for, refused by a limit, calls to the verifier. */
		uint64_t requests, refused, upstream;
	} token;
	struct {
		uint64_t lines, bytes, dropped_bytes; /* of the workload's output */
		uint64_t dropped_lines;               /* of the launcher's own log */
		bool is_cut; /* the output had not ended when the drain did */
	} log;
	const char *version, *commit;
};

/**
 * The document as one line of JSON, at most @max_bytes long: when it would be longer, reasons, then
 * stages, then the message are shortened or left out, and "truncated" is true.
 *
 * @ret  new string, owned by the caller. -ENOMEM on failure. Pure.
 */
int report_format(const struct report *r, size_t max_bytes, char **ret);

/**
 * What decides and nothing else: result, code, exit code, action, who decided; "truncated" is true.
 * For when memory has run out: allocates nothing. A few hundred bytes. Pure.
 */
void report_format_brief(const struct report *r, char *ret, size_t cap_bytes);

/** The level of its entry in a log. */
int report_level(const struct report *r);

/**
 * The report as one line, in full if there is memory for it, else in brief: to @journal with the
 * whole document beside it, or to standard error without one (NULL); and to @console_fd (-1: none).
 * Each in one write: it must not be torn by somebody else's. Blocks a second at most
 * for each that nobody reads.
 *
 * @full  the whole document; NULL: the line's
 */
void report_print(const struct report *r, const char *full, int console_fd,
		  struct journal *journal);
