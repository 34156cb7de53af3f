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

/** The outcome that a failure of this class is. */
enum tl_outcome tl_outcome_of_class(enum tl_class class);

/**
 * What the VM does after teelaunchd has gone with @exit_code; any code that isn't one of ours (a
 * crash) stops a production VM.
 */
enum tl_vm_action tl_vm_action_of_exit_code(int exit_code);

const char *tl_outcome_name(enum tl_outcome outcome);    /* "success", "workload", ... */
const char *tl_vm_action_name(enum tl_vm_action action); /* "stop", "restart", "hold" */
