/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protected ephemeral disk: AES-256-GCM with random nonces (dm-crypt over dm-integrity), a key
 * that lives in this boot only, an ext4 that is made anew, and the folders that lie on it.
 *
 * The device belongs to the host, so nothing on it is read before it was written in this boot:
 * no header, no superblock, no key slot. What is read afterwards is authenticated sector by sector.
 * With the tags in memory (an integrity "meta device" in RAM) old sectors put back are noticed too;
 * with the tags on the disk they aren't, if their tags are put back with them.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/error.h>

#include "record.h"

/* Smaller isn't worth it; larger would outgrow 32-bit block numbers and the bound for random
 * 96-bit nonces under one key (NIST SP 800-38D, 8.3: 2^32). */
#define DISK_MIN_BYTES (256ULL << 20)
#define DISK_MAX_BYTES (16ULL << 40)

enum disk_tags_choice { DISK_TAGS_AUTO, DISK_TAGS_IN_MEMORY, DISK_TAGS_ON_DISK };

/* All strings are borrowed. */
struct disk_options {
	const char
		*device; /* path of the block device, or "serial=TEXT": the one with that serial */
	uint64_t device_wait_ms; /* how long it may take to appear */
	enum disk_tags_choice tags;
	uint64_t tags_memory_percent; /* of the machine's memory, at most, for tags */
	const char *mount_point;      /* of the file system: nosuid, nodev, noexec */
	const char *containerd_dir;   /* a folder of it is shown here: nosuid, nodev */
	const char *scratch_dir;      /* and here: nosuid, nodev, noexec */
	const char *state_dir;        /* in memory: record and sealed key */
	const char *tcti;
};

/**
 * Make the disk, seal its key, mount; or, if it was made in this boot, see that it is there, and
 * open it again with the sealed key when its devices are gone. Writes the record in any case: of
 * the disk, or of why there is none. Blocks for seconds, whatever the disk's size.
 *
 * @ret  set on success only
 *
 * Returns 0, TL_E_SWAP_ON, TL_E_DISK_MISSING, _WRONG, _BUSY, _IO, _SETUP, _RECORD, _CHANGED,
 * TL_E_UNSEAL, or what the TPM has to say.
 */
int disk_up(const struct disk_options *options, struct disk_record *ret, struct tl_error *err);

/** The verb: disk_up(), said in the log. The exit status of the process: 0 or 1. */
int disk_run(const struct disk_options *options);
