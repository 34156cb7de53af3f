/* SPDX-License-Identifier: Apache-2.0 */
#include "dm_device.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <teelaunch/cleanup.h>

/* udev's rules for dm read these flags from the event; the library makes no node of its own. */
#define UDEV_FLAGS                                                                                 \
	(DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG |                  \
	 DM_UDEV_DISABLE_OTHER_RULES_FLAG | DM_UDEV_DISABLE_LIBRARY_FALLBACK)

static void task_freep(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}
#define auto_task __attribute__((cleanup(task_freep)))

/* The library would print to standard error what comes back as an error anyway. */
static void log_nothing(int level, const char *file, int line, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
static void log_nothing(int level, const char *file, int line, int errnum, const char *fmt, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)errnum;
	(void)fmt;
}

static struct dm_task *task_new(int type, const char *name)
{
	struct dm_task *task;
	uint32_t cookie = 0;

	dm_log_with_errno_init(log_nothing);
	dm_udev_set_sync_support(0); /* nothing here waits for udev, which may not even run */
	task = dm_task_create(type);
	if (!task)
		return NULL;
	if (dm_task_set_name(task, name) &&
	    (type == DM_DEVICE_STATUS || dm_task_set_cookie(task, &cookie, UDEV_FLAGS)))
		return task;
	dm_task_destroy(task);
	return NULL;
}

static int task_run(struct dm_task *task)
{
	int errnum;

	if (dm_task_run(task))
		return 0;
	errnum = dm_task_get_errno(task);
	return errnum > 0 ? -errnum : -EIO;
}

/* What the device below does is no refusal of the kernel's. */
static enum tl_code code_of(int r)
{
	if (r == -EBUSY || r == -EEXIST)
		return TL_E_DISK_BUSY;
	return r == -EIO ? TL_E_DISK_IO : TL_E_DISK_SETUP;
}

int dm_device_create(const char *name, uint64_t sectors, const char *type, const char *params,
		     dev_t *ret, struct tl_error *err)
{
	auto_task struct dm_task *task = task_new(DM_DEVICE_CREATE, name);
	struct dm_info info = { 0 };
	int r;

	if (!task || !dm_task_add_target(task, 0, sectors, type, params))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "device '%s'", name);
	r = task_run(task);
	if (r < 0)
		return tl_fail_sys(err, code_of(r), -r,
				   "set up '%s' (%s; the kernel's log says more)", name, type);
	if (!dm_task_get_info(task, &info) || !info.exists)
		return tl_fail(err, TL_E_DISK_SETUP, EIO, "'%s' is gone at once", name);
	*ret = makedev(info.major, info.minor);
	return 0;
}

int dm_device_remove(const char *name, struct tl_error *err)
{
	auto_task struct dm_task *task = task_new(DM_DEVICE_REMOVE, name);
	int r;

	if (!task || !dm_task_retry_remove(task))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "remove device '%s'", name);
	r = task_run(task);
	return r < 0 ? tl_fail_sys(err, TL_E_DISK_SETUP, -r, "remove device '%s'", name) : 0;
}

int dm_device_status(const char *name, size_t max_bytes, char *ret, struct tl_error *err)
{
	auto_task struct dm_task *task = task_new(DM_DEVICE_STATUS, name);
	char *type = NULL, *params = NULL;
	uint64_t start, length;
	int r;

	if (!task)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "status of device '%s'", name);
	r = task_run(task);
	if (r < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, -r, "status of device '%s'", name);
	(void)dm_get_next_target(task, NULL, &start, &length, &type, &params);
	if (!params || strlen(params) >= max_bytes)
		return tl_fail(err, TL_E_DISK_SETUP, EBADMSG, "status of device '%s'", name);
	memcpy(ret, params, strlen(params) + 1);
	return 0;
}
