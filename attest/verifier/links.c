/* SPDX-License-Identifier: Apache-2.0 */
#include "links.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#define TICK_S 1

struct link {
	struct link *next, *prev;
	int fd;
	uint64_t since_ms;
};

struct links {
	pthread_mutex_t lock;
	pthread_cond_t ends;
	pthread_t thread;
	bool is_ending;
	struct link head; /* of a ring */
	size_t n;
	size_t max;
};

/* A descriptor in the ring is open: libmicrohttpd tells the end of a connection before it closes.
 */
static void sweep(struct links *l)
{
	uint64_t now_ms = tl_clock_mono_ms();
	uint64_t limit_ms = l->n >= l->max ? LINKS_PRESSED_MS : LINKS_REQUEST_MS;

	for (struct link *k = l->head.next; k != &l->head; k = k->next)
		if (now_ms - k->since_ms >= limit_ms)
			shutdown(k->fd, SHUT_RDWR);
}

static void *links_main(void *arg)
{
	struct links *l = arg;

	pthread_mutex_lock(&l->lock);
	while (!l->is_ending) {
		struct timespec until;

		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TICK_S;
		(void)pthread_cond_timedwait(&l->ends, &l->lock, &until);
		sweep(l);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int links_new(size_t max, struct links **ret, struct tl_error *err)
{
	struct links *l = calloc(1, sizeof(*l));
	pthread_condattr_t attr;
	int r;

	if (!l)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for connections");
	l->max = max;
	l->head.next = l->head.prev = &l->head;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->ends, &attr);
	pthread_condattr_destroy(&attr);
	r = tl_thread_start("verifier-links", links_main, l, &l->thread, err);
	if (r < 0)
		free(l);
	else
		*ret = l;
	return r;
}

struct links *links_free(struct links *l)
{
	if (!l)
		return NULL;
	pthread_mutex_lock(&l->lock);
	l->is_ending = true;
	pthread_cond_signal(&l->ends);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	pthread_cond_destroy(&l->ends);
	pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

static struct link *link_new(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct link *k = info ? calloc(1, sizeof(*k)) : NULL;

	if (k) {
		k->fd = info->connect_fd;
		k->since_ms = tl_clock_mono_ms();
	}
	return k;
}

void links_on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
			 enum MHD_ConnectionNotificationCode code)
{
	struct links *l = ctx;
	bool is_new = code == MHD_CONNECTION_NOTIFY_STARTED;
	struct link *k = is_new ? link_new(c) : *socket_context;

	if (is_new)
		*socket_context = k;
	if (!k)
		return;
	pthread_mutex_lock(&l->lock);
	if (is_new) {
		k->next = &l->head;
		k->prev = l->head.prev;
		k->prev->next = k;
		l->head.prev = k;
		l->n++;
	} else {
		k->prev->next = k->next;
		k->next->prev = k->prev;
		l->n--;
	}
	pthread_mutex_unlock(&l->lock);
	if (!is_new) {
		*socket_context = NULL;
		free(k);
	}
}

void links_renew(struct links *l, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct link *k = info ? info->socket_context : NULL;

	if (!k)
		return;
	pthread_mutex_lock(&l->lock);
	k->since_ms = tl_clock_mono_ms();
	pthread_mutex_unlock(&l->lock);
}
