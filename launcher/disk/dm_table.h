/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The active table of a device-mapper device, as the kernel states it: by ioctl, not by the output
 * of a tool. What a device is, is what its table says; its name says nothing.
 *
 * Tables hold keys when whoever set the device up didn't put them into a kernel keyring. None ever
 * leaves this file: the words of a target that can be key material are replaced by DM_SECRET.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

#define DM_TARGETS_MAX 8 /* of one device; ours have one each */
#define DM_ARGS_MAX    64
#define DM_NAME_BYTES  129 /* DM_NAME_LEN and DM_UUID_LEN of linux/dm-ioctl.h, 128 or 129 */
#define DM_TYPE_BYTES  16  /* DM_MAX_TYPE_NAME */
#define DM_SECRET      "*"

/* One line of a table: `dmsetup table` prints the same. */
struct dm_target {
	uint64_t start_sectors, length_sectors; /* of 512 bytes */
	char type[DM_TYPE_BYTES];               /* "verity", "crypt", "integrity", ... */
	struct tl_strv args;                    /* words; devices as MAJOR:MINOR */
};

struct dm_table {
	char name[DM_NAME_BYTES];
	char uuid[DM_NAME_BYTES]; /* "" if it has none */
	uint32_t major, minor;
	bool is_read_only;
	bool is_suspended;
	bool has_inactive; /* another table is loaded and would become active at the next resume */
	size_t targets_n;
	struct dm_target targets[DM_TARGETS_MAX];
};

void dm_table_done(struct dm_table *t);
#define auto_dm_table __attribute__((cleanup(dm_table_done)))

/**
 * The table of the device with this number. Blocks for one ioctl.
 *
 * @ret  owned by the caller (dm_table_done()); set on success only
 *
 * Returns 0; -ENXIO if that is no device of device-mapper; another negative errno if the kernel
 * can't be asked, or says something that doesn't fit. Code TL_E_DM_TABLE.
 */
int dm_table_read(dev_t dev, struct dm_table *ret, struct tl_error *err);

/** The same for the device of this name, without "/dev/mapper/". */
int dm_table_read_name(const char *name, struct dm_table *ret, struct tl_error *err);

/**
 * One target out of what the kernel states, key material replaced. Pure.
 * @ret's args are owned by the caller; set on success only. -EINVAL, -E2BIG or -ENOMEM.
 */
int dm_target_parse(const char *type, uint64_t start_sectors, uint64_t length_sectors,
		    const char *params, struct dm_target *ret);
