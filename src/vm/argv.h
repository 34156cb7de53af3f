/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of qemu and swtpm. Pure. */
#pragma once

#include "vm.h"

/* The machine that teelaunch vm starts; everything is borrowed. */
struct vm_machine {
	const char *image, *firmware, *vars, *data;
	const char *qmp;     /* path of a second monitor's socket; NULL: none */
	bool is_secure_boot; /* the firmware needs system management mode */
	bool is_kvm;
	int incoming_fd; /* a saved VM to load; -1: none */
	uint64_t memory_mb;
	int qmp_fd; /* in qemu: connected sockets */
	int tpm_fd;
};

/** @ret is empty before, and incomplete after -ENOMEM. */
int vm_qemu_argv(const struct vm_machine *m, struct tl_strv *ret);
/** @tpm_fd  swtpm's end of the control channel; qemu hands it the data channel over it. */
int vm_swtpm_argv(const char *state, const char *log, int tpm_fd, struct tl_strv *ret);
/** The tool that makes a new TPM's state, with one bank: the firmware hashes once for each. */
int vm_swtpm_setup_argv(const char *state, const char *config, const char *log,
			struct tl_strv *ret);
