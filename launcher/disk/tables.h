/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device-mapper tables of the protected disk: what is loaded at set-up, and whether what the
 * kernel states later is exactly that. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "dm_device.h"
#include "dm_table.h"
#include "record.h"

#define DISK_TAG_BYTES 28 /* nonce of 12 bytes and tag of 16, stored beside each 4 KiB */

/** Memory for the tags of a device of this size, dm-integrity's own needs included. */
uint64_t disk_tags_bytes(uint64_t device_sectors);

/** True if that much may be taken: at most @percent of @mem_total_bytes. */
bool disk_tags_fit(uint64_t device_sectors, uint64_t mem_total_bytes, uint64_t percent);

/** Parameters of the two targets, from the numbers in @r. */
void disk_integrity_params(const struct disk_record *r, char ret[DM_DEVICE_PARAMS_MAX]);
void disk_crypt_params(const struct disk_record *r, char ret[DM_DEVICE_PARAMS_MAX]);

/**
 * Compare the live tables with what set-up makes, field by field: names, numbers, one target each,
 * its type, start and length; every word of its table, in order: cipher, key (by name of a kernel
 * key only), nonce, offsets, tag size, mode, block size, where data and tags lie; the stacking from
 * device to device; tags in memory if and only if the record says so; nothing suspended, nothing
 * waiting to be swapped in.
 *
 * Returns 0, or TL_E_DISK_CHANGED naming the first difference.
 */
int disk_tables_check(const struct disk_record *r, const struct dm_table *integrity,
		      const struct dm_table *crypt, struct tl_error *err);

/**
 * The same for the status line of the integrity device: no mismatch counted, exactly as much room
 * as was set up, no recalculation of tags. TL_E_DISK_CHANGED.
 */
int disk_integrity_status_check(const struct disk_record *r, const char *status,
				struct tl_error *err);
