/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/exit_decision.h>

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

/* The exit codes of teelaunchd: interface to its unit and to the image around it. */
enum { EXIT_STOP = 0, EXIT_STOP_FAILED = 1, EXIT_RESTART = 3, EXIT_HOLD = 4 };

static const struct {
	int exit_code;
	enum tl_vm_action action;
} actions[] = {
	{ EXIT_STOP, TL_VM_STOP },
	{ EXIT_STOP_FAILED, TL_VM_STOP },
	{ EXIT_RESTART, TL_VM_RESTART },
	{ EXIT_HOLD, TL_VM_HOLD },
};

/* Production. A debug image holds in every case, so that someone can look. */
static const int decisions[TL_OUTCOMES][TL_RESTART_POLICIES] = {
	/* Never, OnFailure, Always */
	[TL_OUTCOME_SUCCESS] = { EXIT_STOP, EXIT_STOP, EXIT_RESTART },
	[TL_OUTCOME_WORKLOAD] = { EXIT_STOP_FAILED, EXIT_RESTART, EXIT_RESTART },
	[TL_OUTCOME_RETRY] = { EXIT_STOP_FAILED, EXIT_RESTART, EXIT_RESTART },
	[TL_OUTCOME_DENIED] = { EXIT_STOP_FAILED, EXIT_STOP_FAILED, EXIT_STOP_FAILED },
	[TL_OUTCOME_FATAL] = { EXIT_STOP_FAILED, EXIT_STOP_FAILED, EXIT_STOP_FAILED },
};

struct tl_exit_decision tl_exit_decide(enum tl_outcome outcome, enum tl_restart_policy policy,
				       bool is_debug, bool is_shutdown_requested)
{
	/* Never's column holds no restart: it is also the column of a requested shutdown. */
	enum tl_restart_policy column =
		is_shutdown_requested || policy >= TL_RESTART_POLICIES ? TL_RESTART_NEVER : policy;
	int code = is_debug ? EXIT_HOLD : decisions[outcome][column];

	return (struct tl_exit_decision){ code, tl_vm_action_of_exit_code(code) };
}

/* Of restarts; the next ones double. */
#define FREE_RESTARTS  3
#define FIRST_DELAY_MS UINT64_C(2000)
#define UNKNOWN_RESETS 7
#define DOUBLINGS_MAX  8 /* 2 s, eight times doubled, is beyond the limit */

uint64_t tl_restart_delay_ms(enum tl_outcome outcome, uint64_t uptime_ms, uint32_t resets,
			     uint64_t max_ms, uint64_t random)
{
	uint64_t delay_ms;

	if (resets == UINT32_MAX)
		resets = UNKNOWN_RESETS;
	if (outcome == TL_OUTCOME_SUCCESS || uptime_ms >= TL_RESTART_QUICK_MS ||
	    resets < FREE_RESTARTS)
		return 0;
	resets -= FREE_RESTARTS;
	delay_ms = FIRST_DELAY_MS << (resets < DOUBLINGS_MAX ? resets : DOUBLINGS_MAX);
	if (max_ms > TL_RESTART_DELAY_MAX_MS)
		max_ms = TL_RESTART_DELAY_MAX_MS;
	if (delay_ms > max_ms)
		delay_ms = max_ms;
	return delay_ms / 2 + random % (delay_ms / 2 + 1);
}

enum tl_outcome tl_outcome_of_class(enum tl_class class)
{
	static const enum tl_outcome outcomes[] = {
		[TL_FATAL] = TL_OUTCOME_FATAL,
		[TL_DENIED] = TL_OUTCOME_DENIED,
		[TL_RETRY] = TL_OUTCOME_RETRY,
		[TL_WORKLOAD] = TL_OUTCOME_WORKLOAD,
	};

	return outcomes[class];
}

enum tl_vm_action tl_vm_action_of_exit_code(int exit_code)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(actions); i++)
		if (actions[i].exit_code == exit_code)
			return actions[i].action;
	return TL_VM_STOP;
}

/* systemd.exec(5), table "Summary of possible service result variable values". */
static const struct {
	const char *result;
	enum tl_end end;
} results[] = {
	{ "success", TL_END_EXITED },      { "exit-code", TL_END_EXITED },
	{ "signal", TL_END_SIGNAL },       { "core-dump", TL_END_CORE },
	{ "watchdog", TL_END_WATCHDOG },   { "timeout", TL_END_TIMEOUT },
	{ "oom-kill", TL_END_OOM },        { "protocol", TL_END_PROTOCOL },
	{ "resources", TL_END_RESOURCES }, { "start-limit-hit", TL_END_RESOURCES },
};

/* "success" is also the end by a signal that asks for it, as SIGTERM does. */
static struct tl_unit_end exit_parse(const char *code, const char *status)
{
	uint64_t number;

	if (!code || !status)
		return (struct tl_unit_end){ TL_END_UNKNOWN, -1 };
	if (strcmp(code, "killed") == 0)
		return (struct tl_unit_end){ TL_END_SIGNAL, -1 };
	if (strcmp(code, "exited") == 0 && tl_str_parse_u64(status, 255, &number) == 0)
		return (struct tl_unit_end){ TL_END_EXITED, (int)number };
	return (struct tl_unit_end){ TL_END_UNKNOWN, -1 };
}

struct tl_unit_end tl_unit_end_parse(const char *result, const char *code, const char *status)
{
	for (size_t i = 0; result && i < TL_ARRAY_SIZE(results); i++) {
		if (strcmp(results[i].result, result) != 0)
			continue;
		if (results[i].end == TL_END_EXITED)
			return exit_parse(code, status);
		return (struct tl_unit_end){ results[i].end, -1 };
	}
	return (struct tl_unit_end){ TL_END_UNKNOWN, -1 };
}

enum tl_vm_action tl_vm_action_of_end(const struct tl_unit_end *end, bool is_debug)
{
	enum tl_vm_action action =
		end->end == TL_END_EXITED ? tl_vm_action_of_exit_code(end->status) : TL_VM_STOP;

	if (is_debug)
		return TL_VM_HOLD;
	return action == TL_VM_HOLD ? TL_VM_STOP : action;
}

bool tl_unit_end_is_decision(const struct tl_unit_end *end)
{
	for (size_t i = 0; end->end == TL_END_EXITED && i < TL_ARRAY_SIZE(actions); i++)
		if (actions[i].exit_code == end->status)
			return true;
	return false;
}

const char *tl_end_name(enum tl_end end)
{
	static const char *const names[] = {
		[TL_END_EXITED] = "exited",     [TL_END_SIGNAL] = "signal",
		[TL_END_CORE] = "core-dump",    [TL_END_WATCHDOG] = "watchdog",
		[TL_END_TIMEOUT] = "timeout",   [TL_END_OOM] = "oom-kill",
		[TL_END_PROTOCOL] = "protocol", [TL_END_RESOURCES] = "resources",
		[TL_END_UNKNOWN] = "unknown",
	};

	return names[end];
}

const char *tl_outcome_name(enum tl_outcome outcome)
{
	static const char *const names[] = {
		[TL_OUTCOME_SUCCESS] = "success", [TL_OUTCOME_WORKLOAD] = "workload",
		[TL_OUTCOME_RETRY] = "retry",     [TL_OUTCOME_DENIED] = "denied",
		[TL_OUTCOME_FATAL] = "fatal",
	};

	return names[outcome];
}

const char *tl_vm_action_name(enum tl_vm_action action)
{
	static const char *const names[] = {
		[TL_VM_STOP] = "stop",
		[TL_VM_RESTART] = "restart",
		[TL_VM_HOLD] = "hold",
	};

	return names[action];
}
