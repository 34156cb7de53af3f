/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware's log of a confidential guest (UEFI 2.10, 38.4: events in the crypto-agile format of
 * TCG PC Client Platform Firmware Profile 1.05, 10.2). The kernel shows the whole area that the
 * firmware set aside for it, so its end must be found. Hostile bytes. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define CCEL_ALGORITHMS_MAX 8
#define CCEL_TABLE_BYTES    56 /* ACPI 6.5, 5.2.34 */

/**
 * Where the last event ends. What follows must be unused: all 0xFF, or all zeros.
 *
 * @ret  set on success only
 * Returns 0, or -EBADMSG with TL_E_CCEL naming the offset.
 */
int ccel_end(const uint8_t *data, size_t n, size_t *ret, struct tl_error *err);

/** That the bytes are the ACPI table that tells of such a log on Intel TDX. TL_E_CCEL. */
int ccel_table_check(const uint8_t *table, size_t n, struct tl_error *err);
