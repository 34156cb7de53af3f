/* SPDX-License-Identifier: Apache-2.0 */
#include "teelaunchd_disk.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "launcher/disk/disk.h"

struct arguments {
	struct disk_options disk;
	const char *log_level;
};

static int parse_tags(const char *value, void *field)
{
	static const char *const names[] = {
		[DISK_TAGS_AUTO] = "auto",
		[DISK_TAGS_IN_MEMORY] = "memory",
		[DISK_TAGS_ON_DISK] = "disk",
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], value) == 0) {
			*(enum disk_tags_choice *)field = (enum disk_tags_choice)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_percent(const char *value, void *field)
{
	return tl_str_parse_u64(value, 90, field);
}

static int parse_device(const char *value, void *field)
{
	if (tl_str_starts_with(value, "serial=") && value[strlen("serial=")]) {
		*(const char **)field = value;
		return 0;
	}
	return parse_absolute(value, field);
}

static const struct option_row rows[] = {
	OPTION(struct arguments, "device", "PATH|serial=TEXT", disk.device, parse_device,
	       "the empty disk; all that is on it is lost [serial=teelaunch-data]"),
	OPTION(struct arguments, "device-wait-ms", "N", disk.device_wait_ms, parse_ms,
	       "time for the device to appear [10000]"),
	OPTION(struct arguments, "tags", "auto|memory|disk", disk.tags, parse_tags,
	       "where integrity tags are kept; in memory, if they fit, they can't be put back "
	       "[auto]"),
	OPTION(struct arguments, "tags-memory-percent", "N", disk.tags_memory_percent,
	       parse_percent, "of the machine's memory, at most, for tags [25]"),
	OPTION(struct arguments, "mount-point", "DIR", disk.mount_point, parse_absolute,
	       "where its file system is mounted [/var/lib/teelaunch]"),
	OPTION(struct arguments, "containerd-dir", "DIR", disk.containerd_dir, parse_absolute,
	       "containerd's root, on it [/var/lib/containerd]"),
	OPTION(struct arguments, "scratch-dir", "DIR", disk.scratch_dir, parse_absolute,
	       "temporary files, on it [/var/tmp]"),
	OPTION(struct arguments, "state-dir", "DIR", disk.state_dir, parse_absolute,
	       "private directory in memory: record, sealed key [/run/teelaunch]"),
	OPTION(struct arguments, "tcti", "CONF", disk.tcti, NULL,
	       "how to reach the TPM [device:/dev/tpmrm0]"),
	OPTION(struct arguments, "log-level", "error|warning|info|debug", log_level,
	       parse_log_level, "what is logged, from there up [info]"),
};

static int run(const struct verb *verb, int argc, char **argv)
{
	struct arguments a = {
		.disk = {
			.device = "serial=teelaunch-data",
			.device_wait_ms = 10000,
			.tags_memory_percent = 25,
			.mount_point = "/var/lib/teelaunch",
			.containerd_dir = "/var/lib/containerd",
			.scratch_dir = "/var/tmp",
			.state_dir = "/run/teelaunch",
			.tcti = "device:/dev/tpmrm0",
		},
	};

	if (options_parse(verb, &a, argc, argv) < 0)
		return EXIT_USAGE;
	process_harden();
	return disk_run(&a.disk);
}

const struct verb verb_disk = {
	.name = "disk",
	.summary = "Make the protected disk of this boot, before containerd starts.",
	.exit_status =
		"Exit status: 0 the disk is there; 1 there is none, and the record says why.",
	.rows = rows,
	.rows_n = TL_ARRAY_SIZE(rows),
	.run = run,
};
