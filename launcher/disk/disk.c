/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "check.h"
#include "device.h"
#include "dm_device.h"
#include "ext4.h"
#include "kernel_log.h"
#include "key.h"
#include "mounts.h"
#include "ram_disk.h"
#include "tables.h"

#define SECTOR_BYTES         512
#define PROBE_SECTORS        8 /* one block: long enough to ask a new dm-integrity how much it has */
#define BLOCK_BYTES          4096u
#define INTEGRITY_SUPERBLOCK "integrt" /* its first bytes: drivers/md/dm-integrity.c, SB_MAGIC */

static struct disk_number number_of(dev_t dev)
{
	return (struct disk_number){ major(dev), minor(dev) };
}

static dev_t dev_of(const struct disk_number *number)
{
	return makedev(number->major, number->minor);
}

/* The sealed key and the record must be gone with the machine's power. */
static int state_open(const char *path, int *ret_fd, struct tl_error *err)
{
	auto_close int fd = -1;
	struct statfs fs;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return tl_fail_sys(err, TL_E_FOLDER, errno, "make folder '%s'", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return tl_fail_sys(err, TL_E_FOLDER, errno, "open folder '%s'", path);
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)
		return tl_fail(err, TL_E_FOLDER, EINVAL, "folder '%s' isn't in memory", path);
	*ret_fd = take_fd(fd);
	return 0;
}

static int tags_choose(const struct disk_options *o, struct disk_record *rec, struct tl_error *err)
{
	struct sysinfo info;
	bool fits;

	if (sysinfo(&info) < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "size of the memory");
	fits = disk_tags_fit(rec->device_sectors, (uint64_t)info.totalram * info.mem_unit,
			     o->tags_memory_percent);
	if (o->tags == DISK_TAGS_IN_MEMORY && !fits)
		return tl_fail(err, TL_E_DISK_WRONG, ENOMEM,
			       "tags of a disk of %" PRIu64 " bytes don't fit into %" PRIu64
			       " %% of the memory",
			       rec->device_sectors * SECTOR_BYTES, o->tags_memory_percent);
	rec->has_tags_in_memory = fits && o->tags != DISK_TAGS_ON_DISK;
	return 0;
}

static int integrity_create(struct disk_record *rec, uint64_t sectors, struct tl_error *err)
{
	char params[DM_DEVICE_PARAMS_MAX];
	dev_t number;
	int r;

	disk_integrity_params(rec, params);
	r = dm_device_create(DISK_INTEGRITY_NAME, sectors, "integrity", params, &number, err);
	if (r == 0)
		rec->integrity_number = number_of(number);
	return r;
}

/* dm-integrity says how much room it gives as the second number of its status. */
static int integrity_room(uint64_t *ret_sectors, struct tl_error *err)
{
	char status[256], *rest = status;
	const char *field;
	int r = dm_device_status(DISK_INTEGRITY_NAME, sizeof(status), status, err);

	if (r < 0)
		return r;
	(void)strsep(&rest, " ");
	field = strsep(&rest, " ");
	if (!field || tl_str_parse_u64(field, DISK_MAX_BYTES / SECTOR_BYTES, ret_sectors) < 0)
		return tl_fail(err, TL_E_DISK_SETUP, EBADMSG,
			       "dm-integrity's status isn't understood");
	return 0;
}

/*
 * The superblock is zero, so the kernel makes a new one. How much room that leaves is known only
 * then: a first, short load asks, a second one takes all.
 */
static int integrity_make(struct disk_record *rec, struct tl_error *err)
{
	uint64_t sectors = 0;
	int r = integrity_create(rec, PROBE_SECTORS, err);

	if (r < 0)
		return r;
	r = integrity_room(&sectors, err);
	if (dm_device_remove(DISK_INTEGRITY_NAME, r < 0 ? NULL : err) < 0 && r == 0)
		r = -EBUSY;
	sectors = sectors / PROBE_SECTORS * PROBE_SECTORS;
	if (r == 0 && sectors * SECTOR_BYTES < DISK_MIN_BYTES / 2)
		r = tl_fail(err, TL_E_DISK_SETUP, ENOSPC,
			    "dm-integrity gives %" PRIu64 " sectors of %" PRIu64, sectors,
			    rec->device_sectors);
	rec->size_bytes = sectors * SECTOR_BYTES;
	return r < 0 ? r : integrity_create(rec, sectors, err);
}

static int crypt_create(struct disk_record *rec, const struct tl_secret *key, struct tl_error *err)
{
	char params[DM_DEVICE_PARAMS_MAX];
	dev_t number;
	int serial;
	int r = disk_key_lend(key, &serial, err);

	if (r < 0)
		return r;
	disk_crypt_params(rec, params);
	r = dm_device_create(DISK_CRYPT_NAME, rec->size_bytes / SECTOR_BYTES, "crypt", params,
			     &number, err);
	disk_key_take_back(serial);
	if (r == 0)
		rec->crypt_number = number_of(number);
	return r;
}

/* What the kernel wrote is kept, so that it never needs to be believed again. */
static int superblock_keep(const struct disk_device *d, struct disk_record *rec,
			   struct tl_error *err)
{
	auto_free uint8_t *block = NULL;

	if (rec->has_tags_in_memory)
		return 0;
	block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	if (!block)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "superblock");
	if (pread(d->fd, block, BLOCK_BYTES, 0) != (ssize_t)BLOCK_BYTES)
		return tl_fail_sys(err, TL_E_DISK_IO, errno, "read back dm-integrity's superblock");
	if (memcmp(block, INTEGRITY_SUPERBLOCK, sizeof(INTEGRITY_SUPERBLOCK)) != 0)
		return tl_fail(err, TL_E_DISK_CHANGED, ESTALE,
			       "dm-integrity's superblock isn't what was just written");
	memcpy(rec->superblock, block, sizeof(rec->superblock));
	return 0;
}

static int superblock_put_back(const struct disk_device *d, const struct disk_record *rec,
			       struct tl_error *err)
{
	auto_free uint8_t *block = NULL;

	if (rec->has_tags_in_memory)
		return 0;
	block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	if (!block)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "superblock");
	memset(block, 0, BLOCK_BYTES);
	memcpy(block, rec->superblock, sizeof(rec->superblock));
	if (pwrite(d->fd, block, BLOCK_BYTES, 0) != (ssize_t)BLOCK_BYTES || fsync(d->fd) < 0)
		return tl_fail_sys(err, TL_E_DISK_IO, errno, "put back dm-integrity's superblock");
	return 0;
}

/* Head and tail are written once, so that whoever looks for signatures there may read them. */
static int fs_make(const struct disk_record *rec, struct tl_error *err)
{
	auto_close int fd = -1;
	char path[64];
	int r = disk_mapped_open(dev_of(&rec->crypt_number), O_WRONLY | O_DIRECT, &fd, err);

	if (r == 0)
		r = disk_clear(fd, rec->size_bytes, err);
	snprintf(path, sizeof(path), "/dev/dm-%u", rec->crypt_number.minor);
	return r < 0 ? r : ext4_make(path, rec->size_bytes, err);
}

static int key_save(struct tl_sealer *tpm, const struct tl_secret *key, int state_fd,
		    struct tl_error *err)
{
	auto_buf struct tl_buf blob = { 0 };
	int r;

	tl_buf_init(&blob, DISK_SEALED_MAX);
	r = disk_key_seal(tpm, key, &blob, err);
	return r < 0 ? r
		     : tl_file_replace(state_fd, DISK_SEALED_NAME, blob.data, blob.len_bytes, 0600,
				       err);
}

static void devices_remove(const struct disk_record *rec)
{
	disk_unmount(rec);
	(void)dm_device_remove(DISK_CRYPT_NAME, NULL);
	(void)dm_device_remove(DISK_INTEGRITY_NAME, NULL);
}

/* What a set-up that was killed has left: there is no record of it, and its key is lost. */
static void leftovers_remove(const struct disk_options *o)
{
	auto_dm_table struct dm_table crypt = { 0 };
	struct disk_record rec = { 0 };

	if (dm_table_read_name(DISK_CRYPT_NAME, &crypt, NULL) == 0)
		rec.crypt_number = (struct disk_number){ crypt.major, crypt.minor };
	(void)snprintf(rec.mount_point, sizeof(rec.mount_point), "%s", o->mount_point);
	(void)snprintf(rec.containerd_dir, sizeof(rec.containerd_dir), "%s", o->containerd_dir);
	(void)snprintf(rec.scratch_dir, sizeof(rec.scratch_dir), "%s", o->scratch_dir);
	devices_remove(&rec);
}

static int path_copy(const char *from, char ret[DISK_PATH_MAX], struct tl_error *err)
{
	if (strlen(from) >= DISK_PATH_MAX)
		return tl_fail(err, TL_E_USAGE, ENAMETOOLONG, "'%s' is too long", from);
	memcpy(ret, from, strlen(from) + 1);
	return 0;
}

static int record_begin(const struct disk_options *o, const struct disk_device *d,
			struct disk_record *rec, struct tl_error *err)
{
	int r = path_copy(o->device, rec->device, err);

	if (r == 0)
		r = path_copy(o->mount_point, rec->mount_point, err);
	if (r == 0)
		r = path_copy(o->containerd_dir, rec->containerd_dir, err);
	if (r == 0)
		r = path_copy(o->scratch_dir, rec->scratch_dir, err);
	rec->device_number = number_of(d->number);
	rec->device_sectors = d->size_bytes / SECTOR_BYTES;
	return r;
}

/* Both devices, the file system and the mounts, with a new key. */
static int stack_make(const struct disk_device *d, struct tl_sealer *tpm, int state_fd,
		      struct disk_record *rec, struct tl_error *err)
{
	auto_secret struct tl_secret key = { 0 };
	dev_t tags;
	int r = disk_key_make(tpm, &key, err);

	if (r == 0 && rec->has_tags_in_memory) {
		r = ram_disk_load(disk_tags_bytes(rec->device_sectors), &tags, err);
		if (r == 0)
			rec->tags_number = number_of(tags);
	}
	if (r == 0)
		r = disk_device_clear(d, err);
	if (r == 0)
		r = integrity_make(rec, err);
	if (r == 0)
		r = superblock_keep(d, rec, err);
	if (r == 0)
		r = crypt_create(rec, &key, err);
	if (r == 0)
		r = fs_make(rec, err);
	if (r == 0)
		r = disk_mount(rec, err);
	return r < 0 ? r : key_save(tpm, &key, state_fd, err);
}

static int set_up(const struct disk_options *o, int state_fd, struct disk_record *ret,
		  struct tl_error *err)
{
	auto_device struct disk_device d = DISK_DEVICE_NONE;
	auto_sealer struct tl_sealer *tpm = NULL;
	struct disk_record rec = { 0 };
	uint64_t start_ms;
	int r;

	leftovers_remove(o);
	r = disk_device_open(o->device, o->device_wait_ms, &d, err);
	/* Time that the device took to appear isn't time of the set-up. */
	start_ms = tl_clock_mono_ms();
	if (r == 0)
		r = record_begin(o, &d, &rec, err);
	if (r == 0)
		r = tags_choose(o, &rec, err);
	if (r == 0)
		r = tl_sealer_open(o->tcti, &tpm, err);
	if (r < 0)
		return r;
	r = stack_make(&d, tpm, state_fd, &rec, err);
	if (r == 0)
		r = kernel_log_mark(&rec.kmsg_seq, err);
	if (r < 0) {
		devices_remove(&rec);
		if (rec.has_tags_in_memory)
			ram_disk_unload();
		return r;
	}
	rec.setup_ms = tl_clock_mono_ms() - start_ms;
	*ret = rec;
	return 0;
}

/* The same devices once more, over what they hold, with the key that was sealed. */
static int open_again(const struct disk_options *o, const struct tl_secret *key,
		      struct disk_record *rec, struct tl_error *err)
{
	auto_device struct disk_device d = DISK_DEVICE_NONE;
	int r = disk_device_open(o->device, o->device_wait_ms, &d, err);

	if (r < 0)
		return r;
	if (strcmp(rec->device, o->device) != 0 ||
	    d.size_bytes / SECTOR_BYTES != rec->device_sectors)
		return tl_fail(err, TL_E_DISK_CHANGED, ESTALE,
			       "'%s' isn't the device that was set up in this boot", o->device);
	rec->device_number = number_of(d.number);
	r = superblock_put_back(&d, rec, err);
	if (r == 0)
		r = integrity_create(rec, rec->size_bytes / SECTOR_BYTES, err);
	if (r == 0)
		r = crypt_create(rec, key, err);
	return r < 0 ? r : disk_mount(rec, err);
}

static int reopen(const struct disk_options *o, struct disk_record *rec, struct tl_error *err)
{
	auto_secret struct tl_secret key = { 0 };
	auto_buf struct tl_buf blob = { 0 }, path = { 0 };
	auto_sealer struct tl_sealer *tpm = NULL;
	int r;

	tl_buf_init(&blob, DISK_SEALED_MAX);
	tl_buf_init(&path, 4096);
	if (tl_buf_printf(&path, "%s/" DISK_SEALED_NAME, o->state_dir) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "path of the sealed key");
	r = tl_file_read(tl_buf_str(&path), &blob, err);
	if (r == 0)
		r = tl_sealer_open(o->tcti, &tpm, err);
	if (r == 0)
		r = disk_key_unseal(tpm, &blob, &key, err);
	if (r < 0)
		return r;
	devices_remove(rec); /* half of it may be there */
	r = open_again(o, &key, rec, err);
	if (r < 0)
		devices_remove(rec);
	return r;
}

static int record_write(int state_fd, const struct disk_record *rec, const struct tl_error *why,
			struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r;

	tl_buf_init(&text, DISK_RECORD_MAX);
	r = rec ? disk_record_format(rec, &text) : disk_record_format_error(why, &text);
	if (r < 0)
		return tl_fail_sys(err, TL_E_NO_MEMORY, -r, "record of the disk");
	return tl_file_replace(state_fd, DISK_RECORD_NAME, text.data, text.len_bytes, 0600, err);
}

/* @ret_keep: there is a disk in this boot, and its record must outlive this failure. */
static int up(const struct disk_options *o, int state_fd, struct disk_record *ret, bool *ret_keep,
	      struct tl_error *err)
{
	struct tl_error before = { 0 };
	struct disk_record rec = { 0 };
	int r = disk_record_read(o->state_dir, &rec, &before);
	bool has_disk = r == 0;

	/* A record of this boot. One that names an error is no reason not to try again, unless
	 * there was a disk that doesn't open any more: another one in its place would hide that,
	 * and what the kernel's log says of it. What couldn't be read stays: it may be the record
	 * of a disk. */
	*ret_keep = has_disk || before.code == TL_E_DISK_RECORD || before.code == TL_E_UNSEAL;
	r = disk_swap_check(err);
	if (r < 0)
		return r;
	if (!has_disk && *ret_keep)
		return tl_fail(err, before.code, EBADMSG, "%s", before.msg);
	if (!has_disk)
		return set_up(o, state_fd, ret, err);
	if (disk_check(&rec, &before) < 0) {
		tl_log_event(LOG_WARNING, "disk.reopen", "msg='%s'", TL_Q(before.msg));
		r = reopen(o, &rec, err);
	}
	/* A door that is closed stays closed; what else fails may work the next time. */
	if (r < 0 && err->code == TL_E_UNSEAL)
		*ret_keep = false;
	if (r == 0)
		*ret = rec;
	return r;
}

int disk_up(const struct disk_options *options, struct disk_record *ret, struct tl_error *err)
{
	auto_close int state_fd = -1;
	struct tl_error lost = { 0 };
	bool keep = false;
	int r = state_open(options->state_dir, &state_fd, err);

	if (r < 0)
		return r;
	r = up(options, state_fd, ret, &keep, err);
	if (r == 0)
		return record_write(state_fd, ret, NULL, err);
	if (!keep && record_write(state_fd, NULL, err, &lost) < 0)
		tl_log_event(LOG_ERR, "disk.not_recorded", "msg='%s'", TL_Q(lost.msg));
	return r;
}

int disk_run(const struct disk_options *options)
{
	struct disk_record rec = { 0 };
	struct tl_error err = { 0 };

	if (disk_up(options, &rec, &err) < 0) {
		tl_log_event(LOG_ERR, "disk.failed", "code=%s msg='%s' do='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg),
			     TL_Q(tl_catalogue_find(err.code)->action));
		return 1;
	}
	tl_log_event(LOG_INFO, "disk.up",
		     "device='%s' cipher='%s' tags=%s size_bytes=%" PRIu64 " setup_ms=%" PRIu64,
		     TL_Q(rec.device), DISK_CIPHER, rec.has_tags_in_memory ? "memory" : "disk",
		     rec.size_bytes, rec.setup_ms);
	return 0;
}
