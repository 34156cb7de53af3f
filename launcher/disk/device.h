/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The untrusted block device: found, judged, claimed, cleared. Nothing of it is read here.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <teelaunch/error.h>

/* dm-integrity's superblock, file systems, LUKS, RAID and partition tables have their signatures
 * within these bounds (libblkid reads up to 4 MiB from the start, 1.5 MiB from the end), and ext4's
 * first structures are within the first, up to DISK_MAX_BYTES. */
#define DEVICE_HEAD_BYTES (16ULL << 20)
#define DEVICE_TAIL_BYTES (2ULL << 20)

struct disk_device {
	int fd; /* held from the first look to the end, so that its number can't become another's */
	dev_t number;
	uint64_t size_bytes; /* whole blocks of 4 KiB */
};

#define DISK_DEVICE_NONE                                                                           \
	{                                                                                          \
		.fd = -1                                                                           \
	}
void disk_device_close(struct disk_device *d);
#define auto_device __attribute__((cleanup(disk_device_close)))

/**
 * @name     path, or "serial=TEXT": the whole disk whose serial number (virtio, NVMe, SCSI) is TEXT
 * @wait_ms  it may appear so late
 *
 * Returns 0; TL_E_DISK_MISSING; TL_E_DISK_WRONG: no block device, read-only, too small or too
 * large, or several with that serial; TL_E_DISK_BUSY: mounted, or used by another device.
 */
int disk_device_open(const char *name, uint64_t wait_ms, struct disk_device *ret,
		     struct tl_error *err);

/** Zero head and tail, past the page cache, and wait until it is done. TL_E_DISK_IO. */
int disk_device_clear(const struct disk_device *d, struct tl_error *err);
/** The same with any open block device of this size, opened with O_DIRECT. */
int disk_clear(int fd, uint64_t size_bytes, struct tl_error *err);

/** /dev/dm-N of a device-mapper device; @flags as for open(2). TL_E_DISK_SETUP. */
int disk_mapped_open(dev_t number, int flags, int *ret_fd, struct tl_error *err);
