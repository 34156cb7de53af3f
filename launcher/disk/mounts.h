/* SPDX-License-Identifier: Apache-2.0 */
/* The folders on the protected disk: mounted, and compared with what is mounted later. */
#pragma once

#include <teelaunch/error.h>

#include "launcher/mountinfo.h"
#include "record.h"

/**
 * Mount the file system of the record's crypt device at its mount point, and show one folder of it
 * each at containerd_dir and scratch_dir. On failure nothing stays mounted. TL_E_DISK_SETUP.
 */
int disk_mount(const struct disk_record *r, struct tl_error *err);
/** Take all three away, whether or not they are there. */
void disk_unmount(const struct disk_record *r);

/**
 * Each of the three paths must lie on the record's device, with the flags of set-up, and nothing
 * mounted over it. Pure. TL_E_DISK_MOUNT.
 */
int disk_mounts_check(const struct disk_record *r, const struct mount_list *mounts,
		      struct tl_error *err);
