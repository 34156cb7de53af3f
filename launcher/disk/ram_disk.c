/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libkmod.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#define MODULE "brd"
#define PATH   "/dev/ram0"

static void kmod_freep(struct kmod_ctx **ctx)
{
	if (*ctx)
		kmod_unref(*ctx);
}
#define auto_kmod __attribute__((cleanup(kmod_freep)))

static void module_freep(struct kmod_module **m)
{
	if (*m)
		kmod_module_unref(*m);
}
#define auto_module __attribute__((cleanup(module_freep)))

static void log_nothing(void *data, int priority, const char *file, int line, const char *fn,
			const char *format, va_list args)
{
	(void)data;
	(void)priority;
	(void)file;
	(void)line;
	(void)fn;
	(void)format;
	(void)args;
}

static int module_find(struct kmod_ctx *ctx, struct kmod_module **ret)
{
	return ctx ? kmod_module_new_from_name(ctx, MODULE, ret) : -ENOMEM;
}

/* No configuration is read: /etc/modprobe.d has no say in where tags live. */
static struct kmod_ctx *kmod_open(void)
{
	static const char *const no_config = NULL;
	struct kmod_ctx *ctx = kmod_new(NULL, &no_config);

	if (ctx) /* what fails comes back as an error */
		kmod_set_log_fn(ctx, log_nothing, NULL);
	return ctx;
}

static int probe(uint64_t bytes)
{
	auto_kmod struct kmod_ctx *ctx = kmod_open();
	auto_module struct kmod_module *m = NULL;
	char options[64];
	int r = module_find(ctx, &m);

	if (r < 0)
		return r;
	/* -EBUSY: it is used, and perhaps large enough. -ENOENT: it wasn't loaded. */
	(void)kmod_module_remove_module(m, 0);
	snprintf(options, sizeof(options), "rd_nr=1 rd_size=%" PRIu64, (bytes + 1023) / 1024);
	r = kmod_module_probe_insert_module(m, 0, options, NULL, NULL, NULL);
	return r;
}

/* Not in use by anybody, as tags of two devices in one place would be none. */
static int judge(uint64_t bytes, dev_t *ret, struct tl_error *err)
{
	auto_close int fd = open(PATH, O_RDWR | O_EXCL | O_CLOEXEC);
	uint64_t have = 0;
	struct stat st;

	if (fd < 0)
		return tl_fail_sys(err, errno == EBUSY ? TL_E_DISK_BUSY : TL_E_DISK_SETUP, errno,
				   "open the ram disk '%s'", PATH);
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || ioctl(fd, BLKGETSIZE64, &have) < 0)
		return tl_fail(err, TL_E_DISK_SETUP, ENOTBLK, "'%s' is no ram disk", PATH);
	if (have < bytes)
		return tl_fail(err, TL_E_DISK_BUSY, ENOSPC,
			       "'%s' has %" PRIu64 " bytes, the tags need %" PRIu64, PATH, have,
			       bytes);
	*ret = st.st_rdev;
	return 0;
}

int ram_disk_load(uint64_t bytes, dev_t *ret, struct tl_error *err)
{
	int r = probe(bytes);

	if (r < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, -r, "load the module '%s'", MODULE);
	return judge(bytes, ret, err);
}

void ram_disk_unload(void)
{
	auto_kmod struct kmod_ctx *ctx = kmod_open();
	auto_module struct kmod_module *m = NULL;

	if (module_find(ctx, &m) == 0)
		(void)kmod_module_remove_module(m, 0);
}
