/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was set up, for whoever comes after in the same boot: the check at the start of a launch,
 * the watch, the report. One JSON document, schema "teelaunch.disk/1", in the state folder; no
 * secret in it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

#include "../launch_names.h"

#define DISK_RECORD_NAME      "disk.json"
#define DISK_SEALED_NAME      "disk.sealed"
#define DISK_RECORD_MAX       (16 * 1024)
#define DISK_PATH_MAX         256
#define DISK_INTEGRITY_NAME   "teelaunch-integrity"
#define DISK_CRYPT_NAME       "teelaunch-crypt"
#define DISK_SUPERBLOCK_BYTES 512 /* dm-integrity's; the rest of its 4 KiB is zero */

struct disk_number {
	uint32_t major, minor;
};

struct disk_record {
	char device[DISK_PATH_MAX]; /* as the unit named it */
	struct disk_number device_number;
	uint64_t device_sectors; /* of 512 bytes, whole blocks of 4 KiB */
	bool has_tags_in_memory;
	struct disk_number tags_number; /* the ram disk with the tags */
	struct disk_number integrity_number, crypt_number;
	uint64_t size_bytes; /* of the protected device */
	uint64_t setup_ms;
	uint64_t kmsg_seq; /* lines of the kernel's log from here on count */
	char mount_point[DISK_PATH_MAX], containerd_dir[DISK_PATH_MAX], scratch_dir[DISK_PATH_MAX];
	/* With tags on the disk: what is put back there before it is opened again. */
	uint8_t superblock[DISK_SUPERBLOCK_BYTES];
};

/** Append the document to @ret. -ENOMEM or -ENOBUFS on failure. Pure. */
int disk_record_format(const struct disk_record *r, struct tl_buf *ret);

/** The document that says why there is no disk. */
int disk_record_format_error(const struct tl_error *why, struct tl_buf *ret);

/**
 * Read either document. Strict: every field, no other, in its range.
 *
 * @ret  set on success only
 *
 * Returns 0; the recorded failure as an error of its own code; or TL_E_DISK_RECORD. Pure.
 */
int disk_record_parse(const char *text, size_t n, struct disk_record *ret, struct tl_error *err);

/**
 * Read it from the state folder.
 * Also -ENOENT and TL_E_DISK_UNPROTECTED: the disk's unit has left no record.
 */
int disk_record_read(const char *state_dir, struct disk_record *ret, struct tl_error *err);
