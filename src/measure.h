/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `teelaunch measure`: what a launch would measure, computed with the functions that teelaunchd
 * measures with (predict.h); and event logs, encoded and decoded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <teelaunch/event_log.h>

#include "judge.h"

/* What was asked and what came out. Paths are borrowed. */
struct measure {
	const char *events_path;   /* JSON list of events; NULL: not given */
	const char *decode_path;   /* encoded log; NULL: not given */
	struct judge judge;        /* with attributes_path: the launch to predict */
	const char *hostname;      /* of the VM; NULL: not known */
	const char *unit_options;  /* behind `teelaunchd run`; NULL: those of our unit */
	const char *metadata_host; /* GCE_METADATA_HOST of the unit; NULL: the usual one */
	uint64_t nofile;           /* as oci_nofile() takes it */
	const char *disk_tags;     /* "memory" or "disk"; NULL: not known */
	struct tl_banks banks;     /* of the TPM */
	bool is_json;

	struct tl_event_list events;
	size_t open_event; /* its content is only known in the VM; SIZE_MAX: none is */
};

/**
 * A JSON list of {"type": N, "content_b64": "..."}. Returns 0 or -errno; TL_E_EVENT_LIMIT or
 * TL_E_EVENT_ORDER are those of the log, TL_E_EVENT_INPUT is all that the list itself may be wrong
 * in.
 */
int measure_events_read(const char *path, struct tl_event_list *ret, struct tl_error *err);

/** An encoded log in either form; @ret_banks: those of its records. TL_E_CEL_*. */
int measure_log_read(const char *path, struct tl_event_list *ret, struct tl_banks *ret_banks,
		     struct tl_error *err);

/**
 * The document teelaunch.measure/1; NULL on failure, @err filled. With an open event, what depends
 * on it is null: the event's content and digests, logs and registers.
 */
json_t *measure_document(const struct measure *m, struct tl_error *err);

/** Print on standard output, for people; 0 or -errno. */
int measure_print_text(const struct measure *m, const json_t *document);

/** The subcommand: returns the exit status of teelaunch-measure(1). */
int measure_main(int argc, char **argv);
extern const struct tl_options measure_options;
