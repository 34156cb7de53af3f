/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is what runs here what was measured? The root file system must be the dm-verity device whose root
 * hash stands on the measured kernel command line, and nothing else may lie where programs and
 * configuration are. Judged by what the kernel says: tables by ioctl, mounts by mountinfo.
 */
#pragma once

#include <teelaunch/error.h>

#include "disk/dm_table.h"
#include "mountinfo.h"

#define ROOT_HASH_HEX 64 /* sha256 */

/**
 * The mounts of the machine's first process: a service with a sandbox sees others, all of them
 * read-only. TL_E_MACHINE_FACTS.
 */
int root_mounts_read(struct mount_list *ret, struct tl_error *err);

/**
 * Refuse, with TL_E_ROOT or TL_E_MOUNTS, a machine whose code could be another than the measured
 * one. @cmdline is the text of the kernel's command line, with no flag in doubt (machine_read()).
 * @ret_hash gets the root hash, on success only. Blocks for two ioctls.
 */
int root_check(const char *cmdline, const struct mount_list *mounts,
	       char ret_hash[ROOT_HASH_HEX + 1], struct tl_error *err);

/* The parts, pure. */

/** The value of roothash=, which must be there once: 64 lower-case hex digits. TL_E_ROOT. */
int root_hash_parse(const char *cmdline, char ret[ROOT_HASH_HEX + 1], struct tl_error *err);
/** One dm-verity target over the whole device, read-only, with this hash, that never gives out a
 * block it hasn't checked. TL_E_ROOT. */
int root_table_judge(const struct dm_table *table, const char *hash, struct tl_error *err);
/**
 * dm-verity's status line: "V" while every block that was read matched, "C" once one didn't; from
 * Linux 6.16 on with a word of error correction behind it (verity_status() in
 * drivers/md/dm-verity-target.c). TL_E_ROOT.
 */
int root_status_judge(const char *status, struct tl_error *err);
/** TL_E_MOUNTS, naming the first mount that may not be. */
int root_mounts_judge(const struct mount_list *mounts, struct tl_error *err);
