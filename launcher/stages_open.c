/* SPDX-License-Identifier: Apache-2.0 */
/* The firewall: shut until everything that runs is measured, open for what the image exposes, shut
 * again. */
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>

#include "firewall.h"
#include "sequence.h"

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

int stage_open(struct launch *l, struct tl_error *err)
{
	const struct tl_strv *ports = &l->image.parsed.exposed_ports;
	const struct tl_strv *const open[] = { &l->options->firewall_also, ports };
	auto_buf struct tl_buf names = { 0 };
	int r;

	if (!is_ours(l))
		return 0;
	r = firewall_set(open, TL_ARRAY_SIZE(open), err);
	if (r < 0)
		return r;
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

	if (is_ours(l) && firewall_shut(l, &err) < 0)
		tl_log_event(LOG_ERR, "firewall.not_shut", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}
