/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#define NOTHING_RUNS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
/* Containers run what lies on containerd's file systems, and runc's own mounts decide the rest. */
#define PROGRAMS_RUN (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* The order of mounting; the first is the file system itself. */
static const struct place {
	size_t path; /* offset in struct disk_record */
	const char *folder;
	unsigned int attributes;
	mode_t mode;
	const char *const flags[4]; /* as mountinfo names them */
} places[] = {
	{ offsetof(struct disk_record, mount_point),
	  "/",
	  NOTHING_RUNS,
	  0,
	  { "rw", "nosuid", "nodev", "noexec" } },
	{ offsetof(struct disk_record, containerd_dir),
	  "/containerd",
	  PROGRAMS_RUN,
	  0711,
	  { "rw", "nosuid", "nodev" } },
	{ offsetof(struct disk_record, scratch_dir),
	  "/scratch",
	  NOTHING_RUNS,
	  01777,
	  { "rw", "nosuid", "nodev", "noexec" } },
};

static const char *path_of(const struct disk_record *r, const struct place *p)
{
	return (const char *)r + p->path;
}

/* The last part of the path may be missing; an image with a read-only root has all of it. */
static int point_make(const char *path, struct tl_error *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "make folder '%s'", path);
	return 0;
}

static int move_to(int fd, const char *path, struct tl_error *err)
{
	if (move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "mount at '%s'", path);
	return 0;
}

static int fs_mount(const struct disk_record *r, struct tl_error *err)
{
	auto_close int fs = fsopen("ext4", FSOPEN_CLOEXEC);
	auto_close int mount = -1;
	char source[64];

	snprintf(source, sizeof(source), "/dev/dm-%u", r->crypt_number.minor);
	/* Inode tables that were never written must not be written now: a background thread would
	 * fill them in, and every block of it costs. */
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_FLAG, "noinit_itable", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "errors", "remount-ro", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "mount the ext4 of '%s'", source);
	mount = fsmount(fs, FSMOUNT_CLOEXEC, places[0].attributes | MOUNT_ATTR_NOATIME);
	if (mount < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "mount the ext4 of '%s'", source);
	return move_to(mount, r->mount_point, err);
}

/* The attributes are set before anybody can see the mount. */
static int folder_show(const struct disk_record *r, const struct place *p, struct tl_error *err)
{
	struct mount_attr attributes = { .attr_set = p->attributes,
					 .attr_clr = NOTHING_RUNS & ~p->attributes };
	auto_close int base = open(r->mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int tree = -1;
	const char *name = p->folder + 1;

	if (base < 0 || (mkdirat(base, name, 0700) < 0 && errno != EEXIST) ||
	    fchmodat(base, name, p->mode, 0) < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "folder '%s' on the disk", name);
	tree = open_tree(base, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "show folder '%s'", name);
	return move_to(tree, path_of(r, p), err);
}

int disk_mount(const struct disk_record *r, struct tl_error *err)
{
	int x = 0;

	for (size_t i = 0; x == 0 && i < TL_ARRAY_SIZE(places); i++) {
		x = point_make(path_of(r, &places[i]), err);
		if (x == 0)
			x = i == 0 ? fs_mount(r, err) : folder_show(r, &places[i], err);
	}
	if (x < 0)
		disk_unmount(r);
	return x;
}

void disk_unmount(const struct disk_record *r)
{
	for (size_t i = TL_ARRAY_SIZE(places); i--;) {
		struct stat st;

		/* Only what lies on the device: elsewhere it is somebody else's mount. */
		if (stat(path_of(r, &places[i]), &st) == 0 &&
		    st.st_dev == makedev(r->crypt_number.major, r->crypt_number.minor))
			(void)umount2(path_of(r, &places[i]), UMOUNT_NOFOLLOW);
	}
}

int disk_mounts_check(const struct disk_record *r, const struct mount_list *mounts,
		      struct tl_error *err)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(places); i++) {
		const char *path = path_of(r, &places[i]);
		const struct mount_entry *m = mount_of_path(mounts, path);

		if (!m || strcmp(m->mount_point, path) != 0 || m->major != r->crypt_number.major ||
		    m->minor != r->crypt_number.minor || strcmp(m->fs_type, "ext4") != 0)
			return tl_fail(err, TL_E_DISK_MOUNT, ENOTSUP,
				       "'%s' isn't mounted from the protected disk", path);
		if (strcmp(m->root, places[i].folder) != 0)
			return tl_fail(err, TL_E_DISK_MOUNT, ENOTSUP,
				       "'%s' shows another folder of the protected disk", path);
		for (size_t f = 0; f < TL_ARRAY_SIZE(places[i].flags); f++)
			if (places[i].flags[f] && !mount_has_option(m->options, places[i].flags[f]))
				return tl_fail(err, TL_E_DISK_MOUNT, ENOTSUP,
					       "'%s' is mounted without '%s'", path,
					       places[i].flags[f]);
		if (!mount_has_option(m->super_options, "rw"))
			return tl_fail(err, TL_E_DISK_MOUNT, EROFS,
				       "the file system of '%s' can't be written", path);
	}
	return 0;
}
