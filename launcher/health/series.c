/* SPDX-License-Identifier: Apache-2.0 */
#include "series.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#define TYPE_PREFIX "compute.googleapis.com/guest/"
/* What stands in a path as it is: RFC 3986, "pchar" without what projects don't have. */
#define PATH_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:"

enum unit {
	COUNT,      /* a whole number as it is */
	MS_TO_S,    /* whole seconds */
	MS_TO_REAL, /* seconds with a fraction */
	HUNDREDTHS, /* a fraction */
};

/* What must be known of a sample; the disk's ones have its name as a label. */
enum part { MEMORY, ALL, CPU, DISK, QUEUE, SPACE };

static const struct series {
	const char *type;
	enum part part;
	bool is_counter; /* since boot; else what is now */
	enum unit unit;
	size_t offset;             /* of a uint64_t */
	const char *label, *value; /* NULL: none but the instance's */
} all_series[] = {
#define AT(member) offsetof(struct sample, member)
	{ "memory/bytes_used", MEMORY, false, COUNT, AT(memory.used), "state", "used" },
	{ "memory/bytes_used", MEMORY, false, COUNT, AT(memory.free), "state", "free" },
	{ "memory/bytes_used", MEMORY, false, COUNT, AT(memory.buffers), "state", "buffered" },
	{ "memory/bytes_used", MEMORY, false, COUNT, AT(memory.cached), "state", "cached" },
	{ "memory/bytes_used", MEMORY, false, COUNT, AT(memory.slab), "state", "slab" },
	{ "memory/anonymous_used", ALL, false, COUNT, AT(memory.anon_active), "state", "active" },
	{ "memory/anonymous_used", ALL, false, COUNT, AT(memory.anon_inactive), "state",
	  "inactive" },
	{ "memory/page_cache_used", ALL, false, COUNT, AT(memory.file_active), "state", "active" },
	{ "memory/page_cache_used", ALL, false, COUNT, AT(memory.file_inactive), "state",
	  "inactive" },
	{ "memory/dirty_used", ALL, false, COUNT, AT(memory.dirty), "state", "dirty" },
	{ "memory/dirty_used", ALL, false, COUNT, AT(memory.writeback), "state", "writeback" },
	{ "system/uptime", ALL, false, MS_TO_S, AT(up_ms), NULL, NULL },
	{ "cpu/load_1m", CPU, false, HUNDREDTHS, AT(load_1m_hundredths), NULL, NULL },
#define CPU_TIME(index, name)                                                                      \
	{                                                                                          \
		"cpu/usage_time", CPU, true, MS_TO_REAL, AT(cpu_ms[index]), "state", name          \
	}
	CPU_TIME(KERNEL_CPU_USER, "user"),
	CPU_TIME(KERNEL_CPU_NICE, "nice"),
	CPU_TIME(KERNEL_CPU_SYSTEM, "system"),
	CPU_TIME(KERNEL_CPU_IDLE, "idle"),
	CPU_TIME(KERNEL_CPU_IOWAIT, "iowait"),
	CPU_TIME(KERNEL_CPU_IRQ, "irq"),
	CPU_TIME(KERNEL_CPU_SOFTIRQ, "softirq"),
	CPU_TIME(KERNEL_CPU_STEAL, "steal"),
	CPU_TIME(KERNEL_CPU_GUEST, "guest"),
	CPU_TIME(KERNEL_CPU_GUEST_NICE, "guest_nice"),
	{ "disk/queue_length", QUEUE, false, HUNDREDTHS, AT(queue_hundredths), NULL, NULL },
	{ "disk/io_time", DISK, true, COUNT, AT(disk.busy_ms), NULL, NULL },
	{ "disk/weighted_io_time", DISK, true, COUNT, AT(disk.weighted_ms), NULL, NULL },
#define BOTH_WAYS(type, read, write)                                                               \
	{ type, DISK, true, COUNT, AT(read), "direction", "read" },                                \
	{                                                                                          \
		type, DISK, true, COUNT, AT(write), "direction", "write"                           \
	}
	BOTH_WAYS("disk/operation_count", disk.operations[0], disk.operations[1]),
	BOTH_WAYS("disk/merged_operation_count", disk.merged[0], disk.merged[1]),
	BOTH_WAYS("disk/operation_bytes_count", disk_read_bytes, disk_written_bytes),
	BOTH_WAYS("disk/operation_time", disk.time_ms[0], disk.time_ms[1]),
	{ "disk/bytes_used", SPACE, false, COUNT, AT(space.used_bytes), "state", "used" },
	{ "disk/bytes_used", SPACE, false, COUNT, AT(space.free_bytes), "state", "free" },
};
_Static_assert(TL_ARRAY_SIZE(all_series) <= SERIES_MAX, "one request has room for a sample");

static bool is_known(const struct sample *s, enum part part)
{
	const bool known[] = {
		[MEMORY] = true,
		[ALL] = s->is_all,
		[CPU] = s->is_all && s->has_cpu,
		[DISK] = s->is_all && s->has_disk,
		[QUEUE] = s->is_all && s->has_disk && s->has_queue,
		[SPACE] = s->is_all && s->has_disk && s->has_space,
	};

	return known[part];
}

/* An int64 is a string in proto3's JSON: a reader's number may be too small for it. */
static json_t *value_json(enum unit unit, uint64_t v)
{
	if (unit == MS_TO_REAL)
		return json_pack("{sf}", "doubleValue", (double)v / 1000);
	if (unit == HUNDREDTHS)
		return json_pack("{sf}", "doubleValue", (double)v / 100);
	if (unit == MS_TO_S)
		v /= 1000;
	return json_pack("{so}", "int64Value",
			 json_sprintf("%" PRIu64, v > INT64_MAX ? (uint64_t)INT64_MAX : v));
}

static json_t *interval_json(const struct sample *s, bool is_counter)
{
	char begin[CLOUD_TIME_MAX], end[CLOUD_TIME_MAX];

	cloud_time_text(s->boot_ms, begin);
	cloud_time_text(s->time_ms, end);
	return is_counter ? json_pack("{ss ss}", "startTime", begin, "endTime", end)
			  : json_pack("{ss}", "endTime", end);
}

static json_t *metric_json(const struct series *row, const struct cloud_place *place,
			   const struct sample *s)
{
	bool is_disk = row->part >= DISK;
	json_auto_t *labels = json_pack("{ss ss* ss* ss*}", "instance_name", place->instance_name,
					row->label ? row->label : "", row->value, "device_name",
					is_disk ? s->disk.name : NULL, "fs_type",
					row->part == SPACE ? s->space.fs_type : NULL);

	return json_pack("{so sO}", "type", json_sprintf(TYPE_PREFIX "%s", row->type), "labels",
			 labels);
}

static json_t *series_json(const struct series *row, const struct cloud_place *place,
			   json_t *resource, const struct sample *s)
{
	uint64_t value = *(const uint64_t *)((const char *)s + row->offset);
	bool is_real = row->unit == MS_TO_REAL || row->unit == HUNDREDTHS;

	return json_pack("{so sO ss ss s[{so so}]}", "metric", metric_json(row, place, s),
			 "resource", resource, "metricKind",
			 row->is_counter ? "CUMULATIVE" : "GAUGE", "valueType",
			 is_real ? "DOUBLE" : "INT64", "points", "interval",
			 interval_json(s, row->is_counter), "value", value_json(row->unit, value));
}

char *series_path(const struct cloud_place *place)
{
	auto_buf struct tl_buf path = { 0 };
	int r;

	tl_buf_init(&path, 1024);
	r = tl_buf_append_str(&path, "/v3/projects/");
	/* The name comes from the metadata, so it may be anything. */
	for (const char *at = place->project; r == 0 && *at; at++)
		r = strchr(PATH_CHARS, *at) ? tl_buf_append(&path, at, 1)
					    : tl_buf_printf(&path, "%%%02X", (uint8_t)*at);
	if (r == 0)
		r = tl_buf_append_str(&path, "/timeSeries");
	return r == 0 ? tl_buf_take_str(&path) : NULL;
}

int series_begin(const struct cloud_place *place, struct tl_buf *b)
{
	(void)place;
	return tl_buf_append_str(b, "{\"timeSeries\":");
}

int series_append(const struct cloud_place *place, const struct sample *s, struct tl_buf *b)
{
	json_auto_t *list = json_array();
	json_auto_t *resource =
		json_pack("{ss s{ss ss ss}}", "type", "gce_instance", "labels", "project_id",
			  place->project, "instance_id", place->instance_id, "zone", place->zone);
	auto_free char *text = NULL;

	for (size_t i = 0; i < TL_ARRAY_SIZE(all_series); i++) {
		const struct series *row = &all_series[i];

		if (is_known(s, row->part) &&
		    json_array_append_new(list, series_json(row, place, resource, s)) < 0)
			return -ENOMEM;
	}
	text = json_dumps(list, JSON_COMPACT);
	return text ? tl_buf_append_str(b, text) : -ENOMEM;
}

int series_end(struct tl_buf *b)
{
	return tl_buf_append_str(b, "}");
}
