/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "boot_private.h"

#define POLL_US 50000

void boot_qmp_send(struct boot *b, const char *command)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "{\"execute\":\"%s\"}\n", command);

	/* A monitor that takes nothing is one of a qemu that is ending. */
	(void)!send(b->qmp_fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int on_poll(sd_event_source *source, uint64_t now_us, void *arg)
{
	(void)source;
	(void)now_us;
	boot_qmp_send(arg, "query-status");
	return 0;
}

/* A saved VM was paused when it was saved, so it is paused once it is loaded. */
static int on_return(struct boot *b, const struct qmp_message *m)
{
	if (!b->is_resuming)
		return 0;
	if (strcmp(m->status, "paused") == 0 || strcmp(m->status, "running") == 0) {
		b->is_resuming = false;
		boot_say(b, "== the saved VM goes on");
		boot_qmp_send(b, "cont");
		return 0;
	}
	sd_event_source_disable_unref(b->poll_source);
	b->poll_source = NULL;
	return sd_event_add_time_relative(b->loop, &b->poll_source, CLOCK_MONOTONIC, POLL_US, 0,
					  on_poll, b);
}

static void on_event(struct boot *b, const struct qmp_message *m)
{
	if (strcmp(m->name, "POWERDOWN") == 0)
		boot_say(b, "== the power button was pressed");
	if (strcmp(m->name, "SHUTDOWN") != 0)
		return;
	if (!b->has_shutdown)
		b->result->end = qmp_shutdown_end(m->reason);
	b->has_shutdown = true;
}

static int on_message(struct boot *b, const char *line, size_t n)
{
	struct qmp_message m;

	if (qmp_parse(line, n, &m) < 0)
		return tl_fail(b->err, TL_E_VM_MONITOR, EPROTO, "qemu's monitor: %.100s", line);
	switch (m.kind) {
	case QMP_GREETING:
		boot_qmp_send(b, "qmp_capabilities");
		return 0;
	case QMP_RETURN:
		return on_return(b, &m);
	case QMP_ERROR:
		return tl_fail(b->err, TL_E_VM_MONITOR, EPROTO, "qemu's monitor: %s: %s", m.name,
			       m.text);
	case QMP_EVENT:
		on_event(b, &m);
		return 0;
	}
	return 0;
}

int boot_qmp_read(struct boot *b)
{
	char bytes[4096];
	ssize_t n = recv(b->qmp_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	const char *end;
	int r = 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
	if (n == 0)
		return 0;
	if (tl_buf_append(&b->qmp_line, bytes, (size_t)n) < 0)
		return tl_fail(b->err, TL_E_VM_MONITOR, ENOBUFS,
			       "qemu's monitor sent a line that is too long");
	while (r >= 0 && b->qmp_line.len_bytes &&
	       (end = memchr(b->qmp_line.data, '\n', b->qmp_line.len_bytes))) {
		size_t length = (size_t)(end - (const char *)b->qmp_line.data);

		r = on_message(b, tl_buf_str(&b->qmp_line), length);
		tl_buf_consume(&b->qmp_line, length + 1);
	}
	return r < 0 ? r : 1;
}
