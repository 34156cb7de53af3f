/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says about the protected disk. There is no counter of authentication errors in
 * dm-crypt and no event; its log line is the one place where each of them shows. Records have
 * numbers, so that nothing between set-up and watching is missed: Linux,
 * Documentation/ABI/testing/dev-kmsg.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "record.h"

#define KERNEL_LOG_RECORD_MAX 8192 /* PRINTKRB_RECORD_MAX is 1024 in 6.1, with room for escapes */

enum kernel_log_verdict {
	KERNEL_LOG_FINE,
	KERNEL_LOG_TAMPERED, /* a sector didn't authenticate */
	KERNEL_LOG_ERROR,    /* reading or writing failed */
	KERNEL_LOG_FOREIGN,  /* reading or writing failed on a device that isn't ours */
};

/* Lines about failed requests share one budget, whichever disk they are of: ten in five seconds,
 * the rest isn't printed (Linux 6.1: include/linux/ratelimit_types.h, DEFAULT_RATELIMIT_BURST and
 * _INTERVAL; block/blk-mq.c, blk_print_req_error()). */
#define KERNEL_LOG_BURST       10
#define KERNEL_LOG_INTERVAL_US 5000000ULL

/* The times of the last lines about foreign devices; all zero to begin with. */
struct kernel_log_burst {
	uint64_t at_us[KERNEL_LOG_BURST];
	uint64_t n;
};

/**
 * One record as read(2) of /dev/kmsg gives it: "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT\n...".
 *
 * @disk     name of the device below, "vda"; @integrity and @crypt: "dm-0", "dm-1"
 * @ret_seq  its number; @ret_us: microseconds since boot; both set on success only
 *
 * Records that user space wrote count for nothing: whoever may write there must not be able to end
 * a launch. Returns a verdict, or -EINVAL for what is no record. Pure.
 */
int kernel_log_judge(const char *record, const char *disk, const char *integrity, const char *crypt,
		     uint64_t *ret_seq, uint64_t *ret_us);

/**
 * One more KERNEL_LOG_FOREIGN line, of this time. True: the budget may be used up, and a line about
 * our own disk would not have been printed. Pure.
 */
bool kernel_log_may_hide(struct kernel_log_burst *b, uint64_t at_us);

/**
 * Write a line into the kernel's log and find its number: what comes later has a greater one.
 * TL_E_DISK_SETUP.
 */
int kernel_log_mark(uint64_t *ret_seq, struct tl_error *err);
