/* SPDX-License-Identifier: Apache-2.0 */
#include "dm_table.h"

#include <errno.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <teelaunch/cleanup.h>

void dm_table_done(struct dm_table *t)
{
	for (size_t i = 0; i < t->targets_n; i++)
		tl_strv_done(&t->targets[i].args);
	*t = (struct dm_table){ 0 };
}

/*
 * Where a table states key material. Linux, Documentation/admin-guide/device-mapper: dm-crypt's
 * second word is the key, or ":SIZE:TYPE:DESCRIPTION" of one in a keyring, or "-"; dm-integrity's
 * hashes and ciphers are NAME:ALGORITHM[:KEY].
 */
static bool is_key(const char *type, size_t i, const char *word, size_t n)
{
	return strcmp(type, "crypt") == 0 && i == 1 && *word != ':' && !(n == 1 && *word == '-');
}

static size_t public_length(const char *type, const char *word, size_t n)
{
	static const char *const keyed[] = { "internal_hash:", "journal_crypt:", "journal_mac:" };

	if (strcmp(type, "integrity") != 0)
		return n;
	for (size_t i = 0; i < TL_ARRAY_SIZE(keyed); i++) {
		const char *colon;

		if (!tl_str_starts_with(word, keyed[i]))
			continue;
		colon = memchr(word + strlen(keyed[i]), ':', n - strlen(keyed[i]));
		return colon ? (size_t)(colon + 1 - word) : n;
	}
	return n;
}

static int word_add(const char *type, const char *word, size_t n, struct tl_strv *args)
{
	size_t shown = is_key(type, args->n, word, n) ? 0 : public_length(type, word, n);

	if (args->n == DM_ARGS_MAX)
		return -E2BIG;
	if (shown == n)
		return tl_strv_add_len(args, word, n);
	return tl_strv_printf(args, "%.*s" DM_SECRET, (int)shown, word);
}

int dm_target_parse(const char *type, uint64_t start_sectors, uint64_t length_sectors,
		    const char *params, struct dm_target *ret)
{
	struct dm_target target = { .start_sectors = start_sectors,
				    .length_sectors = length_sectors };
	auto_strv struct tl_strv args = { 0 };
	int r = 0;

	if (!*type || strlen(type) >= sizeof(target.type))
		return -EINVAL;
	memcpy(target.type, type, strlen(type) + 1);
	for (const char *p = params + strspn(params, " "); r == 0 && *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		r = word_add(type, p, n, &args);
		p += n;
	}
	if (r < 0)
		return r;
	target.args = args;
	args = (struct tl_strv){ 0 };
	*ret = target;
	return 0;
}

static void task_freep(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}
#define auto_task __attribute__((cleanup(task_freep)))

static int text_copy(const char *from, char ret[DM_NAME_BYTES])
{
	size_t n = from ? strlen(from) : 0;

	if (n >= DM_NAME_BYTES)
		return -EINVAL;
	memcpy(ret, n ? from : "", n + 1);
	return 0;
}

static int targets_collect(struct dm_task *task, struct dm_table *t)
{
	uint64_t start, length;
	char *type, *params;
	void *next = NULL;
	int r;

	do {
		type = params = NULL;
		next = dm_get_next_target(task, next, &start, &length, &type, &params);
		if (!type)
			break; /* a device without a table */
		if (t->targets_n == DM_TARGETS_MAX)
			return -E2BIG;
		r = dm_target_parse(type, start, length, params ? params : "",
				    &t->targets[t->targets_n]);
		if (r < 0)
			return r;
		t->targets_n++;
	} while (next);
	return 0;
}

static int answer_read(struct dm_task *task, struct dm_table *ret)
{
	auto_dm_table struct dm_table t = { 0 };
	struct dm_info info = { 0 };
	int r;

	if (!dm_task_get_info(task, &info))
		return -EIO;
	if (!info.exists)
		return -ENXIO;
	t.major = info.major;
	t.minor = info.minor;
	t.is_read_only = info.read_only;
	t.is_suspended = info.suspended;
	t.has_inactive = info.inactive_table;
	r = text_copy(dm_task_get_name(task), t.name);
	if (r == 0)
		r = text_copy(dm_task_get_uuid(task), t.uuid);
	if (r == 0)
		r = targets_collect(task, &t);
	if (r < 0)
		return r;
	*ret = t;
	t = (struct dm_table){ 0 };
	return 0;
}

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

/* Either by @name, or by @dev where that is NULL. */
static int task_run(const char *name, dev_t dev, struct dm_table *ret)
{
	auto_task struct dm_task *task = NULL;
	int errnum;

	dm_log_with_errno_init(log_nothing);
	task = dm_task_create(DM_DEVICE_TABLE);
	/* secure_data: the kernel and the library wipe what they held of the table. */
	if (!task || !dm_task_secure_data(task))
		return -ENOMEM;
	if (name ? !dm_task_set_name(task, name)
		 : !dm_task_set_major_minor(task, (int)major(dev), (int)minor(dev), 0))
		return -EINVAL;
	if (!dm_task_run(task)) {
		errnum = dm_task_get_errno(task);
		return errnum > 0 ? -errnum : -EIO;
	}
	return answer_read(task, ret);
}

int dm_table_read(dev_t dev, struct dm_table *ret, struct tl_error *err)
{
	struct dm_table t = { 0 };
	int r = task_run(NULL, dev, &t);

	if (r == 0 && makedev(t.major, t.minor) != dev) {
		dm_table_done(&t);
		r = -ESTALE;
	}
	if (r < 0)
		return tl_fail_sys(err, TL_E_DM_TABLE, -r, "device-mapper table of device %u:%u",
				   major(dev), minor(dev));
	*ret = t;
	return 0;
}

int dm_table_read_name(const char *name, struct dm_table *ret, struct tl_error *err)
{
	int r = task_run(name, 0, ret);

	if (r < 0)
		return tl_fail_sys(err, TL_E_DM_TABLE, -r, "device-mapper table of '%s'", name);
	return 0;
}
