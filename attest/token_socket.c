/* SPDX-License-Identifier: Apache-2.0 */
#include "token_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#define TEMPORARY_NAME "." TL_TOKEN_SOCKET_NAME ".tmp"
/* Whoever is in the container may ask, under any user. */
#define SOCKET_MODE 0777

static int dir_open(const char *dir, struct tl_error *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? tl_fail_sys(err, TL_E_TOKEN_SOCKET, errno, "open folder '%s'", dir) : fd;
}

static int names_remove(int dirfd, const char *dir, struct tl_error *err)
{
	static const char *const names[] = { TL_TOKEN_SOCKET_NAME, TEMPORARY_NAME };

	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++)
		if (unlinkat(dirfd, names[i], 0) < 0 && errno != ENOENT)
			return tl_fail_sys(err, TL_E_TOKEN_SOCKET, errno, "remove '%s' in '%s'",
					   names[i], dir);
	return 0;
}

int tl_token_socket_remove(const char *dir, struct tl_error *err)
{
	struct stat there;
	auto_close int fd = -1;

	if (lstat(dir, &there) < 0 && errno == ENOENT)
		return 0;
	fd = dir_open(dir, err);
	return fd < 0 ? fd : names_remove(fd, dir, err);
}

/* The mode says who may connect; what isn't exactly so is not served. */
static int mode_set(int dirfd, const char *dir, struct tl_error *err)
{
	struct stat is;

	if (fchmodat(dirfd, TEMPORARY_NAME, SOCKET_MODE, 0) < 0 ||
	    fstatat(dirfd, TEMPORARY_NAME, &is, AT_SYMLINK_NOFOLLOW) < 0)
		return tl_fail_sys(err, TL_E_TOKEN_SOCKET, errno, "mode of the socket in '%s'",
				   dir);
	if (!S_ISSOCK(is.st_mode) || (is.st_mode & 07777) != SOCKET_MODE)
		return tl_fail(err, TL_E_TOKEN_SOCKET, EPERM,
			       "the socket in '%s' has mode %o, not %o", dir, is.st_mode & 07777,
			       SOCKET_MODE);
	return 0;
}

int token_socket_listen(const char *dir, int backlog, int *ret_fd, struct tl_error *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	auto_close int dirfd = dir_open(dir, err);
	auto_close int fd = -1;
	int n = snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", dir, TEMPORARY_NAME);
	int r;

	if (dirfd < 0)
		return dirfd;
	if (n < 0 || (size_t)n >= sizeof(at.sun_path))
		return tl_fail(err, TL_E_TOKEN_SOCKET, ENAMETOOLONG,
			       "folder '%s' has %zu bytes; a socket in it may have %zu", dir,
			       strlen(dir), sizeof(at.sun_path) - sizeof(TEMPORARY_NAME) - 1);
	r = names_remove(dirfd, dir, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, backlog) < 0)
		return tl_fail_sys(err, TL_E_TOKEN_SOCKET, errno, "listen in '%s'", dir);
	r = mode_set(dirfd, dir, err);
	if (r == 0 && renameat(dirfd, TEMPORARY_NAME, dirfd, TL_TOKEN_SOCKET_NAME) < 0)
		r = tl_fail_sys(err, TL_E_TOKEN_SOCKET, errno, "move the socket into place in '%s'",
				dir);
	if (r < 0) {
		(void)names_remove(dirfd, dir, NULL);
		return r;
	}
	*ret_fd = take_fd(fd);
	return 0;
}
