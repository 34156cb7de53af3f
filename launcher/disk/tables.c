/* SPDX-License-Identifier: Apache-2.0 */
/* Linux 6.1, Documentation/admin-guide/device-mapper/dm-integrity.rst and dm-crypt.rst. */
#include "tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "key.h"

#define SECTOR_BYTES      512
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

/* Word by word: nothing more, nothing less, in this order. */
static int words_check(const struct dm_target *t, const char *name,
		       char wanted[DM_DEVICE_PARAMS_MAX], struct tl_error *err)
{
	char *rest = wanted;

	for (size_t i = 0; i < t->args.n; i++) {
		const char *word = strsep(&rest, " ");

		if (!word || strcmp(word, t->args.items[i]) != 0)
			return differs(err, name, t->args.items[i]);
	}
	return rest ? differs(err, name, "the end of its table") : 0;
}

/*
 * What Linux 6.1 states for disk_integrity_params(): drivers/md/dm-integrity.c,
 * dm_integrity_status(), STATUSTYPE_TABLE. The smallest journal has 264 sectors of metadata and
 * room at this tag and block size; tags elsewhere aren't interleaved with the data; beside it,
 * a run of them has 224 sectors, which buffers of 32 divide. Whatever else
 * the kernel can say ("recalculate", "allow_discards", a hash, a bitmap) isn't in it.
 */
static void integrity_expect(const struct disk_record *r, char ret[DM_DEVICE_PARAMS_MAX])
{
	char meta[48] = "";

	if (r->has_tags_in_memory)
		snprintf(meta, sizeof(meta), "meta_device:%u:%u ", r->tags_number.major,
			 r->tags_number.minor);
	snprintf(ret, DM_DEVICE_PARAMS_MAX,
		 "%u:%u 0 %d D %d %sblock_size:4096 journal_sectors:264 interleave_sectors:%d "
		 "buffer_sectors:%d%s",
		 r->device_number.major, r->device_number.minor, DISK_TAG_BYTES, 5, meta,
		 r->has_tags_in_memory ? 1 : 32768, r->has_tags_in_memory ? 128 : 32,
		 r->has_tags_in_memory ? "" : " fix_padding");
}

int disk_integrity_status_check(const struct disk_record *r, const char *status,
				struct tl_error *err)
{
	char wanted[64];

	/* Mismatches (none can be counted: dm-crypt authenticates), room, no recalculation. */
	snprintf(wanted, sizeof(wanted), "0 %" PRIu64 " -", r->size_bytes / SECTOR_BYTES);
	return strcmp(status, wanted) == 0 ? 0 : differs(err, DISK_INTEGRITY_NAME, "its status");
}

int disk_tables_check(const struct disk_record *r, const struct dm_table *integrity,
		      const struct dm_table *crypt, struct tl_error *err)
{
	uint64_t sectors = r->size_bytes / SECTOR_BYTES;
	char params[DM_DEVICE_PARAMS_MAX];
	int x = device_check(integrity, DISK_INTEGRITY_NAME, "integrity", &r->integrity_number,
			     sectors, err);

	integrity_expect(r, params);
	if (x == 0)
		x = words_check(&integrity->targets[0], DISK_INTEGRITY_NAME, params, err);
	if (x == 0)
		x = device_check(crypt, DISK_CRYPT_NAME, "crypt", &r->crypt_number, sectors, err);
	disk_crypt_params(r, params);
	return x < 0 ? x : words_check(&crypt->targets[0], DISK_CRYPT_NAME, params, err);
}
