/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only program of the initial RAM disk: loads the modules that lie beside it, opens the root
 * partition under dm-verity with the root hash of the measured command line, and makes it the root.
 *
 * Nothing found on a disk is believed. A partition is chosen by a name that anybody may have
 * written; it is the hash tree that decides whether a block of it is read, and the root of that
 * tree is in the measured command line. There is no shell here, and no way on after a failure: one
 * line on the console, then the machine is switched off.
 *
 * Linked statically, and with nothing of the project: what runs before the root is verified should
 * be small enough to be read in one go.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CMDLINE_MAX 4096
#define UEVENT_MAX  1024
#define HASH_HEX    64
/* Of a sha256 hash tree without salt over blocks of 4096 bytes: how the image was built. */
#define BLOCK_BYTES       4096
#define SECTORS_PER_BLOCK (BLOCK_BYTES / 512)
/* 16 TiB: no overflow in sectors, and more than any image. */
#define BLOCKS_MAX (UINT64_C(1) << 32)
/* A disk that a cloud attaches late has come by then. */
#define FIND_TRIES    1500
#define FIND_PAUSE_NS 20000000
/* "root-" and so many digits of the root hash: all that a GPT name, 36 characters, has room for. */
#define NAME_HASH_DIGITS 30

#define SYSROOT "/sysroot"
#define MODULES "/modules"

struct root {
	char hash[HASH_HEX + 1];
	uint64_t blocks;
	char device[PATH_MAX]; /* the partition: "/dev/..." */
};

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	struct timespec now = { 0 };
	va_list ap;

	clock_gettime(CLOCK_MONOTONIC, &now);
	dprintf(STDERR_FILENO, "[%5lld.%06ld] init: ", (long long)now.tv_sec, now.tv_nsec / 1000);
	va_start(ap, fmt);
	vdprintf(STDERR_FILENO, fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "\r\n");
}

/* Says what failed and why, if errno knows; for use in a return statement. */
static int failed(const char *what, const char *name)
{
	say("%s %s: %s", what, name, strerror(errno));
	return -1;
}

static int mount_at(const char *type, const char *where, unsigned long flags, const char *options)
{
	if (mkdir(where, 0755) < 0 && errno != EEXIST)
		return failed("cannot make", where);
	if (mount(type, where, type, flags, options) < 0)
		return failed("cannot mount", where);
	return 0;
}

/* The kernel opens a console for its first process only where the initial RAM disk has the node. */
static int console_open(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
	return 0;
}

static int file_read(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	while (used < size - 1) {
		n = read(fd, ret + used, size - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	if (n < 0)
		return -1;
	ret[used] = '\0';
	return 0;
}

/* A key on the serial line must not reach the kernel's emergency keys: that line is the host's. */
static int sysrq_off(void)
{
	int fd = open("/proc/sys/kernel/sysrq", O_WRONLY | O_CLOEXEC);
	bool is_written = fd >= 0 && write(fd, "0\n", 2) == 2;

	if (fd >= 0)
		close(fd);
	return is_written ? 0 : failed("cannot write", "/proc/sys/kernel/sysrq");
}

static int file_systems_mount(void)
{
	if (mount_at("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755") < 0)
		return -1;
	if (console_open() < 0)
		return -1;
	if (mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -1;
	return mount_at("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static int module_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long r;

	if (fd < 0)
		return failed("cannot open", path);
	r = syscall(SYS_finit_module, fd, "", 0);
	if (r < 0 && errno == EEXIST)
		r = 0;
	if (r < 0)
		failed("cannot load", path);
	close(fd);
	/* Loaded or fatal: either way its memory is better used. */
	unlink(path);
	return (int)r;
}

static int is_module(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The names begin with a number: the order of their dependences, made by the build. */
static int modules_load(void)
{
	struct dirent **entries = NULL;
	int n = scandir(MODULES, &entries, is_module, alphasort);
	int r = n < 0 ? failed("cannot read", MODULES) : 0;

	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), MODULES "/%s", entries[i]->d_name);
		if (r == 0)
			r = module_load(path);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int hash_parse(const char *value, struct root *root)
{
	size_t n = strspn(value, "0123456789abcdef");

	if (n != HASH_HEX || value[n])
		return -1;
	memcpy(root->hash, value, HASH_HEX + 1);
	return 0;
}

static int blocks_parse(const char *value, struct root *root)
{
	root->blocks = 0;
	for (; *value >= '0' && *value <= '9' && root->blocks < BLOCKS_MAX; value++)
		root->blocks = root->blocks * 10 + (uint64_t)(*value - '0');
	return *value || root->blocks == 0 || root->blocks >= BLOCKS_MAX ? -1 : 0;
}

/* Each exactly once: of two, which one was meant? */
static int cmdline_parse(struct root *root)
{
	static const struct {
		const char *name;
		int (*parse)(const char *value, struct root *root);
	} wanted[] = {
		{ "roothash=", hash_parse },
		{ "teelaunch.root_blocks=", blocks_parse },
	};
	char text[CMDLINE_MAX], *rest = text, *word;
	int seen[2] = { 0 };

	if (file_read("/proc/cmdline", text, sizeof(text)) < 0)
		return failed("cannot read", "/proc/cmdline");
	text[strcspn(text, "\n")] = '\0';
	while ((word = strsep(&rest, " "))) {
		for (size_t i = 0; i < 2; i++) {
			size_t n = strlen(wanted[i].name);

			if (strncmp(word, wanted[i].name, n) != 0)
				continue;
			seen[i]++;
			if (wanted[i].parse(word + n, root) < 0)
				seen[i] = 2;
		}
	}
	for (size_t i = 0; i < 2; i++) {
		if (seen[i] == 1)
			continue;
		say("the command line must have %s once, with a proper value", wanted[i].name);
		return -1;
	}
	return 0;
}

/* Whether the partition's uevent has a line "PARTNAME=@name"; its DEVNAME then goes to @ret. */
static bool partition_is(const char *block, const char *name, char *ret, size_t size)
{
	char path[PATH_MAX], text[UEVENT_MAX], *rest = text, *line;
	const char *device = NULL;
	bool is_named = false;

	snprintf(path, sizeof(path), "/sys/class/block/%s/uevent", block);
	if (file_read(path, text, sizeof(text)) < 0)
		return false;
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, "DEVNAME=", 8) == 0)
			device = line + 8;
		if (strncmp(line, "PARTNAME=", 9) == 0)
			is_named = strcmp(line + 9, name) == 0;
	}
	if (!is_named || !device || strchr(device, '/'))
		return false;
	snprintf(ret, size, "/dev/%s", device);
	return true;
}

/* In the order of names, so that two boots with the same disks take the same one. */
static bool root_look(const char *name, struct root *root)
{
	struct dirent **entries = NULL;
	int n = scandir("/sys/class/block", &entries, is_module, alphasort);
	bool is_found = false;

	for (int i = 0; i < n; i++) {
		if (!is_found)
			is_found = partition_is(entries[i]->d_name, name, root->device,
						sizeof(root->device));
		free(entries[i]);
	}
	free(entries);
	return is_found;
}

static int root_find(struct root *root)
{
	const struct timespec pause = { .tv_nsec = FIND_PAUSE_NS };
	char name[sizeof("root-") + NAME_HASH_DIGITS];

	snprintf(name, sizeof(name), "root-%.*s", NAME_HASH_DIGITS, root->hash);
	for (int i = 0; i < FIND_TRIES; i++) {
		if (root_look(name, root))
			return 0;
		nanosleep(&pause, NULL);
	}
	say("no disk has a partition with the name %s", name);
	return -1;
}

/* One request of the device mapper's control device, with a table of one line at most. */
struct request {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char parameters[2 * PATH_MAX + 256];
};

static int dm_request(int control, unsigned long call, const char *name, struct request *q)
{
	q->head.version[0] = DM_VERSION_MAJOR;
	q->head.data_size = sizeof(*q);
	q->head.data_start = offsetof(struct request, target);
	snprintf(q->head.name, sizeof(q->head.name), "root");
	if (ioctl(control, call, q) < 0)
		return failed("device mapper:", name);
	return 0;
}

/*
 * The hash tree begins where the data ends, on the same partition. A corrupt block restarts the
 * machine at once: a caller that got an error for it could be made to go on without.
 */
static int verity_load(int control, const struct root *root, struct request *q)
{
	*q = (struct request){ .head = { .target_count = 1, .flags = DM_READONLY_FLAG } };
	q->target.length = root->blocks * SECTORS_PER_BLOCK;
	snprintf(q->target.target_type, sizeof(q->target.target_type), "verity");
	snprintf(q->parameters, sizeof(q->parameters),
		 "1 %s %s %d %d %" PRIu64 " %" PRIu64 " sha256 %s - 1 restart_on_corruption",
		 root->device, root->device, BLOCK_BYTES, BLOCK_BYTES, root->blocks, root->blocks,
		 root->hash);
	return dm_request(control, DM_TABLE_LOAD, "load", q);
}

static int verity_open(const struct root *root, char *ret_device, size_t size)
{
	int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	struct request q = { 0 };
	int r;

	if (control < 0)
		return failed("cannot open", "/dev/mapper/control");
	/* As systemd and libcryptsetup name such a device, so that tools know it. */
	snprintf(q.head.uuid, sizeof(q.head.uuid), "CRYPT-VERITY-%.32s-root", root->hash);
	r = dm_request(control, DM_DEV_CREATE, "create", &q);
	if (r == 0)
		r = verity_load(control, root, &q);
	if (r == 0) {
		q = (struct request){ .head = { .flags = DM_READONLY_FLAG } };
		r = dm_request(control, DM_DEV_SUSPEND, "resume", &q);
	}
	snprintf(ret_device, size, "/dev/dm-%u", minor((dev_t)q.head.dev));
	close(control);
	return r;
}

static int root_mount(const char *device)
{
	if (mkdir(SYSROOT, 0755) < 0 && errno != EEXIST)
		return failed("cannot make", SYSROOT);
	if (mount(device, SYSROOT, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return failed("cannot mount", device);
	return 0;
}

/* As switch_root(8) does; nothing is left behind but this program, which is being replaced. */
static int root_switch(void)
{
	static const char *const moved[] = { "/dev", "/proc", "/sys" };
	static char name[] = "/sbin/init", terminal[] = "TERM=vt220";
	char *const argv[] = { name, NULL };
	/* What the kernel made of words of the command line isn't passed on. */
	char *const environment[] = { terminal, NULL };

	for (size_t i = 0; i < sizeof(moved) / sizeof(*moved); i++) {
		char to[64];

		snprintf(to, sizeof(to), SYSROOT "%s", moved[i]);
		if (mount(moved[i], to, NULL, MS_MOVE, NULL) < 0)
			return failed("cannot move", moved[i]);
	}
	if (unlink("/init") < 0 || chdir(SYSROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return failed("cannot switch to", SYSROOT);
	execve("/usr/lib/systemd/systemd", argv, environment);
	return failed("cannot run", "/usr/lib/systemd/systemd");
}

static int boot(void)
{
	char device[PATH_MAX];
	struct root root = { 0 };

	umask(0022);
	if (file_systems_mount() < 0 || sysrq_off() < 0)
		return -1;
	say("started");
	if (cmdline_parse(&root) < 0 || modules_load() < 0 || root_find(&root) < 0)
		return -1;
	say("root is %s, hash %.16s...", root.device, root.hash);
	if (verity_open(&root, device, sizeof(device)) < 0 || root_mount(device) < 0)
		return -1;
	say("root mounted");
	return root_switch();
}

int main(void)
{
	const struct timespec pause = { .tv_sec = 1 };

	if (getpid() != 1) {
		fputs("init: only for the initial RAM disk\n", stderr);
		return 1;
	}
	boot();
	say("switching off");
	/* A serial line is slow, and what it hasn't sent is lost. */
	tcdrain(STDERR_FILENO);
	nanosleep(&pause, NULL);
	reboot(RB_POWER_OFF);
	return 1;
}
