/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

int tl_write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int tl_file_read(const char *path, struct tl_buf *ret, struct tl_error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t before = ret->len_bytes;
	char chunk[4096];

	if (fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "open '%s'", path);
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		int r = 0;

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		else if (tl_buf_append(ret, chunk, (size_t)n) < 0)
			r = -EFBIG;
		if (r < 0) {
			ret->len_bytes = before;
			return tl_fail_sys(err, TL_E_IO, -r, "read '%s'", path);
		}
	}
}

static int write_new(int dirfd, const char *tmp, const void *data, size_t n, mode_t mode)
{
	auto_close int fd = -1;
	int r;

	/* A leftover of a crash, or a link that somebody planted: gone, never followed. */
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = tl_write_all(fd, data, n);
	if (r == 0 && fchmod(fd, mode) < 0) /* whatever the umask says */
		r = -errno;
	return r;
}

int tl_file_replace(int dirfd, const char *name, const void *data, size_t n, mode_t mode,
		    struct tl_error *err)
{
	auto_free char *tmp = NULL;
	int r;

	if (asprintf(&tmp, ".%s.tmp", name) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "name for '%s'", name);
	r = write_new(dirfd, tmp, data, n, mode);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return tl_fail_sys(err, TL_E_IO, -r, "replace '%s'", name);
	}
	return 0;
}

int tl_dir_next(DIR *dir, const struct dirent **ret)
{
	const struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	if (!entry)
		return -errno;
	*ret = entry;
	return 1;
}
