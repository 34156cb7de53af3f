/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `teelaunch vm`: boot an image with OVMF and a software TPM, let the guest reach a cloud that is
 * served here, and tell what became of the launch.
 *
 * qemu runs in a network namespace of its own, in which nothing but loopback exists. The guest's
 * 169.254.169.254 is that loopback: the sockets that listen there are made inside the namespace and
 * served by this process, outside of it. So no port of the machine is taken and no root is needed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/option_table.h>
#include <teelaunch/str.h>

#define VM_FORWARDS_MAX 16

/* A TCP port of 169.254.169.254, and where the connections to it go. */
struct vm_forward {
	uint16_t port;
	char *host; /* of this machine's network */
	uint16_t host_port;
};

/* What the command line asks for. Strings are borrowed from argv. */
struct vm_options {
	const char *image;      /* raw disk; only read */
	const char *attributes; /* file; NULL: --forward 80=... serves the metadata */
	const char *firmware;   /* NULL: OVMF of the ovmf package */
	const char *vars;       /* template of the firmware's variables; only read */
	bool is_secure_boot;
	uint64_t memory_mb;
	uint64_t data_bytes;
	const char *tpm_state;    /* folder, used as it is; NULL: a new TPM */
	const char *identity_key; /* PEM: signs identity tokens; NULL: one is made */
	const char *dir;          /* the VM's files, kept; NULL: a folder that is removed */
	const char *console;      /* raw bytes go there; NULL: shown by lines */
	const char *qmp;          /* socket for a monitor of the caller's; NULL: none */
	const char *incoming;     /* file with a saved VM to go on with; NULL: boot */
	uint64_t timeout_s;
	uint64_t restarts_max;
	bool is_json;
	bool is_kvm_refused;
	struct tl_strv names;   /* that are 169.254.169.254 for the VM */
	struct tl_kvs metadata; /* path below /computeMetadata/v1/ -> value */
	struct vm_forward forwards[VM_FORWARDS_MAX];
	size_t forwards_n;
};

/* How the VM ended. */
enum vm_end {
	VM_END_POWEROFF,
	VM_END_RESET,
	VM_END_PANIC,
	VM_END_QUIT,        /* by the caller's monitor */
	VM_END_TIMEOUT,     /* by us: the time was up */
	VM_END_INTERRUPTED, /* by us: a second SIGINT or SIGTERM */
	VM_END_FAILED,      /* qemu itself ended, or was killed */
};

/** "poweroff", "reset", ... */
const char *vm_end_name(enum vm_end end);

/** The subcommand; returns the exit status of teelaunch-vm(1). */
int vm_main(int argc, char **argv);
extern const struct tl_options vm_options_table;

/** 0, 1 (help was printed) or -EINVAL (the reason was printed). vm_options_done() after either. */
int vm_options_parse(struct vm_options *o, int argc, char **argv);
void vm_options_done(struct vm_options *o);

/** "8080=127.0.0.1:5000"; IPv6 in brackets. 0, -EINVAL or -ENOMEM; @ret is set on success only. */
int vm_forward_parse(const char *text, struct vm_forward *ret);
/** "4G", "512M", "64K" or bytes, powers of 1024. 0, -EINVAL or -ERANGE. */
int vm_size_parse(const char *text, uint64_t *ret_bytes);
