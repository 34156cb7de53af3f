/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu's monitor protocol (docs/interop/qmp-spec.rst of qemu): one JSON object a line. Pure.
 */
#pragma once

#include "vm.h"

/* qemu's answers to what is asked here have a few hundred bytes; the greeting is the longest. */
#define QMP_LINE_MAX (64 * 1024)

enum qmp_kind {
	QMP_GREETING,
	QMP_RETURN,
	QMP_ERROR,
	QMP_EVENT,
};

struct qmp_message {
	enum qmp_kind kind;
	char name[64];   /* of an event: "SHUTDOWN"; of an error: its class */
	char reason[64]; /* of SHUTDOWN: "guest-reset"; "" if there is none */
	char status[32]; /* of the answer to query-status: "paused"; else "" */
	char text[256];  /* of an error: its description, escaped */
};

/**
 * @ret  set on success only
 * Returns 0 or -EBADMSG: not one JSON object that is one of the four.
 */
int qmp_parse(const char *line, size_t n, struct qmp_message *ret);

/** How the VM ended, by the reason of the event SHUTDOWN (ShutdownCause of qemu's run-state.json).
 */
enum vm_end qmp_shutdown_end(const char *reason);
