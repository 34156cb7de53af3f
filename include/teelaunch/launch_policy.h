/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch policy: what the image's author lets the operator change, read from the image's
 * labels "tee.launch_policy.*". One table row a label. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/findings.h>
#include <teelaunch/launch_spec.h>
#include <teelaunch/str.h>

#define TL_LABEL_PREFIX    "tee.launch_policy."
#define TL_LABEL_BYTES_MAX 4096 /* of one value */

enum tl_log_policy {
	TL_LOG_POLICY_DEBUG_ONLY,
	TL_LOG_POLICY_ALWAYS,
	TL_LOG_POLICY_NEVER,
};

/* A restriction set: the image's labels are one; a stricter policy document can be another. */
struct tl_launch_policy {
	const char *origin;          /* for messages: "image labels"; static storage */
	struct tl_strv allow_envs;   /* exact names */
	struct tl_strv allow_mounts; /* lexically clean; a relative one is an error when used */
	enum tl_log_policy log_policy;
	enum tl_monitoring hardened_monitoring; /* highest level on a hardened image */
	enum tl_monitoring debug_monitoring;    /* highest level on a debug image */
	bool allow_cmd;
	bool allow_capabilities;
	bool allow_cgroups;
	uint32_t labels_bad; /* bit i: row i of tl_launch_policy_label() was refused */
};

/**
 * Read the policy out of image labels; what a label doesn't say stays at its default.
 *
 * @labels    borrowed; keys outside TL_LABEL_PREFIX are not ours and are skipped
 * @ret       set only when 0 is returned; holds no pointers into @labels
 * @findings  gets ALL problems, in the order of the table, and warnings; appended to
 *
 * Returns 0, -EINVAL when at least one finding forbids, or -ENOMEM.
 */
int tl_launch_policy_parse(const struct tl_kvs *labels, struct tl_launch_policy *ret,
			   struct tl_findings *findings);

/**
 * As tl_launch_policy_parse(), but what is refused is also read as far as it can be, so that the
 * rest can be judged too. tl_verdict() denies under such a policy, and leaves out the rules that
 * hang on a refused label: nobody knows what its author meant.
 *
 * @ret  set when 0 or 1 is returned
 *
 * Returns 0, 1 when at least one finding forbids, or -ENOMEM.
 */
int tl_launch_policy_read(const struct tl_kvs *labels, struct tl_launch_policy *ret,
			  struct tl_findings *findings);
void tl_launch_policy_done(struct tl_launch_policy *policy);
#define auto_launch_policy __attribute__((cleanup(tl_launch_policy_done)))

/** "debugonly", "always", "never". */
const char *tl_log_policy_name(enum tl_log_policy policy);

/** Was the label TL_LABEL_PREFIX @suffix refused when the policy was read? */
bool tl_launch_policy_is_bad(const struct tl_launch_policy *policy, const char *suffix);

/** Row @i of the label table; NULL past the end. */
const struct tl_key_doc *tl_launch_policy_label(size_t i);
