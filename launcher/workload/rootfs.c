/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "rootfs.h"
#include "user.h"

#define LOWERDIR "lowerdir="
/* mount(2) takes one page of options. */
#define MOUNT_DATA_BYTES_MAX 4095
#define OPEN_ATTEMPTS_MAX    200 /* of openat2(2) */

/* Where the image's layers are; at most one of the two is set. */
struct layers {
	const char *dir;      /* one folder holds everything; borrowed */
	const char *lowerdir; /* "top:...:bottom"; borrowed */
};

/* A fresh snapshot's own writable layer is empty: the layers below it are the image. */
static int layers_of(const struct tl_ctrd_mounts *mounts, struct layers *ret, struct tl_error *err)
{
	const struct tl_ctrd_mount *m = mounts->items;

	if (mounts->n == 1 && strcmp(m->type, "bind") == 0) {
		ret->dir = m->source;
		return 0;
	}
	for (size_t i = 0; mounts->n == 1 && i < m->options.n; i++) {
		const char *option = m->options.items[i];

		if (!tl_str_starts_with(option, LOWERDIR))
			continue;
		option += strlen(LOWERDIR);
		if (strchr(option, ':'))
			ret->lowerdir = option;
		else
			ret->dir = option;
		return 0;
	}
	return tl_fail(err, TL_E_CONTAINER_ROOTFS, EINVAL,
		       "the snapshot has mounts of a kind that isn't understood");
}

/* How many bytes all paths of @lowerdir begin with alike, up to and with a '/'. */
static size_t common_prefix(const char *lowerdir)
{
	size_t common = strcspn(lowerdir, ":");

	for (const char *p = strchr(lowerdir, ':'); p; p = strchr(p + 1, ':')) {
		size_t i = 0;

		while (i < common && p[1 + i] == lowerdir[i])
			i++;
		common = i;
	}
	while (common > 0 && lowerdir[common - 1] != '/')
		common--;
	return common;
}

static int relative_options(const char *lowerdir, size_t prefix, struct tl_buf *ret)
{
	int r = tl_buf_append_str(ret, LOWERDIR);

	for (const char *p = lowerdir; r == 0 && *p;) {
		size_t n = strcspn(p, ":");

		r = tl_buf_append(ret, p + prefix, n - prefix);
		p += n;
		if (r == 0 && *p == ':')
			r = tl_buf_append(ret, p++, 1);
	}
	return r;
}

/*
 * Mount the layers in a mount namespace of this thread alone and open the result: it goes with the
 * thread, and no crash can leave it behind. Paths are relative to the layers' common folder,
 * because the absolute ones of 127 layers wouldn't fit into one page.
 */
static int overlay_open(const char *lowerdir, struct tl_error *err)
{
	auto_buf struct tl_buf options = { 0 };
	auto_free char *dir = strndup(lowerdir, common_prefix(lowerdir));
	int fd;

	tl_buf_init(&options, MOUNT_DATA_BYTES_MAX);
	if (!dir)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's layers");
	if (!*dir || relative_options(lowerdir, strlen(dir), &options) < 0)
		return tl_fail(err, TL_E_CONTAINER_SETUP, E2BIG,
			       "the image has too many layers for one mount");
	if (unshare(CLONE_FS | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "mount namespace");
	if (chdir(dir) < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "'%s'", dir);
	/* Over the folder of the layers itself: it is there, and the mount keeps its layers. */
	if (mount("overlay", dir, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC,
		  tl_buf_str(&options)) < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "mount the image's layers");
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "'%s'", dir) : fd;
}

static int root_open(const struct layers *layers, struct tl_error *err)
{
	int fd;

	if (layers->lowerdir)
		return overlay_open(layers->lowerdir, err);
	fd = open(layers->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "'%s'", layers->dir) : fd;
}

/*
 * With ".." in the way the kernel gives up (EAGAIN) when anything on the machine was renamed or
 * mounted meanwhile: openat2(2).
 */
static int in_root_open(int root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd;

	for (int i = 0; i < OPEN_ATTEMPTS_MAX; i++) {
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
		if (i > OPEN_ATTEMPTS_MAX / 2)
			tl_clock_sleep_ms(1);
	}
	return fd;
}

/* Only a regular file is opened for reading: a FIFO would block, a device may act. */
static int regular_open(int root, const char *path, struct tl_error *err)
{
	auto_close int at = in_root_open(root, path);
	auto_free char *link = NULL;
	struct stat st;
	int fd;

	if (at < 0 && (errno == ENOENT || errno == ENOTDIR))
		return -ENOENT;
	if (at < 0 && (errno == ELOOP || errno == ENAMETOOLONG))
		return tl_fail_sys(err, TL_E_CONTAINER_USER, errno, "the image's /%s", path);
	if (at < 0 || fstat(at, &st) < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "the image's /%s", path);
	if (!S_ISREG(st.st_mode))
		return tl_fail(err, TL_E_CONTAINER_USER, EINVAL,
			       "the image's /%s isn't a regular file", path);
	if (asprintf(&link, "/proc/self/fd/%d", at) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's /%s", path);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "the image's /%s", path)
		      : fd;
}

/* @ret stays NULL when there is no such file. */
static int text_read(int root, const char *path, char **ret, struct tl_error *err)
{
	auto_close int fd = regular_open(root, path, err);
	auto_buf struct tl_buf text = { 0 };
	char part[4096];
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	tl_buf_init(&text, USER_FILE_BYTES_MAX);
	while ((n = read(fd, part, sizeof(part))) > 0)
		if (tl_buf_append(&text, part, (size_t)n) < 0)
			return tl_fail(err, TL_E_CONTAINER_USER, EFBIG,
				       "the image's /%s has more than %d bytes", path,
				       USER_FILE_BYTES_MAX);
	if (n < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_ROOTFS, errno, "the image's /%s", path);
	if (text.len_bytes && memchr(text.data, 0, text.len_bytes))
		return tl_fail(err, TL_E_CONTAINER_USER, EINVAL, "the image's /%s holds a NUL byte",
			       path);
	*ret = strdup(tl_buf_str(&text));
	return *ret ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's /%s", path);
}

struct job {
	const struct layers *layers;
	const char *user;
	struct oci_user resolved;
	struct tl_error err;
	int r;
};

static int job_do(struct job *j)
{
	auto_close int root = root_open(j->layers, &j->err);
	auto_free char *passwd = NULL;
	auto_free char *group = NULL;
	int r;

	if (root < 0)
		return root;
	r = text_read(root, "etc/passwd", &passwd, &j->err);
	if (r == 0)
		r = text_read(root, "etc/group", &group, &j->err);
	return r < 0 ? r : user_resolve(j->user, passwd, group, &j->resolved, &j->err);
}

static void *job_main(void *arg)
{
	struct job *j = arg;

	pthread_setname_np(pthread_self(), "tl-rootfs");
	j->r = job_do(j);
	return NULL;
}

int rootfs_user_resolve(const struct tl_ctrd_mounts *mounts, const char *user, struct oci_user *ret,
			struct tl_error *err)
{
	struct layers layers = { 0 };
	struct job job = { .layers = &layers, .user = user };
	pthread_t thread;
	int r;

	r = layers_of(mounts, &layers, err);
	if (r < 0)
		return r;
	r = pthread_create(&thread, NULL, job_main, &job);
	if (r != 0)
		return tl_fail_sys(err, TL_E_NO_MEMORY, r, "thread tl-rootfs");
	pthread_join(thread, NULL);
	if (job.r < 0) {
		if (err)
			*err = job.err;
		return job.r;
	}
	*ret = job.resolved;
	return 0;
}
