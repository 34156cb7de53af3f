/* SPDX-License-Identifier: Apache-2.0 */
#include "power_button.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>
#include <teelaunch/thread.h>

/* A VM has a button and a keyboard; the host chooses how many more it shows. */
#define DEVICES_MAX 16
#define RECORDS_MAX 64 /* read at once; the kernel gives whole records */

struct power_button {
	struct tl_cancel *cancel; /* borrowed */
	struct tl_cancel *quit;
	int fds[DEVICES_MAX];
	size_t n;
	pthread_t thread;
	bool is_started;
};

static bool is_power_key(unsigned int code)
{
	return code == KEY_POWER || code == KEY_POWER2;
}

bool power_button_is_pressed(const void *records, size_t n)
{
	struct input_event e;

	for (size_t at = 0; at + sizeof(e) <= n; at += sizeof(e)) {
		memcpy(&e, (const char *)records + at, sizeof(e));
		if (e.type == EV_KEY && is_power_key(e.code) && e.value > 0)
			return true;
	}
	return false;
}

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };

	if (ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) < 0)
		return false;
	return keys[KEY_POWER / 8] >> KEY_POWER % 8 & 1 ||
	       keys[KEY_POWER2 / 8] >> KEY_POWER2 % 8 & 1;
}

static void devices_open(const char *path, struct power_button *b)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && b->n < DEVICES_MAX && (entry = readdir(dir))) {
		int fd;

		if (!tl_str_starts_with(entry->d_name, "event"))
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (has_power_key(fd))
			b->fds[b->n++] = fd;
		else
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* A device that is gone, or fails, is watched no more. */
static bool device_read(int *fd)
{
	struct input_event records[RECORDS_MAX];
	ssize_t n = read(*fd, records, sizeof(records));

	if (n > 0)
		return power_button_is_pressed(records, (size_t)n);
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(*fd);
		*fd = -1; /* which poll() skips */
	}
	return false;
}

static void *watch_main(void *arg)
{
	struct power_button *b = arg;
	struct pollfd fds[DEVICES_MAX + 1];

	for (;;) {
		for (size_t i = 0; i < b->n; i++)
			fds[i] = (struct pollfd){ .fd = b->fds[i], .events = POLLIN };
		fds[b->n] = (struct pollfd){ .fd = tl_cancel_fd(b->quit), .events = POLLIN };
		if (poll(fds, b->n + 1, -1) < 0)
			continue; /* EINTR */
		if (fds[b->n].revents)
			return NULL;
		for (size_t i = 0; i < b->n; i++) {
			if (!fds[i].revents || !device_read(&b->fds[i]))
				continue;
			tl_log_event(LOG_INFO, "power.button",
				     "msg='the machine is asked to stop'");
			tl_cancel_request(b->cancel);
			return NULL;
		}
	}
}

int power_button_watch(const char *dir, struct tl_cancel *cancel, struct power_button **ret,
		       size_t *ret_n, struct tl_error *err)
{
	struct power_button *b = calloc(1, sizeof(*b));
	size_t n;
	int r = 0;

	if (!b)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "power button");
	b->cancel = cancel;
	b->quit = tl_cancel_new();
	if (!b->quit) {
		r = tl_fail_sys(err, TL_E_IO, errno, "power button");
	} else {
		devices_open(dir, b);
		if (b->n)
			r = tl_thread_start("tl-power", watch_main, b, &b->thread, err);
		b->is_started = b->n && r == 0;
	}
	n = b->n;
	if (r < 0) {
		power_button_close(b);
		return r;
	}
	*ret = b;
	*ret_n = n;
	return 0;
}

struct power_button *power_button_close(struct power_button *b)
{
	if (!b)
		return NULL;
	if (b->is_started) {
		tl_cancel_request(b->quit);
		pthread_join(b->thread, NULL);
	}
	for (size_t i = 0; i < b->n; i++)
		if (b->fds[i] >= 0)
			close(b->fds[i]);
	tl_cancel_free(b->quit);
	free(b);
	return NULL;
}
