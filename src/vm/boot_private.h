/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that run one boot share. */
#pragma once

#include <systemd/sd-event.h>

#include "boot.h"
#include "child.h"
#include "forward.h"
#include "metadata_server.h"
#include "name_server.h"
#include "qmp.h"

struct boot {
	const struct boot_plan *plan;
	struct boot_result *result;
	struct tl_error *err;
	uint64_t start_ms;

	sd_event *loop;
	sd_event_source *console_source, *qmp_source, *qemu_source, *swtpm_source;
	sd_event_source *signal_sources[2], *until_source, *kill_source, *poll_source;
	pid_t qemu, swtpm;
	int console_fd, qmp_fd;

	struct console console;
	struct tl_buf qmp_line;
	bool has_shutdown; /* the monitor told why it ended: result->end is known */
	bool is_resuming;  /* a saved VM is being loaded */
	unsigned int signals;

	struct name_server *name_server;
	struct metadata_server *metadata;
	struct forward *forwards[VM_FORWARDS_MAX];
};

/* boot_start.c: processes and sockets; what was started is ended by boot_stop(). */
int boot_start(struct boot *b);
void boot_stop(struct boot *b);

/* boot_console.c: the console's bytes, and what is said about them. */
/* Both: 1 something was read, 0 the end, -EAGAIN nothing now, else -errno. */
int boot_console_read(struct boot *b);
void boot_console_finish(struct boot *b);
void boot_say(struct boot *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* boot_qmp.c: the conversation with qemu's monitor. */
int boot_qmp_read(struct boot *b);
/* @command  "quit", "system_powerdown"; a monitor that is gone is no failure */
void boot_qmp_send(struct boot *b, const char *command);
