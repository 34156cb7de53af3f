/* SPDX-License-Identifier: Apache-2.0 */
/* The disk that will hold the workload: what the disk's unit set up, checked live, and watched. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/log.h>

#include "disk/check.h"
#include "disk/watch.h"
#include "sequence.h"

static void disk_report(struct launch *l, const struct disk_record *r)
{
	l->report.disk.cipher = DISK_CIPHER;
	l->report.disk.integrity = DISK_INTEGRITY;
	l->report.disk.tags = r->has_tags_in_memory ? "memory" : "disk";
	l->report.disk.setup_ms = r->setup_ms;
	l->report.disk.size_bytes = r->size_bytes;
	tl_log_event(LOG_INFO, "disk.protected",
		     "cipher='%s' tags=%s size_bytes=%" PRIu64 " setup_ms=%" PRIu64, DISK_CIPHER,
		     l->report.disk.tags, r->size_bytes, r->setup_ms);
}

static int protected_check(struct launch *l, struct tl_error *err)
{
	struct disk_record record = { 0 };
	int r = disk_record_read(l->options->state_dir, &record, err);

	if (r == 0)
		r = disk_swap_check(err);
	if (r == 0)
		r = disk_check(&record, err);
	if (r == 0 && strcmp(l->options->content_dir, record.containerd_dir) != 0)
		r = tl_fail(err, TL_E_DISK_MOUNT, EINVAL,
			    "--content-dir is '%s', the protected disk is at '%s'",
			    l->options->content_dir, record.containerd_dir);
	l->kill = tl_cancel_new();
	if (r == 0 && !l->kill)
		r = tl_fail_sys(err, TL_E_DISK_WATCH, errno, "cancellation");
	if (r == 0)
		r = disk_watch_start(&record, l->kill, l->cancel, &l->disk_watch, err);
	if (r == 0)
		disk_report(l, &record);
	return r;
}

int stage_disk(struct launch *l, struct tl_error *err)
{
	l->report.disk.mode = l->options->disk;
	if (strcmp(l->options->disk, "unprotected") != 0)
		return protected_check(l, err);
	tl_log_event(LOG_WARNING, "disk.unprotected",
		     "msg='the unit allows a disk that the host can read and change'");
	return 0;
}

void stage_disk_undo(struct launch *l)
{
	struct tl_error err = { 0 };

	if (disk_watch_stop(l->disk_watch, &err) < 0) {
		tl_log_event(LOG_ERR, "disk.alarm", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
		l->disk_alarm = err;
	}
	l->disk_watch = NULL;
}
