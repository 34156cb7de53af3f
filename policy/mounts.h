/* SPDX-License-Identifier: Apache-2.0 */
/* The value of tee-mount: type=tmpfs,source=tmpfs,destination=PATH[,size=BYTES][;...]. */
#pragma once

#include <teelaunch/launch_spec.h>

/**
 * Read the mounts; every problem of every mount becomes a finding for @key.
 *
 * @text  a string without NUL, of any bytes
 * @ret   set when 0 or 1 is returned; at 1 it also holds the bad mounts that have a destination
 * Returns 0, 1 (findings that forbid were added) or -ENOMEM.
 */
int mounts_parse(const char *key, const char *text, struct tl_mounts *ret,
		 struct tl_findings *findings);
void mounts_done(struct tl_mounts *mounts);
