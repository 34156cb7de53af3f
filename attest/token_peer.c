/* SPDX-License-Identifier: Apache-2.0 */
#include "token_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

/* Linux 6.5; older C libraries don't have it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Twenty lines, each of them of a controller. */
#define PROC_CGROUP_MAX 8192

struct line {
	const char *name, *path;
	size_t name_n, path_n;
};

/* "4:memory:/a/b", "0::/a/b"; false at the end. What is no such line has no path. */
static bool line_next(const char **at, struct line *ret)
{
	const char *end = *at + strcspn(*at, "\n");
	const char *name = memchr(*at, ':', (size_t)(end - *at));
	const char *path = name ? memchr(name + 1, ':', (size_t)(end - name - 1)) : NULL;

	if (!**at)
		return false;
	*ret = (struct line){ 0 };
	if (path)
		*ret = (struct line){ name + 1, path + 1, (size_t)(path - name - 1),
				      (size_t)(end - path - 1) };
	*at = *end ? end + 1 : end;
	return true;
}

/* 3: unified, 2: systemd's, 1: any other, 0: the root or nothing. */
static int line_rank(const struct line *l)
{
	static const char systemd[] = "name=systemd";

	if (l->path_n < 2)
		return 0;
	if (!l->name_n)
		return 3;
	return l->name_n == sizeof(systemd) - 1 && memcmp(l->name, systemd, l->name_n) == 0 ? 2 : 1;
}

void token_peer_cgroup(const char *text, char ret[TOKEN_CGROUP_MAX_BYTES])
{
	struct line line, best = { .path = "/", .path_n = *text ? 1 : 0 };

	for (const char *at = text; line_next(&at, &line);)
		if (line_rank(&line) > line_rank(&best))
			best = line;
	if (best.path_n >= TOKEN_CGROUP_MAX_BYTES)
		best.path_n = 0;
	memcpy(ret, best.path, best.path_n);
	ret[best.path_n] = '\0';
}

bool token_peer_is_in(const struct token_peer *peer, const char *cgroup)
{
	size_t n = strlen(cgroup);

	return strncmp(peer->cgroup, cgroup, n) == 0 &&
	       (!peer->cgroup[n] || peer->cgroup[n] == '/');
}

static bool cgroup_read(pid_t pid, char ret[TOKEN_CGROUP_MAX_BYTES])
{
	char path[32], text[PROC_CGROUP_MAX + 1];
	auto_close int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, PROC_CGROUP_MAX);
	if (n < 0)
		return false;
	text[n] = '\0';
	token_peer_cgroup(text, ret);
	return true;
}

/* Whether the process that connected still is: then its number was its own all the time. */
static bool is_alive(int fd)
{
	auto_close int pidfd = -1;
	socklen_t n = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) < 0)
		return errno == ENOPROTOOPT; /* an older kernel can't tell */
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0;
}

void token_peer_read(int fd, struct token_peer *ret)
{
	struct ucred is = { .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t n = sizeof(is);

	*ret = (struct token_peer){ .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &is, &n) < 0)
		return;
	ret->pid = is.pid;
	ret->uid = is.uid;
	ret->gid = is.gid;
	if (is.pid <= 0 || !cgroup_read(is.pid, ret->cgroup) || !is_alive(fd))
		ret->cgroup[0] = '\0';
}
