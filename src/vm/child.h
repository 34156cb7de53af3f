/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu and swtpm as children: each is ended with this process, whatever ends it, and none gets a
 * descriptor that isn't its own. Only for a process with one thread.
 */
#pragma once

#include <sys/types.h>

#include "vm.h"

#define CHILD_FDS_MAX     4
#define CHILD_SOCKETS_MAX (VM_FORWARDS_MAX + 4)

/* A socket of a child's own network namespace, bound to 127.0.0.1 there. */
struct child_socket {
	uint16_t port;
	bool is_datagram; /* else it listens */
};

struct child_spec {
	const struct tl_strv *argv; /* argv[0] is looked up in PATH */
	int stdout_fd;              /* borrowed; -1: /dev/null */
	int stderr_fd;
	int fds[CHILD_FDS_MAX]; /* kept open in the child, under the same numbers */
	size_t fds_n;
	/* With sockets, the child runs in a new network namespace, where they are made. */
	struct child_socket sockets[CHILD_SOCKETS_MAX];
	size_t sockets_n;
	const char *resolv_conf; /* what the child sees as /etc/resolv.conf; NULL: the machine's */
};

/**
 * Start it.
 *
 * @ret_sockets  descriptors of spec->sockets, in the same order; owned by the caller
 * Returns the pid, or -errno: TL_E_VM_NAMESPACE, or TL_E_VM_PROGRAM when it can't be executed.
 */
pid_t child_start(const struct child_spec *spec, int *ret_sockets, struct tl_error *err);

/**
 * Run it to its end, for which it has @limit_ms; it is ended then.
 *
 * @ret_status  its exit status; of one that a signal ended 128 and the signal's number
 * 0, or -errno with TL_E_VM_PROGRAM or TL_E_VM_NAMESPACE.
 */
int child_run(const struct child_spec *spec, uint64_t limit_ms, int *ret_status,
	      struct tl_error *err);

/** SIGKILL, and wait for the end. 0 and -1 are fine. */
void child_end(pid_t pid);
