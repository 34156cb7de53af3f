/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty ext4, by libext2fs: no journal (nothing outlives the boot), no backup superblocks and no
 * zeroed inode tables, so that neither the time nor the number of writes grows with the disk.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/error.h>

/**
 * Make it on a device whose first DEVICE_HEAD_BYTES are zero; nothing else of it is read.
 * @path  the block device, @size_bytes its size. TL_E_DISK_SETUP.
 */
int ext4_make(const char *path, uint64_t size_bytes, struct tl_error *err);
