/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>

#include "kernel_log.h"

#define KMSG_PATH     "/dev/kmsg"
#define LOOK_EVERY_MS 1000
#define NAME_BYTES    64
#define COUNT_BYTES   32

struct disk_watch {
	char disk[NAME_BYTES], integrity[NAME_BYTES], crypt[NAME_BYTES]; /* "vda", "dm-0", "dm-1" */
	int kmsg_fd;
	uint64_t mark; /* the number of set-up's own line */
	uint64_t seen; /* the number of the last record read; 0: none yet */
	struct kernel_log_burst burst;
	struct tl_cancel *quit, *kill, *alarm;
	pthread_t thread;
	bool is_started;
	int r; /* the thread's until it is joined */
	struct tl_error err;
};

/* The kernel's name of a block device, out of the link /sys/dev/block/MAJOR:MINOR. */
static int name_find(const struct disk_number *number, char ret[NAME_BYTES], struct tl_error *err)
{
	char path[64], target[512];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", number->major, number->minor);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return tl_fail_sys(err, TL_E_DISK_WATCH, errno, "read link '%s'", path);
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (!slash || strlen(slash + 1) >= NAME_BYTES)
		return tl_fail(err, TL_E_DISK_WATCH, EINVAL, "link '%s' isn't understood", path);
	memcpy(ret, slash + 1, strlen(slash + 1) + 1);
	return 0;
}

static int lost(struct tl_error *err)
{
	return tl_fail(err, TL_E_DISK_WATCH, EPIPE, "the kernel's log has lost lines");
}

/* The line without its numbers, for people. */
static int happened(int verdict, const char *record, struct tl_error *err)
{
	const char *text = strchr(record, ';') + 1;

	return tl_fail(err, verdict == KERNEL_LOG_TAMPERED ? TL_E_DISK_TAMPERED : TL_E_DISK_ERROR,
		       EIO, "the kernel says: %.*s", (int)strcspn(text, "\n"), text);
}

/* One record; before the mark nothing counts. */
static int record_judge(struct disk_watch *w, const char *record, struct tl_error *err)
{
	uint64_t seq, us;
	int verdict = kernel_log_judge(record, w->disk, w->integrity, w->crypt, &seq, &us);
	bool is_first = !w->seen;

	if (verdict < 0)
		return tl_fail(err, TL_E_DISK_WATCH, EBADMSG,
			       "a record of the kernel's log isn't understood");
	/* The log is a ring: its start may be gone, but not what came after the mark. */
	if (is_first ? seq > w->mark + 1 : seq > w->mark && seq != w->seen + 1)
		return lost(err);
	w->seen = seq;
	if (verdict == KERNEL_LOG_FOREIGN)
		verdict = kernel_log_may_hide(&w->burst, us) ? KERNEL_LOG_ERROR : KERNEL_LOG_FINE;
	return verdict == KERNEL_LOG_FINE || seq <= w->mark ? 0 : happened(verdict, record, err);
}

/* All that is there now. */
static int log_read(struct disk_watch *w, struct tl_error *err)
{
	for (;;) {
		char record[KERNEL_LOG_RECORD_MAX + 1];
		ssize_t n = read(w->kmsg_fd, record, KERNEL_LOG_RECORD_MAX);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		/* EPIPE: overwritten since the last read. At the start that may be older than the
		 * mark, and the next record tells. */
		if (n < 0 && errno == EPIPE && !w->seen)
			continue;
		if (n <= 0)
			return n < 0 && errno == EPIPE
				       ? lost(err)
				       : tl_fail_sys(err, TL_E_DISK_WATCH, n ? errno : EIO,
						     "read '%s'", KMSG_PATH);
		record[n] = '\0';
		r = record_judge(w, record, err);
		if (r < 0)
			return r;
	}
}

/* ext4's own count; the file goes with the mount. */
static int count_read(const struct disk_watch *w, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	char path[128];
	int r;

	snprintf(path, sizeof(path), "/sys/fs/ext4/%s/errors_count", w->crypt);
	tl_buf_init(&text, COUNT_BYTES);
	r = tl_file_read(path, &text, NULL);
	if (r < 0)
		return tl_fail_sys(err, TL_E_DISK_WATCH, -r, "read '%s'", path);
	if (strcmp(tl_buf_str(&text), "0\n") != 0)
		return tl_fail(err, TL_E_DISK_ERROR, EIO, "ext4 has counted errors: %s",
			       tl_buf_str(&text));
	return 0;
}

static int look(struct disk_watch *w, struct tl_error *err)
{
	int r = log_read(w, err);

	return r < 0 ? r : count_read(w, err);
}

static void *watch_main(void *arg)
{
	struct disk_watch *w = arg;

	while (w->r == 0 && !tl_cancel_is_requested(w->quit)) {
		struct pollfd fds[] = { { .fd = w->kmsg_fd, .events = POLLIN },
					{ .fd = tl_cancel_fd(w->quit), .events = POLLIN } };

		(void)poll(fds, TL_ARRAY_SIZE(fds), LOOK_EVERY_MS);
		w->r = look(w, &w->err);
	}
	if (w->r < 0) {
		tl_cancel_request(w->kill);
		tl_cancel_request(w->alarm);
	}
	return NULL;
}

static struct disk_watch *watch_free(struct disk_watch *w)
{
	if (w && w->kmsg_fd >= 0)
		close(w->kmsg_fd);
	if (w)
		tl_cancel_free(w->quit);
	free(w);
	return NULL;
}

static void watch_freep(struct disk_watch **w)
{
	*w = watch_free(*w);
}
#define auto_watch __attribute__((cleanup(watch_freep)))

static int watch_open(const struct disk_record *rec, struct disk_watch *w, struct tl_error *err)
{
	int r = name_find(&rec->device_number, w->disk, err);

	if (r == 0)
		r = name_find(&rec->integrity_number, w->integrity, err);
	if (r == 0)
		r = name_find(&rec->crypt_number, w->crypt, err);
	if (r < 0)
		return r;
	w->mark = rec->kmsg_seq;
	w->quit = tl_cancel_new();
	w->kmsg_fd = open(KMSG_PATH, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (!w->quit || w->kmsg_fd < 0)
		return tl_fail_sys(err, TL_E_DISK_WATCH, errno, "open '%s'", KMSG_PATH);
	return 0;
}

int disk_watch_start(const struct disk_record *rec, struct tl_cancel *kill, struct tl_cancel *alarm,
		     struct disk_watch **ret, struct tl_error *err)
{
	auto_watch struct disk_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "watch over the disk");
	w->kmsg_fd = -1;
	w->kill = kill;
	w->alarm = alarm;
	r = watch_open(rec, w, err);
	if (r == 0)
		r = look(w, err);
	if (r < 0)
		return r;
	r = pthread_create(&w->thread, NULL, watch_main, w);
	if (r != 0)
		return tl_fail_sys(err, TL_E_DISK_WATCH, r, "thread that watches the disk");
	pthread_setname_np(w->thread, "tl-disk");
	w->is_started = true;
	*ret = take_ptr(w);
	return 0;
}

int disk_watch_stop(struct disk_watch *consume_w, struct tl_error *err)
{
	auto_watch struct disk_watch *w = consume_w;

	if (!w)
		return 0;
	tl_cancel_request(w->quit);
	if (w->is_started)
		pthread_join(w->thread, NULL);
	/* What the workload did last may have failed just now. */
	if (w->r == 0)
		w->r = look(w, &w->err);
	if (w->r < 0 && err)
		*err = w->err;
	return w->r;
}
