/* SPDX-License-Identifier: Apache-2.0 */
#include "teeverifierd_decisions.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void decisions_done(struct decisions *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

int decisions_open(const char *path, int *ret, struct tl_error *err)
{
	int fd = strcmp(path, "-") == 0
			 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
			 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "--decision-log '%s'", path);
	*ret = fd;
	return 0;
}

static bool is_same_file(int a, int b)
{
	struct stat x, y;

	return a >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

void decisions_use(struct decisions *d, int consume_fd)
{
	pthread_mutex_lock(&d->lock);
	if (!is_same_file(d->fd, consume_fd))
		d->is_torn = false;
	decisions_done(d);
	d->fd = consume_fd;
	pthread_mutex_unlock(&d->lock);
}

/* As much as will go; errno says why not all of it. */
static size_t part_write(int fd, const char *text, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t w = write(fd, text + done, n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			break;
		done += (size_t)w;
	}
	return done;
}

static int line_write(struct decisions *d, const char *line, struct tl_error *err)
{
	size_t n = strlen(line), done;

	if (d->is_torn && part_write(d->fd, "\n", 1) != 1)
		return tl_fail_sys(err, TL_E_IO, errno,
				   "behind a part of a line, which can't be ended");
	d->is_torn = false;
	done = part_write(d->fd, line, n);
	if (done == n)
		return 0;
	d->is_torn = done > 0;
	return tl_fail_sys(err, TL_E_IO, errno, "%zu of %zu bytes of it are in the file", done, n);
}

int decisions_write(struct decisions *d, const char *line, struct tl_error *err)
{
	int r = 0;

	pthread_mutex_lock(&d->lock);
	if (d->fd >= 0)
		r = line ? line_write(d, line, err)
			 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a decision line");
	pthread_mutex_unlock(&d->lock);
	return r;
}
