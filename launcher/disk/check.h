/* SPDX-License-Identifier: Apache-2.0 */
/* Is the disk, live, exactly what its record says? Asked of the kernel, nothing else. */
#pragma once

#include <teelaunch/error.h>

#include "record.h"

/** Tables by ioctl and mounts by mountinfo: TL_E_DISK_CHANGED, TL_E_DISK_MOUNT, TL_E_DM_TABLE. */
int disk_check(const struct disk_record *r, struct tl_error *err);

/** No page of memory may reach a device: TL_E_SWAP_ON if there is swap. */
int disk_swap_check(struct tl_error *err);
/** The same for the text of /proc/swaps. Pure. */
int disk_swap_parse(const char *text, struct tl_error *err);
