/* SPDX-License-Identifier: Apache-2.0 */
#include "root.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/cmdline.h>
#include <teelaunch/file.h>

#include "disk/dm_device.h"

#define HASH_KEY "roothash"

int root_hash_parse(const char *cmdline, char ret[ROOT_HASH_HEX + 1], struct tl_error *err)
{
	const char *value;
	size_t n;
	int r = tl_cmdline_value(cmdline, HASH_KEY, &value, &n);

	if (r == -ENOENT)
		return tl_fail(err, TL_E_ROOT, ENOENT, "kernel command line: no " HASH_KEY "=");
	if (r < 0)
		return tl_fail(err, TL_E_ROOT, EINVAL,
			       "kernel command line: " HASH_KEY "= is given more than once");
	if (n != ROOT_HASH_HEX || strspn(value, "0123456789abcdef") < n)
		return tl_fail(err, TL_E_ROOT, EINVAL,
			       "kernel command line: " HASH_KEY "=%.*s is no sha256", (int)n,
			       value);
	memcpy(ret, value, n);
	ret[n] = '\0';
	return 0;
}

/* --- the device ----------------------------------------------------------------------------- */

/*
 * Linux, Documentation/admin-guide/device-mapper/verity.rst: version, data device, hash device,
 * block sizes, number of blocks, start of the hashes, algorithm, root hash, salt, number of
 * options, options.
 */
enum { ARG_VERSION = 0, ARG_ALGORITHM = 7, ARG_HASH = 8, ARG_OPTIONS_N = 10, ARG_OPTIONS = 11 };

/*
 * What may be added. Not among them: ignore_corruption and logging, which give out what doesn't
 * match; check_at_most_once, after which the host may change what was read once.
 */
static const struct {
	const char *name;
	size_t words;
} verity_options[] = {
	{ "restart_on_corruption", 1 },
	{ "panic_on_corruption", 1 },
	{ "ignore_zero_blocks", 1 }, /* by their hash these are zeros */
	{ "try_verify_in_tasklet", 1 },
	{ "use_fec_from_device", 2 }, /* what it mends is checked by the hash again */
	{ "fec_blocks", 2 },
	{ "fec_start", 2 },
	{ "fec_roots", 2 },
	{ "root_hash_sig_key_desc", 2 },
};

static size_t option_words(const char *name)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(verity_options); i++)
		if (strcmp(verity_options[i].name, name) == 0)
			return verity_options[i].words;
	return 0;
}

static int options_judge(const struct tl_strv *args, struct tl_error *err)
{
	uint64_t n = 0;

	if (args->n == ARG_OPTIONS_N)
		return 0;
	if (tl_str_parse_u64(args->items[ARG_OPTIONS_N], DM_ARGS_MAX, &n) < 0 ||
	    n != args->n - ARG_OPTIONS)
		return tl_fail(err, TL_E_ROOT, EINVAL, "root: number of dm-verity's options");
	for (size_t i = ARG_OPTIONS; i < args->n;) {
		size_t words = option_words(args->items[i]);

		if (!words || words > args->n - i)
			return tl_fail(err, TL_E_ROOT, EPERM, "root: dm-verity with option '%s'",
				       args->items[i]);
		i += words;
	}
	return 0;
}

int root_table_judge(const struct dm_table *t, const char *hash, struct tl_error *err)
{
	const struct dm_target *target = &t->targets[0];
	const struct tl_strv *args = &target->args;

	if (t->targets_n != 1 || strcmp(target->type, "verity") != 0 || target->start_sectors != 0)
		return tl_fail(err, TL_E_ROOT, EINVAL,
			       "root: device %u:%u ('%s') isn't one dm-verity target", t->major,
			       t->minor, t->name);
	if (!t->is_read_only || t->is_suspended || t->has_inactive)
		return tl_fail(err, TL_E_ROOT, EINVAL,
			       "root: device '%s' is writable, suspended, or about to change",
			       t->name);
	if (args->n < ARG_OPTIONS_N || strcmp(args->items[ARG_VERSION], "1") != 0 ||
	    strcmp(args->items[ARG_ALGORITHM], "sha256") != 0)
		return tl_fail(err, TL_E_ROOT, EINVAL,
			       "root: device '%s' isn't dm-verity version 1 with sha256", t->name);
	if (strcmp(args->items[ARG_HASH], hash) != 0)
		return tl_fail(err, TL_E_ROOT, EINVAL,
			       "root: device '%s' has root hash %s, the command line %s", t->name,
			       args->items[ARG_HASH], hash);
	return options_judge(args, err);
}

int root_status_judge(const char *status, struct tl_error *err)
{
	if (*status != 'V' || (status[1] && status[1] != ' '))
		return tl_fail(err, TL_E_ROOT, EBADMSG,
			       "root: a block didn't match its hash (dm-verity says '%s')", status);
	return 0;
}

/* --- the mounts ----------------------------------------------------------------------------- */

/*
 * Where programs, libraries, units and configuration are. Nothing may be mounted at or below them:
 * a program or a trust store of somebody else's would be run or believed as if it were measured.
 */
static const char *const code[] = { "/usr",   "/etc",   "/bin", "/sbin", "/lib",
				    "/lib32", "/lib64", "/opt", "/boot", "/init" };

/* systemd shows its identifier there where /etc is read-only: 32 digits that nothing runs. */
#define MACHINE_ID "/etc/machine-id"

/*
 * What must be what it is named after. The kernel's own words are read from /proc and /sys and
 * devices are opened in /dev; tokens and the launcher's state lie in /run and /tmp, which must be
 * memory.
 */
static const struct {
	const char *path, *fs_type;
} kinds[] = {
	{ "/proc", "proc" },
	{ "/proc/cmdline", "proc" },
	{ "/proc/1", "proc" },
	{ "/sys", "sysfs" },
	{ "/sys/kernel/security", "securityfs" },
	{ "/dev", "devtmpfs" },
	{ "/run", "tmpfs" },
	{ "/tmp", "tmpfs" },
};

/*
 * File systems without a block device: the kernel's own, memory, and the views that containerd
 * makes of the protected disk. Those that a network, the host (9p, virtiofs) or another process
 * (fuse) fills aren't among them.
 */
static const char *const own[] = {
	"autofs",     "binfmt_misc", "bpf",      "cgroup",   "cgroup2", "configfs",
	"debugfs",    "devpts",      "devtmpfs", "efivarfs", "fusectl", "hugetlbfs",
	"mqueue",     "nsfs",        "overlay",  "proc",     "pstore",  "ramfs",
	"securityfs", "sysfs",       "tmpfs",    "tracefs",
};

static bool is_at_or_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool is_own(const char *fs_type)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(own); i++)
		if (strcmp(own[i], fs_type) == 0)
			return true;
	return false;
}

/* @root: of device-mapper, so its major number is device-mapper's. Which of those devices may be
 * mounted where is the stage "disk"'s to judge; no other disk may be. */
static int mount_judge(const struct mount_entry *m, const struct mount_entry *root,
		       struct tl_error *err)
{
	if (m == root)
		return 0;
	for (size_t i = 0; i < TL_ARRAY_SIZE(code); i++)
		if (is_at_or_below(m->mount_point, code[i]) &&
		    strcmp(m->mount_point, MACHINE_ID) != 0)
			return tl_fail(err, TL_E_MOUNTS, EPERM,
				       "'%s' (%s) is mounted at '%s', where only the root may be",
				       m->source, m->fs_type, m->mount_point);
	if (m->major == 0 ? !is_own(m->fs_type) : m->major != root->major)
		return tl_fail(err, TL_E_MOUNTS, EPERM,
			       "'%s' (%s, device %u:%u) is mounted at '%s': not this machine's own",
			       m->source, m->fs_type, m->major, m->minor, m->mount_point);
	return 0;
}

int root_mounts_judge(const struct mount_list *mounts, struct tl_error *err)
{
	const struct mount_entry *root = mount_of_path(mounts, "/");
	int r = 0;

	if (!root || strcmp(root->root, "/") != 0 || !mount_has_option(root->super_options, "ro") ||
	    !mount_has_option(root->options, "ro"))
		return tl_fail(err, TL_E_MOUNTS, EPERM, "the root file system isn't read-only");
	for (size_t i = 0; r == 0 && i < mounts->n; i++)
		r = mount_judge(&mounts->items[i], root, err);
	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(kinds); i++) {
		const struct mount_entry *m = mount_of_path(mounts, kinds[i].path);

		if (!m || strcmp(m->fs_type, kinds[i].fs_type) != 0)
			r = tl_fail(err, TL_E_MOUNTS, EPERM, "'%s' is %s, not %s", kinds[i].path,
				    m ? m->fs_type : "nothing", kinds[i].fs_type);
	}
	return r;
}

/* --- the whole ------------------------------------------------------------------------------ */

int root_mounts_read(struct mount_list *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r;

	tl_buf_init(&text, MOUNTINFO_MAX);
	r = tl_file_read("/proc/1/mountinfo", &text, NULL);
	if (r < 0)
		return tl_fail_sys(err, TL_E_MACHINE_FACTS, -r, "read '/proc/1/mountinfo'");
	return mountinfo_parse(tl_buf_str(&text), ret, err);
}

int root_check(const char *cmdline, const struct mount_list *mounts,
	       char ret_hash[ROOT_HASH_HEX + 1], struct tl_error *err)
{
	const struct mount_entry *root = mount_of_path(mounts, "/");
	auto_dm_table struct dm_table table = { 0 };
	char hash[ROOT_HASH_HEX + 1], status[DM_DEVICE_PARAMS_MAX];
	struct tl_error why = { 0 };
	int r = root_hash_parse(cmdline, hash, err);

	if (r == 0 && !root)
		r = tl_fail(err, TL_E_MOUNTS, EINVAL, "no root file system");
	if (r == 0 && dm_table_read(makedev(root->major, root->minor), &table, err) < 0)
		r = tl_fail(err, TL_E_ROOT, EINVAL,
			    "root: %s of '%s' is on device %u:%u, which isn't device-mapper's",
			    root->fs_type, root->source, root->major, root->minor);
	if (r == 0)
		r = root_table_judge(&table, hash, err);
	if (r == 0 && dm_device_status(table.name, sizeof(status), status, &why) < 0)
		r = tl_fail(err, TL_E_ROOT, EIO, "root: %s", why.msg);
	if (r == 0)
		r = root_status_judge(status, err);
	if (r == 0)
		r = root_mounts_judge(mounts, err);
	if (r == 0)
		memcpy(ret_hash, hash, sizeof(hash));
	return r;
}
