/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager, PID 1: told how the launch goes, and asked to end the machine. The only user
 * of libsystemd.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/deadline.h>
#include <teelaunch/error.h>
#include <teelaunch/exit_decision.h>

/* systemd's own socket, by which systemctl talks to it when it is root: no bus daemon in between.
 */
#define MANAGER_ADDRESS "unix:path=/run/systemd/private"

/**
 * Ask for the machine's end: units aren't stopped one by one, as nothing on a disk is worth it;
 * processes get SIGTERM, then the machine goes off or starts again.
 *
 * If the manager is ending the machine already, by whoever's wish, it is left alone and
 * @ret_is_ending is true: a power-off that was asked for must not become a restart.
 *
 * @address   D-Bus address of the manager itself
 * @action    TL_VM_STOP or TL_VM_RESTART
 * @deadline  for all of it; blocks until then at most
 *
 * 0 once it has accepted. TL_E_MANAGER.
 */
int manager_end_machine(const char *address, enum tl_vm_action action, struct tl_deadline deadline,
			bool *ret_is_ending, struct tl_error *err);

/*
 * What the manager is told of this service: sd_notify(3). Everything is a no-op unless the unit has
 * Type=notify. One thread: the one that decides, so that nothing is told while that one is stuck.
 */
struct manager_notes {
	uint64_t period_ms; /* at most so long between two signs of life; 0: none is wanted */
	uint64_t last_ms;
	bool has_watchdog, is_ready;
};

/** Reads NOTIFY_SOCKET and WATCHDOG_USEC, once. */
void manager_notes_open(struct manager_notes *n);
/** A stage begins, and takes at most @limit_ms: beyond that the manager ends the launcher. */
void manager_note_stage(struct manager_notes *n, const char *stage, uint64_t limit_ms);
/** The workload runs. From here on the watchdog wants a sign of life. */
void manager_note_running(struct manager_notes *n);
/**
 * A sign of life out of a loop of the deciding thread: cheap, as only every period_ms is told.
 * @limit_ms  before manager_note_running(): how long the next sign may take
 */
void manager_note_alive(struct manager_notes *n, uint64_t limit_ms);
/**
 * What was done is undone, and takes at most @limit_ms. Not "stopping" yet: a manager that is told
 * so sends no SIGTERM any more, and a shutdown could not end the wait that may follow.
 */
void manager_note_undoing(struct manager_notes *n, uint64_t limit_ms);
/** A restart waits; the next sign comes within @limit_ms. */
void manager_note_delayed(struct manager_notes *n, uint64_t limit_ms);
/** The process ends now, whatever is asked. */
void manager_note_ending(void);
