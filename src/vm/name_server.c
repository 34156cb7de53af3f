/* SPDX-License-Identifier: Apache-2.0 */
#include "name_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <teelaunch/cleanup.h>

#include "dns.h"

struct name_server {
	const struct tl_strv *names;
	sd_event_source *source;
	int fd;
};

/* A query without an answer is asked again: whoever resolves names does so by itself. */
static int on_query(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	const struct name_server *s = arg;
	uint8_t query[DNS_MESSAGE_MAX];
	struct sockaddr_in from;
	socklen_t from_bytes = sizeof(from);
	auto_buf struct tl_buf reply = { 0 };
	ssize_t n = recvfrom(fd, query, sizeof(query), MSG_DONTWAIT, (struct sockaddr *)&from,
			     &from_bytes);

	(void)source;
	(void)events;
	tl_buf_init(&reply, DNS_MESSAGE_MAX);
	if (n > 0 && dns_answer(query, (size_t)n, s->names, &reply) == 0)
		(void)!sendto(fd, reply.data, reply.len_bytes, MSG_DONTWAIT,
			      (const struct sockaddr *)&from, from_bytes);
	return 0;
}

int name_server_new(int consume_fd, const struct tl_strv *names, sd_event *loop,
		    struct name_server **ret, struct tl_error *err)
{
	struct name_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(consume_fd);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "name server");
	}
	s->fd = consume_fd;
	s->names = names;
	r = sd_event_add_io(loop, &s->source, s->fd, EPOLLIN, on_query, s);
	if (r < 0) {
		name_server_free(s);
		return tl_fail_sys(err, TL_E_VM_SERVE, -r, "name server");
	}
	*ret = s;
	return 0;
}

struct name_server *name_server_free(struct name_server *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->source);
	close(s->fd);
	free(s);
	return NULL;
}
