/* SPDX-License-Identifier: Apache-2.0 */
#include "manager.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

/* org.freedesktop.systemd1(5) */
#define SERVICE   "org.freedesktop.systemd1"
#define OBJECT    "/org/freedesktop/systemd1"
#define INTERFACE "org.freedesktop.systemd1.Manager"

/* --- asking for the machine's end ----------------------------------------------------------- */

static void bus_freep(sd_bus **bus)
{
	/* Not flushed: what the manager hasn't answered is of no use any more. */
	*bus = sd_bus_close_unref(*bus);
}
#define auto_bus __attribute__((cleanup(bus_freep)))

static uint64_t left_us(struct tl_deadline deadline)
{
	return tl_deadline_left_ms(deadline, tl_clock_mono_ms()) * 1000;
}

/* sd-bus itself would wait 90 s for a manager that accepts and then says nothing. */
static int ready_await(sd_bus *bus, struct tl_deadline deadline)
{
	while (sd_bus_is_ready(bus) <= 0) {
		uint64_t us = left_us(deadline);
		int r = sd_bus_process(bus, NULL);

		if (r == 0)
			r = us ? sd_bus_wait(bus, us) : -ETIMEDOUT;
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

static int bus_open(const char *address, struct tl_deadline deadline, sd_bus **ret)
{
	auto_bus sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r >= 0)
		r = ready_await(bus, deadline);
	if (r < 0)
		return r;
	*ret = take_ptr(bus);
	return 0;
}

/* A method without arguments, or the property SystemState when @method is NULL. */
static int call(sd_bus *bus, const char *method, struct tl_deadline deadline, sd_bus_message **ret,
		sd_bus_error *error)
{
	sd_bus_message *m = NULL;
	uint64_t us = left_us(deadline);
	int r;

	if (!us)
		return -ETIMEDOUT; /* 0 would mean sd-bus's default */
	if (method)
		r = sd_bus_message_new_method_call(bus, &m, SERVICE, OBJECT, INTERFACE, method);
	else
		r = sd_bus_message_new_method_call(bus, &m, SERVICE, OBJECT,
						   "org.freedesktop.DBus.Properties", "Get");
	if (r >= 0 && !method)
		r = sd_bus_message_append(m, "ss", INTERFACE, "SystemState");
	if (r >= 0)
		r = sd_bus_call(bus, m, us, error, ret);
	sd_bus_message_unref(m);
	return r < 0 ? r : 0;
}

static int is_ending(sd_bus *bus, struct tl_deadline deadline, bool *ret, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	const char *state;
	int r = call(bus, NULL, deadline, &reply, error);

	if (r == 0)
		r = sd_bus_message_read(reply, "v", "s", &state);
	if (r > 0)
		*ret = strcmp(state, "stopping") == 0;
	sd_bus_message_unref(reply);
	return r > 0 ? 0 : r < 0 ? r : -EBADMSG;
}

int manager_end_machine(const char *address, enum tl_vm_action action, struct tl_deadline deadline,
			bool *ret_is_ending, struct tl_error *err)
{
	const char *method = action == TL_VM_RESTART ? "Reboot" : "PowerOff";
	sd_bus_error error = SD_BUS_ERROR_NULL;
	auto_bus sd_bus *bus = NULL;
	sd_bus_message *reply = NULL;
	bool ending = false;
	int r = bus_open(address, deadline, &bus);

	if (r == 0)
		r = is_ending(bus, deadline, &ending, &error);
	if (r == 0 && !ending)
		r = call(bus, method, deadline, &reply, &error);
	if (r == 0)
		*ret_is_ending = ending;
	else
		r = tl_fail(err, TL_E_MANAGER, -r, "%s by the service manager at '%s': %s", method,
			    address, error.message ? error.message : strerrordesc_np(-r));
	sd_bus_message_unref(reply);
	sd_bus_error_free(&error);
	return r;
}

/* --- telling how the launch goes ------------------------------------------------------------ */

/* A sign of life reaches a busy manager late, and its interval begins with the one before. */
#define SIGNS_PER_INTERVAL    4
#define NO_WATCHDOG_PERIOD_MS 10000

void manager_notes_open(struct manager_notes *n)
{
	uint64_t interval_us = 0;

	*n = (struct manager_notes){ 0 };
	n->has_watchdog = sd_watchdog_enabled(0, &interval_us) > 0;
	if (n->has_watchdog)
		n->period_ms = interval_us / 1000 / SIGNS_PER_INTERVAL;
	else if (getenv("NOTIFY_SOCKET"))
		n->period_ms = NO_WATCHDOG_PERIOD_MS; /* the start's timeout is extended still */
}

void manager_note_stage(struct manager_notes *n, const char *stage, uint64_t limit_ms)
{
	n->last_ms = tl_clock_mono_ms();
	(void)sd_notifyf(0, "STATUS=stage %s\nEXTEND_TIMEOUT_USEC=%" PRIu64, stage,
			 limit_ms * 1000);
}

void manager_note_running(struct manager_notes *n)
{
	n->last_ms = tl_clock_mono_ms();
	n->is_ready = true;
	(void)sd_notify(0, "READY=1\nSTATUS=the workload runs\nWATCHDOG=1");
}

void manager_note_alive(struct manager_notes *n, uint64_t limit_ms)
{
	uint64_t now_ms = tl_clock_mono_ms();

	if (!n->period_ms || now_ms - n->last_ms < n->period_ms)
		return;
	n->last_ms = now_ms;
	if (n->is_ready)
		(void)sd_notify(0, "WATCHDOG=1");
	else
		(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, limit_ms * 1000);
}

/* Whoever waits for the end of something gives no sign of life meanwhile: the next one has so long.
 */
static void note_waiting(struct manager_notes *n, const char *status, uint64_t limit_ms)
{
	auto_free char *watchdog = NULL;

	n->last_ms = tl_clock_mono_ms();
	/* Before it is ready, the watchdog doesn't run yet, and this would start it. */
	if (n->has_watchdog && n->is_ready &&
	    asprintf(&watchdog, "\nWATCHDOG=1\nWATCHDOG_USEC=%" PRIu64, limit_ms * 1000) < 0)
		watchdog = NULL;
	(void)sd_notifyf(0, "STATUS=%s\nEXTEND_TIMEOUT_USEC=%" PRIu64 "%s", status, limit_ms * 1000,
			 watchdog ? watchdog : "");
}

void manager_note_undoing(struct manager_notes *n, uint64_t limit_ms)
{
	note_waiting(n, "the launch is undone", limit_ms);
}

void manager_note_delayed(struct manager_notes *n, uint64_t limit_ms)
{
	note_waiting(n, "a restart waits", limit_ms);
}

void manager_note_ending(void)
{
	(void)sd_notify(0, "STOPPING=1\nSTATUS=the launcher ends");
}
