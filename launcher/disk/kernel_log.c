/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>

#define PATH          "/dev/kmsg"
#define FACILITY_KERN 0
#define RECORDS_MAX   4096 /* between two looks of ours */

/* The number that starts at @text and ends with @end; the rest after that, or NULL. */
static const char *number_read(const char *text, char end, uint64_t *ret)
{
	size_t n = strspn(text, "0123456789");
	char digits[24];

	if (!n || n >= sizeof(digits) || text[n] != end)
		return NULL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	return tl_str_parse_u64(digits, UINT64_MAX, ret) < 0 ? NULL : text + n + 1;
}

/* @name as a whole word of @text. */
static bool names_device(const char *text, const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t n = strlen(name);

	for (const char *p = text; n && (p = strstr(p, name)); p += n)
		if ((p == text || !strchr(letters, p[-1])) && (!p[n] || !strchr(letters, p[n])))
			return true;
	return false;
}

/* Linux 6.1: drivers/md/dm-crypt.c, dm-integrity.c; block/blk-core.c; fs/buffer.c; fs/ext4. */
static const struct {
	const char *text;
	enum kernel_log_verdict verdict;
	bool needs_name; /* counts only if it names one of our devices */
} signs[] = {
	{ "device-mapper: integrity:", KERNEL_LOG_ERROR, false },
	{ "device-mapper: crypt:", KERNEL_LOG_ERROR, false },
	/* "I/O", "critical medium", "operation not supported", ...: the host chooses which. */
	{ " error, dev ", KERNEL_LOG_ERROR, true },
	/* The host has made a disk smaller. Its name comes in the next line, which is escaped. */
	{ "attempt to access beyond end of device", KERNEL_LOG_ERROR, false },
	{ "Buffer I/O error on dev ", KERNEL_LOG_ERROR, true },
	{ "lost async page write", KERNEL_LOG_ERROR, true },
	{ "EXT4-fs error (device ", KERNEL_LOG_ERROR, true },
	{ "EXT4-fs warning (device ", KERNEL_LOG_ERROR, true },
	{ "Delayed block allocation failed", KERNEL_LOG_ERROR, true },
	{ "previous I/O error to superblock", KERNEL_LOG_ERROR, true },
};

/* Who says "NAME: 12 callbacks suppressed" of lines like those above: the function that prints
 * them, or ext4's own name for it. Others (segfaults, the network) say it, too, and anybody can
 * make them. */
static const char *const suppressed[] = {
	"blk_print_req_error",      "bio_check_eod", "buffer_io_error", "kcryptd_async_done",
	"crypt_convert_block_aead", "EXT4-fs error", "EXT4-fs warning", "EXT4-fs",
};

/* dm-crypt's own line; others may quote such words. */
static bool is_tampered(const char *text)
{
	const char *crypt = strstr(text, "device-mapper: crypt:");

	return crypt && strstr(crypt, "INTEGRITY AEAD ERROR");
}

static bool is_suppressed(const char *text)
{
	if (!strstr(text, " callbacks suppressed"))
		return false;
	for (size_t i = 0; i < TL_ARRAY_SIZE(suppressed); i++)
		if (tl_str_starts_with(text, suppressed[i]) && text[strlen(suppressed[i])] == ':')
			return true;
	return false;
}

static enum kernel_log_verdict text_judge(const char *text, const char *disk, const char *integrity,
					  const char *crypt)
{
	enum kernel_log_verdict r = KERNEL_LOG_FINE;

	if (is_tampered(text))
		return KERNEL_LOG_TAMPERED;
	if (is_suppressed(text))
		return KERNEL_LOG_ERROR;
	for (size_t i = 0; i < TL_ARRAY_SIZE(signs); i++) {
		if (!strstr(text, signs[i].text))
			continue;
		if (!signs[i].needs_name || names_device(text, disk) ||
		    names_device(text, integrity) || names_device(text, crypt))
			return signs[i].verdict;
		r = KERNEL_LOG_FOREIGN;
	}
	return r;
}

bool kernel_log_may_hide(struct kernel_log_burst *b, uint64_t at_us)
{
	uint64_t *oldest = &b->at_us[b->n % KERNEL_LOG_BURST];
	bool is_full = ++b->n >= KERNEL_LOG_BURST;
	uint64_t first;

	*oldest = at_us;
	first = b->at_us[b->n % KERNEL_LOG_BURST];
	return is_full && at_us - first <= KERNEL_LOG_INTERVAL_US;
}

int kernel_log_judge(const char *record, const char *disk, const char *integrity, const char *crypt,
		     uint64_t *ret_seq, uint64_t *ret_us)
{
	uint64_t priority, seq, us;
	const char *rest = number_read(record, ',', &priority);
	const char *text;

	rest = rest ? number_read(rest, ',', &seq) : NULL;
	rest = rest ? number_read(rest, ',', &us) : NULL;
	text = rest ? strchr(rest, ';') : NULL;
	if (!text)
		return -EINVAL;
	*ret_seq = seq;
	*ret_us = us;
	if (priority >> 3 != FACILITY_KERN)
		return KERNEL_LOG_FINE;
	return (int)text_judge(text + 1, disk, integrity, crypt);
}

/* The number of the record that holds @line. -ENOENT: it isn't there. */
static int line_find(int fd, const char *line, uint64_t *ret_seq)
{
	for (int i = 0; i < RECORDS_MAX; i++) {
		char record[KERNEL_LOG_RECORD_MAX + 1];
		uint64_t us;
		ssize_t n = read(fd, record, KERNEL_LOG_RECORD_MAX);

		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue; /* EPIPE: overwritten; the next read is where the log starts now
				   */
		if (n < 0)
			return errno == EAGAIN ? -ENOENT : -errno;
		record[n] = '\0';
		if (strstr(record, line))
			return kernel_log_judge(record, "", "", "", ret_seq, &us) < 0 ? -EBADMSG
										      : 0;
	}
	return -ENOENT;
}

int kernel_log_mark(uint64_t *ret_seq, struct tl_error *err)
{
	auto_close int fd = open(PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	unsigned int chosen = 0; /* so that nobody's earlier line is taken for it */
	char line[64];           /* without its newline the kernel would keep it open for more */
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && getrandom(&chosen, sizeof(chosen), 0) != sizeof(chosen))
		r = -EIO;
	snprintf(line, sizeof(line), "teelaunch: the disk is set up (%08x)\n", chosen);
	if (r == 0 && lseek(fd, 0, SEEK_END) < 0)
		r = -errno;
	if (r == 0)
		r = tl_write_all(fd, line, strlen(line));
	line[strcspn(line, "\n")] = '\0';
	if (r == 0)
		r = line_find(fd, line, ret_seq);
	return r < 0 ? tl_fail_sys(err, TL_E_DISK_SETUP, -r, "mark the kernel's log") : 0;
}
