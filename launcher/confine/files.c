/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                      \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                             \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_FIFO |                              \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK)
/* What is for no one anywhere, beside those: device files, links, and running a file. */
#define NEVER                                                                                      \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                               \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* The kernel takes only these for what is no directory. */
#define OF_A_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

/* From the second ABI on, moving between folders can be allowed; before, it never is. */
#define ABI_OF_REFER 2

/*
 * Read late: libraries (TPM interfaces, OpenSSL's providers), name services and trust stores, the
 * processes and groups of the workload, sysfs. Written: nothing of the machine but what configfs
 * and sysfs have for evidence of the processor. No name of a user's, no image's file, no disk.
 */
static const struct confine_place system_places[] = {
	{ .path = "/usr" },
	{ .path = "/lib" },
	{ .path = "/lib64" },
	{ .path = "/etc" },
	{ .path = "/proc" },
	{ .path = "/sys" },
	{ .path = "/run/systemd" },
	{ .path = "/dev/urandom" },
	{ .path = "/dev/random" },
	{ .path = "/dev/null", .is_writable = true },
	{ .path = "/sys/kernel/config/tsm", .is_writable = true },
	{ .path = "/sys/class/misc/tdx_guest", .is_writable = true },
	/* Where descriptors lead is opened anew to be written without waiting (workload/sink.c). */
	{ .path = "/proc/self/fd/0", .is_writable = true },
	{ .path = "/proc/self/fd/1", .is_writable = true },
	{ .path = "/proc/self/fd/2", .is_writable = true },
#ifdef TL_CONFINE_REPORTS
	/* Counters of coverage, findings of a sanitizer: not in a build that anybody runs. */
	{ .path = TL_CONFINE_REPORTS, .is_writable = true },
#endif
};

static int fail(struct tl_error *err, int errnum, const char *path)
{
	return tl_fail_sys(err, TL_E_CONFINE, errnum, "Landlock: rule for '%s'", path);
}

static int rule_add(int rules_fd, const struct confine_place *place, struct tl_error *err)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = place->is_writable ? READ | WRITE : READ,
	};
	auto_close int fd = open(place->path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return place->is_required ? fail(err, errno, place->path) : 0;
	if (fstat(fd, &st) < 0)
		return fail(err, errno, place->path);
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= OF_A_FILE;
	rule.parent_fd = fd;
	/* EBADFD: a pipe or a socket, which Landlock leaves alone. */
	if (syscall(SYS_landlock_add_rule, rules_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 &&
	    errno != EBADFD)
		return fail(err, errno, place->path);
	return 0;
}

/* The folder of the file that /etc/resolv.conf is a link to: whoever writes it puts another in its
 * place. */
static int resolver_add(int rules_fd, struct tl_error *err)
{
	auto_free char *path = realpath("/etc/resolv.conf", NULL);
	char *slash = path ? strrchr(path, '/') : NULL;

	if (!slash || slash == path)
		return 0;
	*slash = '\0';
	return rule_add(rules_fd, &(struct confine_place){ .path = path }, err);
}

static int places_add(int rules_fd, const struct confine_place *places, size_t n,
		      struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = rule_add(rules_fd, &places[i], err);
	return r;
}

/* Negative: none. */
static int abi_find(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int files_rules_make(const struct confine_place *places, size_t n, int *ret_fd, int *ret_abi,
		     struct tl_error *err)
{
	struct landlock_ruleset_attr rules = { .handled_access_fs = READ | WRITE | NEVER };
	auto_close int fd = -1;
	int abi = abi_find();
	int r;

	if (abi < 1) {
		*ret_fd = -1;
		*ret_abi = 0;
		return 0;
	}
	if (abi >= ABI_OF_REFER)
		rules.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd < 0)
		return tl_fail_sys(err, TL_E_CONFINE, errno, "Landlock: rules");
	r = places_add(fd, system_places, TL_ARRAY_SIZE(system_places), err);
	if (r == 0)
		r = resolver_add(fd, err);
	if (r == 0)
		r = places_add(fd, places, n, err);
	if (r < 0)
		return r;
	*ret_fd = take_fd(fd);
	*ret_abi = abi;
	return 0;
}

int files_restrict(int rules_fd)
{
	return syscall(SYS_landlock_restrict_self, rules_fd, 0) < 0 ? -errno : 0;
}
