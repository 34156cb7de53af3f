/* SPDX-License-Identifier: Apache-2.0 */
/* teelaunchd firewall: what the unit before the network runs. */
#include "teelaunchd_options.h"

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "launcher/firewall.h"

struct arguments {
	struct tl_strv also;
	const char *log_level;
};

static const struct option_row rows[] = {
	OPTION(struct arguments, "also", "PORT/tcp|udp[,...]", also, parse_ports,
	       "ports that are open all the time [none]"),
	OPTION(struct arguments, "log-level", "error|warning|info|debug", log_level,
	       parse_log_level, "what is logged, from there up [info]"),
};

static int run(const struct verb *verb, int argc, char **argv)
{
	struct arguments a = { 0 };
	const struct tl_strv *const open[] = { &a.also };
	struct tl_error err = { 0 };
	int r;

	if (options_parse(verb, &a, argc, argv) < 0)
		return EXIT_USAGE;
	process_harden();
	r = firewall_set(open, TL_ARRAY_SIZE(open), &err);
	if (r < 0)
		tl_log_event(LOG_ERR, "firewall.failed", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
	else
		tl_log_event(LOG_INFO, "firewall.shut", "also=%zu", a.also.n);
	tl_strv_done(&a.also);
	return r < 0;
}

const struct verb verb_firewall = {
	.name = "firewall",
	.summary =
		"Let nothing in from the network but replies. Run once a boot, before the network.",
	.exit_status = "Exit status: 0, or 1 if that could not be done, 2 if not understood.",
	.rows = rows,
	.rows_n = TL_ARRAY_SIZE(rows),
	.run = run,
};
