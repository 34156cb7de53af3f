/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launch that hasn't happened, judged: attributes, an image and what is known of the machine in;
 * what they ask for, and every reason against it, out. All by the functions that teelaunchd
 * enforces with. `teelaunch explain` prints it, `teelaunch measure` predicts from it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/option_table.h>
#include <teelaunch/verdict.h>

enum judge_verdict {
	JUDGE_ALLOW,
	JUDGE_DENY,
	JUDGE_INVALID,
};

/* Texts of what was asked are borrowed. */
struct judge {
	const char *command; /* "teelaunch explain": in front of messages */
	const char *attributes_path;
	const char *labels_path;       /* NULL: not given */
	const char *image_config_path; /* NULL: not given */
	const char *image;             /* "oci:DIR[:TAG]" or a registry's; NULL: not given */
	const char *architecture;      /* of the machine, in OCI words; Linux is the only system */
	struct tl_strv registry_roots; /* as tl_registry_roots_add() takes them */
	bool is_debug;
	struct tl_launch_spec_options spec_options;
	uint64_t mem_available_kb;
	bool is_memory_known;
	struct tl_strv capabilities;
	bool are_capabilities_known;

	struct tl_launch_spec spec;
	bool has_spec;
	struct tl_image_config image_config;
	bool has_image; /* an image configuration was given and could be read */
	/* Of an image that was found by @image; else NULL. What launches of it measure. */
	char *image_digest; /* what its name stands for: the index, if there is one */
	char *manifest_digest;
	char *image_id;
	struct tl_launch_policy policy;
	bool has_policy;
	bool is_policy_judged; /* also one that couldn't be read whole */
	struct tl_findings findings;
	enum judge_verdict verdict;
};

/**
 * Read everything and judge it. Blocks: files, and for @image of a registry a minute at most.
 * Returns 0 (then there is a verdict) or -errno with @err: nothing can be said.
 */
int judge_run(struct judge *j, struct tl_error *err);
void judge_done(struct judge *j);

/** Why there is no verdict, on standard error. */
void judge_failure_print(const char *command, int r, const struct tl_error *err);

/** The exit status of a verdict: 0, 2, 3. */
int judge_exit_status(const struct judge *j);

/* Rows of the commands' tables; offset: of the struct judge in the context. */
int judge_option_image(void *ctx, const struct tl_option *option, const char *value);
int judge_option_registry_roots(void *ctx, const struct tl_option *option, const char *value);
int judge_option_platform(void *ctx, const struct tl_option *option, const char *value);
int judge_option_hardened(void *ctx, const struct tl_option *option, const char *value);
int judge_option_debug(void *ctx, const struct tl_option *option, const char *value);
#define JUDGE_ARCHITECTURE "amd64" /* unless --platform says another */

/**
 * Read the image at @j->image, every digest on the way checked: out of an OCI layout, or out of a
 * registry, which blocks. @ret gets its configuration, @j the digests of the image.
 * Returns 0 or -errno; what is wrong is told by the code in @err, as teelaunchd would.
 */
int judge_image_read(struct judge *j, struct tl_buf *ret, struct tl_error *err);
int judge_registry_read(struct judge *j, struct tl_buf *ret, struct tl_error *err);
/** Keep copies of the three digests. */
int judge_digests_keep(struct judge *j, const char *image, const char *manifest, const char *config,
		       struct tl_error *err);

/** "allow", "deny", "invalid". */
const char *judge_verdict_name(enum judge_verdict verdict);

/** Whether anything says what the image is. */
static inline bool judge_has_labels(const struct judge *j)
{
	return j->labels_path || j->image_config_path || j->image;
}
