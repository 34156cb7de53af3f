/* SPDX-License-Identifier: Apache-2.0 */
/* Linux 6.1, Documentation/admin-guide/device-mapper/dm-integrity.rst and dm-crypt.rst. */
#include "tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "key.h"

#define SECTORS_PER_BLOCK 8 /* 4 KiB */
/* dm-integrity's superblock and its smallest journal, which mode D doesn't use, and the rounding of
 * the tags to its buffers of 64 KiB: well below this. */
#define META_EXTRA_BYTES (4ULL << 20)

uint64_t disk_tags_bytes(uint64_t device_sectors)
{
	return device_sectors / SECTORS_PER_BLOCK * DISK_TAG_BYTES + META_EXTRA_BYTES;
}

bool disk_tags_fit(uint64_t device_sectors, uint64_t mem_total_bytes, uint64_t percent)
{
	return disk_tags_bytes(device_sectors) <= mem_total_bytes / 100 * percent;
}

void disk_integrity_params(const struct disk_record *r, char ret[DM_DEVICE_PARAMS_MAX])
{
	char meta[48] = "";

	if (r->has_tags_in_memory)
		snprintf(meta, sizeof(meta), "meta_device:%u:%u ", r->tags_number.major,
			 r->tags_number.minor);
	/* D: data and tags are written directly, without a journal: a crash ends the boot, and the
	 * disk with it. */
	snprintf(ret, DM_DEVICE_PARAMS_MAX,
		 "%u:%u 0 %d D %d %sblock_size:4096 journal_sectors:8 fix_padding",
		 r->device_number.major, r->device_number.minor, DISK_TAG_BYTES,
		 r->has_tags_in_memory ? 4 : 3, meta);
}

void disk_crypt_params(const struct disk_record *r, char ret[DM_DEVICE_PARAMS_MAX])
{
	snprintf(ret, DM_DEVICE_PARAMS_MAX,
		 DISK_CIPHER " :%d:logon:" DISK_KEY_DESCRIPTION
			     " 0 %u:%u 0 2 integrity:%d:" DISK_INTEGRITY " sector_size:4096",
		 DISK_KEY_BYTES, r->integrity_number.major, r->integrity_number.minor,
		 DISK_TAG_BYTES);
}

static int differs(struct tl_error *err, const char *name, const char *what)
{
	return tl_fail(err, TL_E_DISK_CHANGED, ESTALE, "device '%s': %s isn't what was set up",
		       name, what);
}

/* What both have in common. */
static int device_check(const struct dm_table *t, const char *name, const char *type,
			const struct disk_number *number, uint64_t sectors, struct tl_error *err)
{
	const struct dm_target *target = &t->targets[0];
	const struct {
		bool is_same;
		const char *what;
	} facts[] = {
		{ strcmp(t->name, name) == 0, "its name" },
		{ t->major == number->major && t->minor == number->minor, "its number" },
		{ !t->is_read_only, "that it can be written" },
		{ !t->is_suspended, "that it runs" },
		{ !t->has_inactive, "that no other table waits" },
		{ t->targets_n == 1, "the number of targets" },
		{ t->targets_n && strcmp(target->type, type) == 0, "the target's type" },
		{ t->targets_n && target->start_sectors == 0, "the target's start" },
		{ t->targets_n && target->length_sectors == sectors, "the target's length" },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(facts); i++)
		if (!facts[i].is_same)
			return differs(err, name, facts[i].what);
	return 0;
}

static int crypt_check(const struct disk_record *r, const struct dm_target *t, struct tl_error *err)
{
	char params[DM_DEVICE_PARAMS_MAX], *rest = params;

	disk_crypt_params(r, params);
	for (size_t i = 0; i < t->args.n; i++) {
		const char *wanted = strsep(&rest, " ");

		if (!wanted || strcmp(wanted, t->args.items[i]) != 0)
			return differs(err, DISK_CRYPT_NAME, t->args.items[i]);
	}
	return rest ? differs(err, DISK_CRYPT_NAME, "the end of its table") : 0;
}

/* An optional argument of dm-integrity that only says where things lie; any number will do. */
static bool is_geometry(const char *arg)
{
	static const char *const names[] = { "journal_sectors:", "interleave_sectors:",
					     "buffer_sectors:" };
	uint64_t number;

	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++)
		if (tl_str_starts_with(arg, names[i]))
			return tl_str_parse_u64(arg + strlen(names[i]), UINT32_MAX, &number) == 0;
	return false;
}

static int integrity_check(const struct disk_record *r, const struct dm_target *t,
			   struct tl_error *err)
{
	char device[32], meta[48], size[8];
	const char *const head[] = { device, "0", size, "D" };
	bool has_meta = false, has_block = false;

	snprintf(device, sizeof(device), "%u:%u", r->device_number.major, r->device_number.minor);
	snprintf(meta, sizeof(meta), "meta_device:%u:%u", r->tags_number.major,
		 r->tags_number.minor);
	snprintf(size, sizeof(size), "%d", DISK_TAG_BYTES);
	for (size_t i = 0; i < TL_ARRAY_SIZE(head); i++)
		if (i >= t->args.n || strcmp(t->args.items[i], head[i]) != 0)
			return differs(err, DISK_INTEGRITY_NAME,
				       i < t->args.n ? t->args.items[i] : "its table");
	/* The fifth is the number of those that follow; all of them are looked at. */
	for (size_t i = TL_ARRAY_SIZE(head) + 1; i < t->args.n; i++) {
		const char *arg = t->args.items[i];

		if (strcmp(arg, meta) == 0 && r->has_tags_in_memory)
			has_meta = true;
		else if (strcmp(arg, "block_size:4096") == 0)
			has_block = true;
		else if (strcmp(arg, "fix_padding") != 0 && !is_geometry(arg))
			return differs(err, DISK_INTEGRITY_NAME, arg);
	}
	if (has_meta != r->has_tags_in_memory)
		return differs(err, DISK_INTEGRITY_NAME, "where its tags are");
	return has_block ? 0 : differs(err, DISK_INTEGRITY_NAME, "its block size");
}

int disk_tables_check(const struct disk_record *r, const struct dm_table *integrity,
		      const struct dm_table *crypt, struct tl_error *err)
{
	uint64_t sectors = r->size_bytes / 512;
	int x = device_check(integrity, DISK_INTEGRITY_NAME, "integrity", &r->integrity_number,
			     sectors, err);

	if (x == 0)
		x = integrity_check(r, &integrity->targets[0], err);
	if (x == 0)
		x = device_check(crypt, DISK_CRYPT_NAME, "crypt", &r->crypt_number, sectors, err);
	return x < 0 ? x : crypt_check(r, &crypt->targets[0], err);
}
