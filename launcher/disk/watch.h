/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over the protected disk while a launch is under way. ext4 without a journal stays
 * writable after errors, and a container that reads garbage-free errors goes on: so the first
 * sector that doesn't authenticate, and the first read or write that fails, end the launch.
 *
 * One thread, "tl-disk", follows the kernel's log from the mark that set-up has left, and looks at
 * ext4's own count of errors every second. A log that has lost lines counts as an error: what was
 * in them nobody knows. So does a burst of errors of other disks: the kernel prints only some of
 * them, and ours may be among those that it doesn't.
 */
#pragma once

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>

#include "record.h"

struct disk_watch;

/**
 * Judge what has happened since set-up, then start the thread.
 *
 * @kill   requested when something happens, and then @alarm; borrowed until the watch has stopped
 *
 * Returns 0; TL_E_DISK_TAMPERED or TL_E_DISK_ERROR if it has happened already; TL_E_DISK_WATCH if
 * it can't be watched.
 */
int disk_watch_start(const struct disk_record *r, struct tl_cancel *kill, struct tl_cancel *alarm,
		     struct disk_watch **ret, struct tl_error *err);

/**
 * Stop the thread, look a last time, and free. NULL is fine.
 * Returns 0, or what had happened: as for start.
 */
int disk_watch_stop(struct disk_watch *consume_w, struct tl_error *err);
