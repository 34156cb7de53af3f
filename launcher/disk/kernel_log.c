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

/* What follows @prefix, at the very beginning of @text; NULL if something else stands there. Lines
 * that quote what processes and files are called begin with other words, or with at most 15 bytes
 * of a name. */
static const char *behind(const char *text, const char *prefix)
{
	return tl_str_starts_with(text, prefix) ? text + strlen(prefix) : NULL;
}

/* Our devices, by the kernel's names for them. */
struct names {
	const char *name[3];
};

/* @at begins with the name of a device, which ends before one of the bytes of @ends. */
static enum kernel_log_verdict name_judge(const struct names *ours, const char *at,
					  const char *ends)
{
	size_t n = strcspn(at, ends);

	for (size_t i = 0; i < TL_ARRAY_SIZE(ours->name); i++)
		if (n && strlen(ours->name[i]) == n && strncmp(at, ours->name[i], n) == 0)
			return KERNEL_LOG_ERROR;
	return KERNEL_LOG_FOREIGN;
}

/* Linux 6.1: fs/buffer.c, fs/ext4/super.c, fs/ext4/inode.c. "PREFIX" NAME "THEN". */
static const struct {
	const char *prefix, *ends, *then;
} named[] = {
	{ "Buffer I/O error on dev ", ",", "" },
	{ "EXT4-fs error (device ", ")", "" },
	{ "EXT4-fs warning (device ", ")", "" },
	{ "EXT4-fs (", ")", "): Delayed block allocation failed" },
	{ "EXT4-fs (", ")", "): previous I/O error to superblock" },
};

/* ext4_dx_add_entry() warns of a directory that is full: no fault of the disk's, and a workload's
 * to cause. Errors of reading or writing that come with it have lines of their own. */
static bool is_full_directory(const char *then)
{
	return tl_str_starts_with(then, "): ext4_dx_add_entry:");
}

static enum kernel_log_verdict named_judge(const struct names *ours, const char *text)
{
	enum kernel_log_verdict r = KERNEL_LOG_FINE;

	for (size_t i = 0; r == KERNEL_LOG_FINE && i < TL_ARRAY_SIZE(named); i++) {
		const char *name = behind(text, named[i].prefix), *then;

		if (!name)
			continue;
		then = name + strcspn(name, named[i].ends);
		if (tl_str_starts_with(then, named[i].then) && !is_full_directory(then))
			r = name_judge(ours, name, named[i].ends);
	}
	return r;
}

/* block/blk-core.c, blk_status_to_str() and blk_print_req_error(): "I/O error, dev NAME, sector ",
 * "critical medium error, dev ...", "operation not supported error, dev ...": the host chooses
 * which. */
static enum kernel_log_verdict request_judge(const struct names *ours, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/ -";
	const char *error = strstr(text, " error, dev "), *name;

	if (!error || error == text || strspn(text, letters) < (size_t)(error - text))
		return KERNEL_LOG_FINE;
	name = error + strlen(" error, dev ");
	if (!behind(name + strcspn(name, ","), ", sector "))
		return KERNEL_LOG_FINE;
	return name_judge(ours, name, ",");
}

/* block/blk-core.c, bio_check_eod(): "COMMAND: attempt to access beyond end of device", a line
 * feed, which is escaped here, "NAME: rw=". The host has made a disk smaller. Only one line of the
 * kernel's quotes a text of any length that user space chose (fs/exec.c, "process '...' launched").
 */
static enum kernel_log_verdict end_judge(const struct names *ours, const char *text)
{
	static const char said[] = ": attempt to access beyond end of device\\x0a";
	const char *at = behind(text, "process '") ? NULL : strstr(text, said);
	const char *name = at ? at + strlen(said) : NULL;

	if (!name || !behind(name + strcspn(name, ":"), ": rw="))
		return KERNEL_LOG_FINE;
	return name_judge(ours, name, ":");
}

/* Who says "NAME: 12 callbacks suppressed" of lines like those above: the function that prints
 * them, or ext4's own name for it. Others (segfaults, the network) say it, too, and anybody can
 * make them. */
static const char *const suppressed[] = {
	"blk_print_req_error",      "bio_check_eod", "buffer_io_error", "kcryptd_async_done",
	"crypt_convert_block_aead", "EXT4-fs error", "EXT4-fs warning", "EXT4-fs",
};

/* drivers/md/dm-crypt.c, dm-integrity.c. A header that dm-crypt includes gives its lines another
 * prefix. */
static enum kernel_log_verdict mapper_judge(const char *text)
{
	const char *inner = behind(text, "trusted_key: ");
	const char *crypt = behind(inner ? inner : text, "device-mapper: crypt: ");

	if (crypt)
		return strstr(crypt, ": INTEGRITY AEAD ERROR, ") ? KERNEL_LOG_TAMPERED
								 : KERNEL_LOG_ERROR;
	return behind(text, "device-mapper: integrity: ") ? KERNEL_LOG_ERROR : KERNEL_LOG_FINE;
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

static enum kernel_log_verdict text_judge(const char *text, const struct names *ours)
{
	enum kernel_log_verdict r = mapper_judge(text);

	if (r == KERNEL_LOG_FINE && is_suppressed(text))
		r = KERNEL_LOG_ERROR;
	if (r == KERNEL_LOG_FINE)
		r = named_judge(ours, text);
	if (r == KERNEL_LOG_FINE)
		r = request_judge(ours, text);
	return r == KERNEL_LOG_FINE ? end_judge(ours, text) : r;
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
	const struct names ours = { { disk, integrity, crypt } };
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
	return (int)text_judge(text + 1, &ours);
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
