/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict: may this spec be launched under these restrictions? And after it, may this machine
 * launch it? Pure; everything is evaluated, nothing stops at the first reason.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/findings.h>
#include <teelaunch/image_config.h>
#include <teelaunch/launch_policy.h>
#include <teelaunch/launch_spec.h>

/* All borrowed. */
struct tl_verdict_input {
	const struct tl_launch_spec *spec;
	const struct tl_launch_policy
		*policies; /* each one must allow; none: only what always holds */
	size_t n_policies;
	const struct tl_image_config *image; /* NULL: its variables and ports aren't judged */
	bool is_hardened;
};

/**
 * Judge a launch. Findings come in this order, whatever the number of policies: image reference,
 * variable names, env, cmd, log, monitoring, mounts, capabilities, cgroups, the image's own
 * variables and ports. Refused whatever a policy says: mounts at "/", or at or below /proc, /sys,
 * /dev and /run/container_launcher; an override of HOSTNAME; names no verifier accepts; an image
 * reference that tl_image_ref_parse() refuses. Spec and policies may be such of which only a part
 * could be read: then it is denied in any case, and a key that couldn't be read counts as one that
 * asks for what it is for.
 *
 * Returns 0 if allowed (there may be warnings), -EPERM if not, or -ENOMEM.
 */
int tl_verdict(const struct tl_verdict_input *in, struct tl_findings *findings);

/* What a launcher may or may not be able to do; asking for what it can't is never ignored. */
enum tl_feature {
	TL_FEATURE_GPU_DRIVER = 1 << 0,  /* without it: refused */
	TL_FEATURE_ITA = 1 << 1,         /* without it: refused */
	TL_FEATURE_MONITORING = 1 << 2,  /* without it: a warning */
	TL_FEATURE_SIGNATURES = 1 << 3,  /* without it: a warning */
	TL_FEATURE_IMPERSONATE = 1 << 4, /* without it: a warning */
};

/* What teelaunchd of this release can do; `teelaunch explain` assumes the same. */
#define TL_FEATURES_OF_RELEASE                                                                     \
	((unsigned int)(TL_FEATURE_SIGNATURES | TL_FEATURE_ITA | TL_FEATURE_IMPERSONATE |          \
			TL_FEATURE_MONITORING))

struct tl_machine_facts {
	const uint64_t *mem_available_kb;   /* MemAvailable of /proc/meminfo; NULL: unchecked */
	const struct tl_strv *capabilities; /* the launcher's effective set; NULL: unchecked */
	unsigned int features;              /* enum tl_feature */
};

/**
 * Judge a spec against the machine: MemAvailable against the sum of all tmpfs sizes and /dev/shm,
 * features, added capabilities against those the launcher has.
 * Returns as tl_verdict().
 */
int tl_machine_check(const struct tl_launch_spec *spec, const struct tl_machine_facts *facts,
		     struct tl_findings *findings);

/**
 * All that can be judged without an image: tl_verdict() without a policy, then tl_machine_check().
 * For a launch that ends before its image is known. Returns as tl_verdict().
 */
int tl_spec_check(const struct tl_launch_spec *spec, const struct tl_machine_facts *facts,
		  struct tl_findings *findings);

/** Judge what the layers need against the free protected disk. Returns as tl_verdict(). */
int tl_disk_space_check(uint64_t needed_bytes, uint64_t free_bytes, struct tl_findings *findings);
