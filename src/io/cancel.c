/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/cancel.h>

#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>

struct tl_cancel {
	int fd;
	atomic_bool is_requested;
};

struct tl_cancel *tl_cancel_new(void)
{
	struct tl_cancel *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return c->fd < 0 ? tl_cancel_free(c) : c;
}

struct tl_cancel *tl_cancel_free(struct tl_cancel *c)
{
	if (c && c->fd >= 0)
		close(c->fd);
	free(c);
	return NULL;
}

void tl_cancel_request(struct tl_cancel *c)
{
	const uint64_t one = 1;
	ssize_t n;

	c->is_requested = true;
	/* Fails only when the counter is full, and then it is readable already. */
	n = write(c->fd, &one, sizeof(one));
	(void)n;
}

bool tl_cancel_is_requested(const struct tl_cancel *c)
{
	return c && c->is_requested;
}

int tl_cancel_fd(const struct tl_cancel *c)
{
	return c ? c->fd : -1;
}

bool tl_cancel_sleep(const struct tl_cancel *c, uint64_t ms)
{
	struct tl_deadline end = tl_deadline_in(tl_clock_mono_ms(), ms);
	struct pollfd fd = { .fd = tl_cancel_fd(c), .events = POLLIN };

	for (;;) {
		uint64_t left_ms = tl_deadline_left_ms(end, tl_clock_mono_ms());

		if (tl_cancel_is_requested(c))
			return true;
		if (!left_ms)
			return false;
		poll(&fd, 1, left_ms < 1000 ? (int)left_ms : 1000);
	}
}
