/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Make and remove devices of device-mapper. Each has one target. udev is told not to look into
 * them: what it would read has never been written, and every such read is an integrity error.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <teelaunch/error.h>

#define DM_DEVICE_PARAMS_MAX 512

/**
 * Make it and let it run. The key of a "crypt" target is looked up in the caller's keyrings.
 * Returns 0; TL_E_DISK_SETUP with the kernel's reason, or TL_E_DISK_BUSY for -EBUSY and -EEXIST,
 * TL_E_DISK_IO for -EIO.
 */
int dm_device_create(const char *name, uint64_t sectors, const char *type, const char *params,
		     dev_t *ret, struct tl_error *err);

/** Remove it; tries again for a few seconds while somebody holds it open. -ENXIO: there is none. */
int dm_device_remove(const char *name, struct tl_error *err);

/** The status line of its target, as `dmsetup status` prints it, at most @max_bytes. */
int dm_device_status(const char *name, size_t max_bytes, char *ret, struct tl_error *err);
