/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `teelaunch explain`: would this launch be allowed, and if not, why exactly? It links the very
 * functions that teelaunchd enforces with.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/verdict.h>

enum explain_verdict {
	EXPLAIN_ALLOW,
	EXPLAIN_DENY,
	EXPLAIN_INVALID,
};

/* What was asked and what came out. */
struct explain {
	const char *attributes_path;
	const char *labels_path;       /* NULL: not given */
	const char *image_config_path; /* NULL: not given */
	const char *image;             /* "oci:DIR[:TAG]" or a registry's; NULL: not given */
	const char *architecture;      /* of the machine, in OCI words; Linux is the only system */
	struct tl_strv registry_roots; /* as tl_registry_roots_add() takes them */
	bool is_debug;
	bool is_json;
	bool are_values_shown;
	bool is_schema; /* print the tables, judge nothing */
	struct tl_launch_spec_options spec_options;
	uint64_t mem_available_kb;
	bool is_memory_known;
	struct tl_strv capabilities;
	bool are_capabilities_known;

	struct tl_launch_spec spec;
	bool has_spec;
	struct tl_image_config image_config;
	bool has_image; /* an image configuration was given and could be read */
	struct tl_launch_policy policy;
	bool has_policy;
	bool is_policy_judged; /* also one that couldn't be read whole */
	struct tl_findings findings;
	enum explain_verdict verdict;
};

/**
 * Read the configuration of @e->image into @ret, every digest on the way checked: out of an OCI
 * layout, or out of a registry, which blocks for a minute at most.
 * Returns 0 or -errno; what is wrong is told by the code in @err, as teelaunchd would.
 */
int explain_image_read(const struct explain *e, struct tl_buf *ret, struct tl_error *err);
int explain_registry_read(const struct explain *e, struct tl_buf *ret, struct tl_error *err);

/** The subcommand: returns the exit status of cli.md. */
int explain_main(int argc, char **argv);

/** "allow", "deny", "invalid". */
const char *explain_verdict_name(enum explain_verdict verdict);

/** What was not checked because it wasn't given: name @i, or NULL past the end. */
const char *explain_unchecked(const struct explain *e, size_t i);

/* Print on standard output; 0 or -errno. */
int explain_print_json(const struct explain *e);
int explain_print_text(const struct explain *e);
int explain_print_schema(bool is_json);

/** `teelaunch explain-error [CODE]`: returns the exit status. */
int explain_error_main(int argc, char **argv);
