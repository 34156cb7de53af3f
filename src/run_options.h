/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of `teelaunchd run`: their table, their defaults, and what of them goes into the
 * launch record: all of them, and where the metadata server is. Files count by what is in them.
 */
#pragma once

#include <teelaunch/cleanup.h>
#include <teelaunch/error.h>
#include <teelaunch/launch_record.h>
#include <teelaunch/str.h>

#include "launcher/launch.h"
#include "teelaunchd_options.h"

struct run_arguments {
	struct launch_options launch;
	const char *log_level;
};

#define RUN_OPTIONS 37
extern const struct option_row run_rows[RUN_OPTIONS];

/** @metadata_host  borrowed */
struct run_arguments run_defaults(const char *metadata_host);

/** What can't be in the struct before the command line was read. 0 or -ENOMEM. */
int run_defaults_finish(struct run_arguments *a);
/** Free the lists. */
void run_arguments_done(struct run_arguments *a);

/* Of the launch record's "unit". */
struct run_record {
	struct tl_record_option items[RUN_OPTIONS + 1];
	size_t n;
	struct tl_strv texts, roots; /* what items point at, and isn't in the arguments */
};

/**
 * In place of a PEM file its digest, "sha256:HEX"; in place of HOST=PEM-FILE, HOST=sha256:HEX.
 *
 * @a    borrowed for as long as @ret lives
 * @ret  stays where it is; run_record_done() in every case
 * Returns 0, or a negative errno with TL_E_IO, _NO_MEMORY, or _INTERNAL: an option's type isn't
 * known here. Reads those files.
 */
int run_record_make(const struct run_arguments *a, struct run_record *ret, struct tl_error *err);
void run_record_done(struct run_record *r);
#define auto_run_record __attribute__((cleanup(run_record_done)))
