/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit decision: how the launch ended -> exit code of teelaunchd and what the VM does. One
 * table; the only place that reads a class. Pure.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/error.h>
#include <teelaunch/launch_spec.h>

enum tl_outcome {
	TL_OUTCOME_SUCCESS,
	TL_OUTCOME_WORKLOAD, /* non-zero, signal, out of memory */
	TL_OUTCOME_RETRY,    /* network, registry, verifier, containerd, TPM busy */
	TL_OUTCOME_DENIED,   /* policy or an input that a retry can't change */
	TL_OUTCOME_FATAL,    /* integrity, or a bug */
	TL_OUTCOMES
};

enum tl_vm_action {
	TL_VM_STOP,
	TL_VM_RESTART,
	TL_VM_HOLD, /* stays up, for debugging */
};

struct tl_exit_decision {
	int exit_code;
	enum tl_vm_action action;
};

/**
 * @policy                 TL_RESTART_NEVER when metadata couldn't be read
 * @is_shutdown_requested  power button or SIGTERM: never a restart
 */
struct tl_exit_decision tl_exit_decide(enum tl_outcome outcome, enum tl_restart_policy policy,
				       bool is_debug, bool is_shutdown_requested);

/* A launch that fails sooner after the machine's start than this failed quickly. */
#define TL_RESTART_QUICK_MS     (UINT64_C(10) * 60 * 1000)
#define TL_RESTART_DELAY_MAX_MS (UINT64_C(5) * 60 * 1000)

/**
 * How long a restart waits, so that a launch that fails again and again doesn't load metadata
 * server, registry and verifier as fast as the machine can boot. 0 after a success, for a machine
 * that ran for TL_RESTART_QUICK_MS, and for the first three restarts; then 2 s, doubled with each,
 * up to TL_RESTART_DELAY_MAX_MS, of which between the half and the whole is waited. Nothing is kept
 * from one boot to the next, so a machine with many restarts behind it waits long at once.
 *
 * @uptime_ms  since the machine's start
 * @resets     how often it was reset before; UINT32_MAX: unknown, counts as seven
 * @max_ms     instead of TL_RESTART_DELAY_MAX_MS, if it is less
 * @random     uniform over uint64_t
 * Pure.
 */
uint64_t tl_restart_delay_ms(enum tl_outcome outcome, uint64_t uptime_ms, uint32_t resets,
			     uint64_t max_ms, uint64_t random);

/** The outcome that a failure of this class is. */
enum tl_outcome tl_outcome_of_class(enum tl_class class);

/**
 * What the VM does after teelaunchd has gone with @exit_code; any code that isn't one of ours (a
 * crash) stops a production VM.
 */
enum tl_vm_action tl_vm_action_of_exit_code(int exit_code);

/* How a service's process ended: systemd.exec(5), $SERVICE_RESULT. */
enum tl_end {
	TL_END_EXITED,    /* by itself, with a status */
	TL_END_SIGNAL,    /* killed */
	TL_END_CORE,      /* killed, with a core dump */
	TL_END_WATCHDOG,  /* gave no sign of life in time */
	TL_END_TIMEOUT,   /* took too long to start or to stop */
	TL_END_OOM,       /* killed as memory ran out */
	TL_END_PROTOCOL,  /* broke the rules of its kind of service */
	TL_END_RESOURCES, /* could not be started */
	TL_END_UNKNOWN,   /* in words that this release doesn't know */
	TL_ENDS
};

struct tl_unit_end {
	enum tl_end end;
	int status; /* of TL_END_EXITED; else -1 */
};

/**
 * Out of the three texts that a service manager gives: $SERVICE_RESULT, $EXIT_CODE, $EXIT_STATUS.
 * Any may be NULL; what can't be read is TL_END_UNKNOWN. Pure.
 */
struct tl_unit_end tl_unit_end_parse(const char *result, const char *code, const char *status);

/**
 * What the VM does after the launcher has ended like that. A production VM is never held: it
 * restarts on the launcher's word alone, and stops in every other case. A debug VM is always held.
 */
enum tl_vm_action tl_vm_action_of_end(const struct tl_unit_end *end, bool is_debug);
/** True if the launcher itself decided: its status is one of tl_exit_decide()'s. */
bool tl_unit_end_is_decision(const struct tl_unit_end *end);

const char *tl_end_name(enum tl_end end);                /* "exited", "signal", ... */
const char *tl_outcome_name(enum tl_outcome outcome);    /* "success", "workload", ... */
const char *tl_vm_action_name(enum tl_vm_action action); /* "stop", "restart", "hold" */
