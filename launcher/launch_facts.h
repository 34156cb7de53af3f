/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was asked for and what was found to the facts that are measured. Pure: the launcher
 * measures with it, and `teelaunch measure` predicts with it.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/launch_events.h>
#include <teelaunch/launch_record.h>
#include <teelaunch/launch_spec.h>

struct launch_image_names {
	const char *digest; /* of what the reference stands for: the index, if there is one */
	const char *id;     /* digest of the configuration */
};

/** Everything is borrowed. @args, @env: of the workload's process (oci_process()). */
struct tl_launch_facts launch_facts_of(const struct tl_launch_spec *spec,
				       const struct launch_image_names *image,
				       const struct tl_strv *args, const struct tl_strv *env);

/* What the unit decides, and what the machine comes to; for the launch record. */
struct launch_place {
	bool is_hardened;
	const char *root; /* "verity" or "any" */
	struct {
		const char *mode;               /* "protected" or "unprotected" */
		const char *cipher, *integrity; /* NULL if unprotected */
		const char *tags;               /* in "memory" or on "disk"; NULL if unprotected */
	} disk;
	uint64_t nofile_limit; /* as oci_nofile() takes it */
	const char *verifier;  /* the unit's option */
	const struct tl_record_option *unit;
	size_t unit_n;
};

/** Everything is borrowed. */
struct tl_launch_record_facts launch_record_facts_of(const struct tl_launch_spec *spec,
						     const struct launch_place *place);

/**
 * The verifier that is asked: the unit's, but gca-service-env names another of Google's services
 * where the unit names Google's. Borrowed.
 */
const char *launch_verifier_url(const struct tl_launch_spec *spec, const char *verifier);
