/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int protocol(struct tl_unpack_fault *fault, const char *what)
{
	return tl_unpack_fail(fault, TL_UNPACK_PROTOCOL, 0, "%s", what);
}

/* Every descriptor that came, into @fds; how many there were, or -1 for more than @max. */
static int take_fds(struct msghdr *msg, int *fds, size_t max)
{
	int data[TL_UNPACK_LOWER_MAX];
	size_t n = 0;
	bool is_more = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    here > TL_UNPACK_LOWER_MAX)
			return -1;
		memcpy(data, CMSG_DATA(c), here * sizeof(int));
		for (size_t i = 0; i < here; i++) {
			if (n < max) {
				fds[n++] = data[i];
				continue;
			}
			close(data[i]);
			is_more = true;
		}
	}
	return is_more ? -1 : (int)n;
}

int tl_control_receive(int fd, enum tl_unpack_kind kind, void *ret, size_t n, int *ret_fds,
		       size_t fds_max, struct tl_unpack_fault *fault)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * TL_UNPACK_LOWER_MAX)];
	} control;
	struct iovec iov = { .iov_base = ret, .iov_len = n };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	const struct tl_unpack_head *head = ret;
	ssize_t got;
	int fds_n;

	do
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return tl_unpack_fail(fault, TL_UNPACK_PROTOCOL, errno, "receive");
	if (got == 0)
		return tl_unpack_fail(fault, TL_UNPACK_PROTOCOL, ECONNRESET, "nobody is there");
	fds_n = take_fds(&msg, ret_fds, fds_max);
	if (fds_n < 0 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return protocol(fault, "a message with too much in it");
	if ((size_t)got != n || head->version != TL_UNPACK_VERSION || head->kind != kind)
		return protocol(fault, "another message than is due");
	return fds_n;
}

int tl_control_send(int fd, enum tl_unpack_kind kind, void *message, size_t n)
{
	struct tl_unpack_head head = { .version = TL_UNPACK_VERSION, .kind = kind };
	ssize_t done;

	memcpy(message, &head, sizeof(head));
	do
		done = send(fd, message, n, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : 0;
}

int tl_control_send_fault(int fd, const struct tl_unpack_fault *fault)
{
	struct tl_unpack_failed failed = { .why = fault->why, .error = fault->error };

	memcpy(failed.text, fault->text, sizeof(failed.text));
	return tl_control_send(fd, TL_UNPACK_FAILED, &failed, sizeof(failed));
}
