/* SPDX-License-Identifier: Apache-2.0 */
/* A run of `teelaunch vm`: one boot, or several when the VM restarts itself. */
#pragma once

#include "boot.h"

enum vm_status {
	VM_STATUS_SUCCESS = 0,
	VM_STATUS_COMMAND_FAILED = 1,
	VM_STATUS_DENIED = 2,
	VM_STATUS_FAILED = 3,    /* the launch, or the workload */
	VM_STATUS_NO_REPORT = 4, /* the last boot ended without one */
	VM_STATUS_DISOBEYED = 5, /* the VM did not do what the report says */
};

struct vm_run {
	const struct vm_options *options;
	const char *firmware, *vars;
	char *dir;       /* the VM's files */
	char *tpm_state; /* folder */
	bool is_dir_kept;
	bool is_kvm;
	char why_no_kvm[96];
	FILE *show;
	int console_fd;
	struct boot_result *boots;
	size_t boots_n;
	char last_words[512]; /* of a qemu that failed */
};

/** What the last boot and its report come to. Pure. */
enum vm_status vm_run_status(const struct vm_run *run);

/** The result on standard output, for people. */
void vm_print_text(const struct vm_run *run);
/** The same as a document. 0 or -errno. */
int vm_print_json(const struct vm_run *run);

/** Make the folder and what is in it; what is there already is kept. */
int vm_dir_prepare(struct vm_run *run, struct tl_error *err);
/** Remove it, unless it is to be kept. */
void vm_dir_done(struct vm_run *run);
