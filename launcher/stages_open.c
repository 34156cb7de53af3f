/* SPDX-License-Identifier: Apache-2.0 */
/* The firewall: shut until everything that runs is measured, open for what the image exposes, shut
 * again. */
#include <errno.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>

#include "firewall.h"
#include "readiness.h"
#include "sequence.h"
#include "workload/probe.h"

static bool is_ours(const struct launch *l)
{
	return strcmp(l->options->firewall, "on") == 0;
}

int firewall_shut(const struct launch *l, struct tl_error *err)
{
	const struct tl_strv *const always[] = { &l->options->firewall_also };

	if (!is_ours(l)) {
		tl_log_event(LOG_WARNING, "firewall.off",
			     "msg='the unit leaves to others what may come in from the network'");
		return 0;
	}
	return firewall_set(always, TL_ARRAY_SIZE(always), err);
}

/* By the thread of readiness. Nobody can ask before everything is measured. */
static const char *not_ready(void *ctx)
{
	const struct launch *l = ctx;

	if (tl_cancel_is_requested(l->cancel))
		return "a shutdown was asked for";
	if (!atomic_load(&l->is_running))
		return "the workload doesn't run";
	switch (atomic_load(&l->health)) {
	case PROBE_STARTING:
		return "the health check is starting";
	case PROBE_UNHEALTHY:
		return "the health check is unhealthy";
	default:
		return NULL;
	}
}

/* @ret: its port, as in ExposedPorts. The launch doesn't depend on being asked. */
static int readiness_start(struct launch *l, struct tl_strv *ret, struct tl_error *err)
{
	auto_strv struct tl_strv ports = { 0 };
	struct tl_error why = { 0 };
	uint64_t port;

	if (tl_str_parse_u64(l->options->readiness, UINT16_MAX, &port) < 0) /* "off" */
		return 0;
	if (tl_strv_printf(&ports, "%s/tcp", l->options->readiness) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "readiness");
	if (tl_strv_contains(&l->image.parsed.exposed_ports, ports.items[0])) {
		tl_log_event(LOG_ERR, "readiness.failed",
			     "port=%s msg='the image exposes that port itself'",
			     l->options->readiness);
		return 0;
	}
	if (readiness_open((uint16_t)port, not_ready, l, &l->readiness, &why) < 0) {
		tl_log_event(LOG_ERR, "readiness.failed", "code=%s msg='%s'",
			     tl_catalogue_find(why.code)->id, TL_Q(why.msg));
		return 0;
	}
	tl_log_event(LOG_INFO, "readiness.open", "port=%s path=/ready", l->options->readiness);
	*ret = ports;
	ports = (struct tl_strv){ 0 };
	return 0;
}

int stage_open(struct launch *l, struct tl_error *err)
{
	const struct tl_strv *ports = &l->image.parsed.exposed_ports;
	auto_strv struct tl_strv own = { 0 };
	const struct tl_strv *const open[] = { &l->options->firewall_also, &own, ports };
	auto_buf struct tl_buf names = { 0 };
	int r = readiness_start(l, &own, err);

	if (r < 0 || !is_ours(l))
		return r;
	r = firewall_set(open, TL_ARRAY_SIZE(open), err);
	if (r < 0) {
		l->readiness = readiness_close(l->readiness);
		return r;
	}
	tl_buf_init(&names, 2048); /* a line is cut there anyway */
	for (size_t i = 0; i < ports->n; i++)
		(void)tl_buf_printf(&names, "%s%s", i ? "," : "", ports->items[i]);
	tl_log_event(LOG_INFO, "firewall.open", "count=%zu ports='%s'", ports->n,
		     TL_Q(tl_buf_str(&names)));
	return 0;
}

void stage_open_undo(struct launch *l)
{
	struct tl_error err = { 0 };

	l->readiness = readiness_close(l->readiness);
	if (is_ours(l) && firewall_shut(l, &err) < 0)
		tl_log_event(LOG_ERR, "firewall.not_shut", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}
