/* SPDX-License-Identifier: Apache-2.0 */
#include "forward.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <teelaunch/cleanup.h>

#define FLOW_BYTES (64 * 1024)

/* One direction: from sides[i] of a link to the other one. */
struct flow {
	uint8_t bytes[FLOW_BYTES];
	size_t at, end;    /* what is read and not yet written */
	bool is_ended;     /* the sender has said so */
	bool is_passed_on; /* and the receiver knows */
};

struct link {
	struct forward *forward;
	int sides[2]; /* the guest's, the server's */
	sd_event_source *sources[2];
	struct flow flows[2];
};

struct forward {
	sd_event *loop;
	sd_event_source *source;
	int fd;
	struct sockaddr_storage to;
	socklen_t to_bytes;
	struct link *links[FORWARD_LINKS_MAX];
};

static void link_free(struct link *l)
{
	struct forward *f = l->forward;

	for (size_t i = 0; i < FORWARD_LINKS_MAX; i++)
		if (f->links[i] == l)
			f->links[i] = NULL;
	for (int side = 0; side < 2; side++) {
		sd_event_source_disable_unref(l->sources[side]);
		if (l->sides[side] >= 0)
			close(l->sides[side]);
	}
	free(l);
}

static bool is_later(int errnum)
{
	return errnum == EAGAIN || errnum == EINTR || errnum == EINPROGRESS;
}

/* 1: something moved. 0: not now. -errno: the link is broken. */
static int flow_fill(struct flow *w, int from)
{
	ssize_t n;

	if (w->is_ended || w->at != w->end)
		return 0;
	n = recv(from, w->bytes, sizeof(w->bytes), 0);
	if (n < 0)
		return is_later(errno) ? 0 : -errno;
	w->at = 0;
	w->end = (size_t)n;
	w->is_ended = n == 0;
	return 1;
}

static int flow_empty(struct flow *w, int to)
{
	ssize_t n;

	if (w->at == w->end) {
		if (!w->is_ended || w->is_passed_on)
			return 0;
		w->is_passed_on = true;
		return shutdown(to, SHUT_WR) < 0 ? -errno : 1;
	}
	n = send(to, w->bytes + w->at, w->end - w->at, MSG_NOSIGNAL);
	if (n < 0)
		return is_later(errno) ? 0 : -errno;
	w->at += (size_t)n;
	return n > 0;
}

static int link_pump(struct link *l)
{
	int moved = 1;

	while (moved > 0) {
		moved = 0;
		for (int side = 0; side < 2; side++) {
			int in = flow_fill(&l->flows[side], l->sides[side]);
			int out = in < 0 ? in : flow_empty(&l->flows[side], l->sides[!side]);

			if (out < 0)
				return out;
			moved |= in | out;
		}
	}
	return l->flows[0].is_passed_on && l->flows[1].is_passed_on ? -ECONNRESET : 0;
}

/* Edge-triggered, for reading and writing: link_pump() goes on until neither side does. */
static int on_side(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct link *l = arg;

	(void)source;
	(void)fd;
	if (link_pump(l) < 0 || events & EPOLLERR)
		link_free(l);
	return 0;
}

static int link_connect(struct link *l)
{
	const struct forward *f = l->forward;

	l->sides[1] = socket(f->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->sides[1] < 0 ||
	    (connect(l->sides[1], (const struct sockaddr *)&f->to, f->to_bytes) < 0 &&
	     !is_later(errno)))
		return -errno;
	for (int side = 0; side < 2; side++) {
		int r = sd_event_add_io(f->loop, &l->sources[side], l->sides[side],
					EPOLLIN | EPOLLOUT | EPOLLET, on_side, l);

		if (r < 0)
			return r;
	}
	return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct forward *f = arg;
	auto_close int guest = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct link *l;
	size_t i = 0;

	(void)source;
	(void)events;
	while (i < FORWARD_LINKS_MAX && f->links[i])
		i++;
	if (guest < 0 || i == FORWARD_LINKS_MAX)
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return 0;
	*l = (struct link){ .forward = f, .sides = { take_fd(guest), -1 } };
	f->links[i] = l;
	if (link_connect(l) < 0)
		link_free(l);
	return 0;
}

static int address_find(struct forward *f, const struct vm_forward *to, struct tl_error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char port[8];
	int r;

	snprintf(port, sizeof(port), "%u", to->host_port);
	r = getaddrinfo(to->host, port, &hints, &found);
	if (r)
		return tl_fail(err, TL_E_NET_RESOLVE, EHOSTUNREACH, "'%s': %s", to->host,
			       gai_strerror(r));
	memcpy(&f->to, found->ai_addr, found->ai_addrlen);
	f->to_bytes = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

int forward_new(int consume_fd, const struct vm_forward *to, sd_event *loop, struct forward **ret,
		struct tl_error *err)
{
	struct forward *f = calloc(1, sizeof(*f));
	auto_close int fd = consume_fd;
	int r;

	if (!f)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "forwarding");
	f->loop = sd_event_ref(loop);
	f->fd = take_fd(fd);
	r = address_find(f, to, err);
	if (!r) {
		r = sd_event_add_io(loop, &f->source, f->fd, EPOLLIN, on_connection, f);
		if (r < 0)
			tl_fail_sys(err, TL_E_VM_SERVE, -r, "port %u", to->port);
	}
	if (r >= 0)
		*ret = take_ptr(f);
	forward_free(f);
	return r < 0 ? r : 0;
}

struct forward *forward_free(struct forward *f)
{
	if (!f)
		return NULL;
	for (size_t i = 0; i < FORWARD_LINKS_MAX; i++)
		if (f->links[i])
			link_free(f->links[i]);
	sd_event_source_disable_unref(f->source);
	if (f->fd >= 0)
		close(f->fd);
	sd_event_unref(f->loop);
	free(f);
	return NULL;
}
