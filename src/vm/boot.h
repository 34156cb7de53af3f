/* SPDX-License-Identifier: Apache-2.0 */
/* One boot of the VM, from power-on to its end. */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include "console.h"
#include "vm.h"

/* Names the name server of the VM, for qemu. */
#define RESOLV_CONF "resolv.conf"

/* What is the same in every boot of a run. Borrowed. */
struct boot_plan {
	const struct vm_options *options;
	const char *firmware;
	const char *dir;       /* holds vars.fd, data.raw, tpm/, and takes the logs */
	const char *tpm_state; /* folder */
	const char *incoming;  /* a saved VM to go on with; NULL: boot */
	bool is_kvm;
	uint64_t until_ms; /* monotonic: the time is up then */
	FILE *show;        /* where progress goes */
	int console_fd;    /* raw bytes of the console; -1: they are shown by lines */
};

/* A step that the console told of. */
struct boot_mark {
	char name[48];
	enum console_kind kind;
	uint64_t at_ms; /* since power-on */
	uint64_t took_ms;
	bool is_failed;
};

/* What became of it. */
struct boot_result {
	enum vm_end end;
	uint64_t ran_ms;
	uint64_t console_bytes;
	struct boot_mark marks[CONSOLE_MARKS_MAX];
	size_t marks_n;
	json_t *report; /* the last one on the console; NULL: none came */
};

/**
 * Blocks until the VM has ended, at the latest at plan->until_ms and a few seconds. No process of
 * it is left then. 0, whatever became of the guest; -errno when it could not be started or served.
 */
int boot_run(const struct boot_plan *plan, struct boot_result *ret, struct tl_error *err);
void boot_result_done(struct boot_result *r);
#define auto_boot_result __attribute__((cleanup(boot_result_done)))

/** The last line that qemu wrote to its log, escaped; "" if there is none. */
void boot_last_words(const char *dir, char *ret, size_t cap_bytes);
