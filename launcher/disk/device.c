/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>

#include "disk.h"

#define BLOCK_BYTES   4096u
#define CHUNK_BYTES   (1024u * 1024u)
#define LOOK_AGAIN_MS 100
#define SERIAL_PREFIX "serial="

void disk_device_close(struct disk_device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* The unit serial number page: four bytes, then the text (SPC-4, 7.8.15). */
static bool page80_names(const uint8_t *page, size_t n, const char *serial)
{
	while (n > 4 && strchr(" \n\t", page[n - 1]))
		n--;
	return n >= 4 && n - 4 == strlen(serial) && memcmp(page + 4, serial, n - 4) == 0;
}

/* The device identification page: of its designators the vendor's own ones in ASCII (type 0, of the
 * disk itself; SPC-4, 7.8.6). There Google's persistent disks have their name. */
static bool page83_names(const uint8_t *page, size_t n, const char *serial)
{
	for (size_t at = 4; at + 4 <= n && at + 4 + page[at + 3] <= n; at += 4U + page[at + 3]) {
		bool is_ascii = (page[at] & 0x0f) == 2, is_own = (page[at + 1] & 0x3f) == 0;

		if (is_ascii && is_own && page[at + 3] == strlen(serial) &&
		    memcmp(page + at + 4, serial, page[at + 3]) == 0)
			return true;
	}
	return false;
}

static bool text_names(const uint8_t *text, size_t n, const char *serial)
{
	while (n && strchr(" \n\t", text[n - 1]))
		n--;
	return n == strlen(serial) && memcmp(text, serial, n) == 0;
}

typedef bool names_fn(const uint8_t *bytes, size_t n, const char *serial);

static bool file_names(const char *disk, const char *file, names_fn *names, const char *serial)
{
	auto_buf struct tl_buf bytes = { 0 };
	char path[512];

	if (snprintf(path, sizeof(path), "/sys/block/%s/%s", disk, file) >= (int)sizeof(path))
		return false;
	tl_buf_init(&bytes, 4096);
	return tl_file_read(path, &bytes, NULL) == 0 && bytes.len_bytes &&
	       names((const uint8_t *)bytes.data, bytes.len_bytes, serial);
}

/* Where the kernel shows a disk's serial number: virtio_blk, then NVMe, then what SCSI has. */
static bool has_serial(const char *disk, const char *serial)
{
	return file_names(disk, "serial", text_names, serial) ||
	       file_names(disk, "device/serial", text_names, serial) ||
	       file_names(disk, "device/vpd_pg80", page80_names, serial) ||
	       file_names(disk, "device/vpd_pg83", page83_names, serial);
}

/* The path of the one disk with that serial number. 0, -ENOENT, or -ENOTUNIQ: the host can give the
 * same number to several, and then the unit's word doesn't say which. */
static int serial_find(const char *serial, char ret_path[512])
{
	DIR *dir = opendir("/sys/block");
	const struct dirent *entry;
	int more, r = -ENOENT;

	if (!dir)
		return r;
	while ((more = tl_dir_next(dir, &entry)) > 0 && r != -ENOTUNIQ) {
		if (*entry->d_name == '.' || !has_serial(entry->d_name, serial))
			continue;
		r = r == 0 ? -ENOTUNIQ : 0;
		if (snprintf(ret_path, 512, "/dev/%s", entry->d_name) >= 512)
			r = -ENAMETOOLONG;
	}
	closedir(dir);
	return more < 0 ? more : r; /* another of that name may be among those that weren't read */
}

/* Opening another kind of file can have effects of its own: it is looked at first. */
static int block_open(const char *name)
{
	auto_close int found = open(name, O_PATH | O_CLOEXEC);
	struct stat st;
	char path[64];
	int fd;

	if (found < 0)
		return -errno;
	if (fstat(found, &st) < 0 || !S_ISBLK(st.st_mode))
		return -ENOTBLK;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* The descriptor, or -errno. Not exclusive: device-mapper must be able to claim it. */
static int try_open(const char *name)
{
	char found[512];
	int r;

	if (tl_str_starts_with(name, SERIAL_PREFIX)) {
		r = serial_find(name + strlen(SERIAL_PREFIX), found);
		if (r < 0)
			return r;
		name = found;
	}
	return block_open(name);
}

static bool is_absent(int r)
{
	return r == -ENOENT || r == -ENXIO || r == -ENODEV || r == -ENOMEDIUM;
}

static int open_waiting(const char *name, uint64_t wait_ms, struct tl_error *err)
{
	struct tl_deadline end = tl_deadline_in(tl_clock_mono_ms(), wait_ms);
	int fd;

	for (;;) {
		fd = try_open(name);
		if (!is_absent(fd) || !tl_deadline_left_ms(end, tl_clock_mono_ms()))
			break;
		tl_clock_sleep_ms(LOOK_AGAIN_MS);
	}
	if (fd >= 0)
		return fd;
	if (is_absent(fd))
		return tl_fail_sys(err, TL_E_DISK_MISSING, -fd,
				   "'%s' hasn't appeared within %" PRIu64 " ms", name, wait_ms);
	if (fd == -ENOTUNIQ)
		return tl_fail(err, TL_E_DISK_WRONG, ENOTUNIQ, "several disks have '%s'", name);
	return tl_fail_sys(err, TL_E_DISK_WRONG, -fd, "open '%s' for writing", name);
}

static int judge(const char *name, struct disk_device *d, struct tl_error *err)
{
	struct stat st;
	int is_read_only = 1;
	uint64_t bytes = 0;

	if (fstat(d->fd, &st) < 0)
		return tl_fail_sys(err, TL_E_DISK_IO, errno, "look at '%s'", name);
	d->number = st.st_rdev;
	if (ioctl(d->fd, BLKROGET, &is_read_only) < 0 || is_read_only)
		return tl_fail(err, TL_E_DISK_WRONG, EROFS, "'%s' is read-only", name);
	if (ioctl(d->fd, BLKGETSIZE64, &bytes) < 0)
		return tl_fail_sys(err, TL_E_DISK_IO, errno, "size of '%s'", name);
	d->size_bytes = bytes / BLOCK_BYTES * BLOCK_BYTES;
	if (d->size_bytes < DISK_MIN_BYTES || d->size_bytes > DISK_MAX_BYTES)
		return tl_fail(err, TL_E_DISK_WRONG, ERANGE,
			       "'%s' has %" PRIu64 " bytes; needed are %llu to %llu", name, bytes,
			       DISK_MIN_BYTES, DISK_MAX_BYTES);
	return 0;
}

/* Mounted, swapped to, part of a RAID or of another mapping, or with a partition that is: then the
 * kernel has given it to somebody. The boot disk is among them. */
static int claim_probe(const char *name, const struct disk_device *d, struct tl_error *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return tl_fail_sys(err, errno == EBUSY ? TL_E_DISK_BUSY : TL_E_DISK_IO, errno,
				   "claim '%s'", name);
	close(fd);
	return 0;
}

int disk_device_open(const char *name, uint64_t wait_ms, struct disk_device *ret,
		     struct tl_error *err)
{
	auto_device struct disk_device d = { .fd = open_waiting(name, wait_ms, err) };
	int r = d.fd < 0 ? d.fd : judge(name, &d, err);

	if (r == 0)
		r = claim_probe(name, &d, err);
	if (r < 0)
		return r;
	*ret = d;
	d.fd = -1;
	return 0;
}

static int zero_range(int fd, uint64_t from, uint64_t to, const void *zeros)
{
	while (from < to) {
		size_t n = to - from < CHUNK_BYTES ? (size_t)(to - from) : CHUNK_BYTES;
		ssize_t done = pwrite(fd, zeros, n, (off_t)from);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -ENOSPC;
		from += (uint64_t)done;
	}
	return 0;
}

int disk_clear(int fd, uint64_t size_bytes, struct tl_error *err)
{
	auto_free void *zeros = aligned_alloc(BLOCK_BYTES, CHUNK_BYTES);
	int r;

	if (!zeros)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "zeros for the disk");
	memset(zeros, 0, CHUNK_BYTES);
	r = zero_range(fd, 0, DEVICE_HEAD_BYTES, zeros);
	if (r == 0)
		r = zero_range(fd, size_bytes - DEVICE_TAIL_BYTES, size_bytes, zeros);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? tl_fail_sys(err, TL_E_DISK_IO, -r, "write zeros to the disk") : 0;
}

int disk_device_clear(const struct disk_device *d, struct tl_error *err)
{
	int r = disk_clear(d->fd, d->size_bytes, err);

	if (r < 0)
		return r;
	/* Forget what the kernel read when the disk appeared: cached pages, and partitions. Where
	 * there are none, or none are possible, that fails, and nothing depends on it: the mapping
	 * takes the whole device. */
	(void)ioctl(d->fd, BLKFLSBUF, 0);
	(void)ioctl(d->fd, BLKRRPART, 0);
	return 0;
}

int disk_mapped_open(dev_t number, int flags, int *ret_fd, struct tl_error *err)
{
	auto_close int fd = -1;
	struct stat st;
	char path[64];

	/* devtmpfs makes this node together with the device; links in /dev/mapper come later. */
	snprintf(path, sizeof(path), "/dev/dm-%u", minor(number));
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "open '%s'", path);
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || st.st_rdev != number)
		return tl_fail(err, TL_E_DISK_SETUP, ESTALE, "'%s' is another device", path);
	*ret_fd = take_fd(fd);
	return 0;
}
