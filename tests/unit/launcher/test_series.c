/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <teelaunch/cleanup.h>

#include "launcher/health/series.h"

static const struct cloud_place place = { "shop-1", "42", "vm-1", "us-central1-a" };

static struct sample sample_make(bool is_all)
{
	return (struct sample){
		.time_ms = 1700000000123,
		.boot_ms = 1699999900000,
		.up_ms = 100123,
		.is_all = is_all,
		.memory = { .total = 10, .used = 4, .free = 3, .buffers = 2, .cached = 1 },
		.has_cpu = is_all,
		.cpu_ms = { [KERNEL_CPU_USER] = 1500 },
		.load_1m_hundredths = 125,
		.has_disk = is_all,
		.disk = { .name = "dm-1", .operations = { 7, 8 }, .busy_ms = UINT64_MAX },
		.has_space = is_all,
		.space = { 100, 200, "ext4" },
	};
}

static json_t *request_of(const struct sample *s)
{
	auto_buf struct tl_buf b = { 0 };
	json_t *o;

	tl_buf_init(&b, SERIES_BYTES_MAX);
	assert_int_equal(series_begin(&place, &b), 0);
	assert_int_equal(series_append(&place, s, &b), 0);
	assert_int_equal(series_end(&b), 0);
	o = json_loads(tl_buf_str(&b), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	return o;
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* The one series of that type whose label is that; NULL: none. */
static json_t *series_find(json_t *request, const char *type, const char *label, const char *value)
{
	json_t *found = NULL, *one;
	size_t i;

	json_array_foreach(json_object_get(request, "timeSeries"), i, one)
	{
		json_t *metric = json_object_get(one, "metric");
		const char *have = text(json_object_get(metric, "labels"), label);

		if (strcmp(text(metric, "type") + strlen("compute.googleapis.com/guest/"), type) ||
		    !have || strcmp(have, value) != 0)
			continue;
		assert_null(found);
		found = one;
	}
	return found;
}

static json_t *point_of(json_t *series)
{
	json_t *points = json_object_get(series, "points");

	assert_int_equal(json_array_size(points), 1);
	return json_array_get(points, 0);
}

static void memory_is_five_states_of_the_instance(void **state)
{
	struct sample s = sample_make(false);
	json_auto_t *request = request_of(&s);
	json_t *used = series_find(request, "memory/bytes_used", "state", "used");
	json_t *labels, *point;

	(void)state;
	assert_int_equal(json_array_size(json_object_get(request, "timeSeries")), 5);
	assert_non_null(used);
	assert_string_equal(text(used, "metricKind"), "GAUGE");
	assert_string_equal(text(used, "valueType"), "INT64");
	labels = json_object_get(json_object_get(used, "resource"), "labels");
	assert_string_equal(text(json_object_get(used, "resource"), "type"), "gce_instance");
	assert_string_equal(text(labels, "project_id"), "shop-1");
	assert_string_equal(text(labels, "instance_id"), "42");
	assert_string_equal(text(labels, "zone"), "us-central1-a");
	labels = json_object_get(json_object_get(used, "metric"), "labels");
	assert_string_equal(text(labels, "instance_name"), "vm-1");
	point = point_of(used);
	assert_string_equal(text(json_object_get(point, "value"), "int64Value"), "4");
	assert_string_equal(text(json_object_get(point, "interval"), "endTime"),
			    "2023-11-14T22:13:20.123Z");
	assert_null(json_object_get(json_object_get(point, "interval"), "startTime"));
}

static void counters_have_a_beginning_and_fractions_are_doubles(void **state)
{
	struct sample s = sample_make(true);
	json_auto_t *request = request_of(&s);
	json_t *user = series_find(request, "cpu/usage_time", "state", "user");
	json_t *load = series_find(request, "cpu/load_1m", "instance_name", "vm-1");
	json_t *busy = series_find(request, "disk/io_time", "device_name", "dm-1");
	json_t *up = series_find(request, "system/uptime", "instance_name", "vm-1");

	(void)state;
	assert_string_equal(text(user, "metricKind"), "CUMULATIVE");
	assert_string_equal(text(user, "valueType"), "DOUBLE");
	assert_true(json_real_value(json_object_get(json_object_get(point_of(user), "value"),
						    "doubleValue")) == 1.5);
	assert_string_equal(text(json_object_get(point_of(user), "interval"), "startTime"),
			    "2023-11-14T22:11:40.000Z");
	assert_true(json_real_value(json_object_get(json_object_get(point_of(load), "value"),
						    "doubleValue")) == 1.25);
	/* beyond an int64, which the service would refuse */
	assert_string_equal(text(json_object_get(point_of(busy), "value"), "int64Value"),
			    "9223372036854775807");
	assert_string_equal(text(json_object_get(point_of(up), "value"), "int64Value"), "100");
	for (size_t i = 0; i < 2; i++) {
		json_t *space =
			series_find(request, "disk/bytes_used", "state", i ? "used" : "free");
		json_t *labels = json_object_get(json_object_get(space, "metric"), "labels");

		assert_string_equal(text(labels, "fs_type"), "ext4");
		assert_string_equal(text(labels, "device_name"), "dm-1");
	}
}

static void what_is_not_known_is_no_series(void **state)
{
	struct sample s = sample_make(true);
	json_auto_t *all = request_of(&s), *without = NULL, *with = NULL;
	size_t n = json_array_size(json_object_get(all, "timeSeries"));

	(void)state;
	assert_null(series_find(all, "disk/queue_length", "device_name", "dm-1"));
	s.has_queue = true;
	s.queue_hundredths = 150;
	with = request_of(&s);
	assert_int_equal(json_array_size(json_object_get(with, "timeSeries")), n + 1);
	s.has_disk = s.has_cpu = false;
	without = request_of(&s);
	assert_int_equal(json_array_size(json_object_get(without, "timeSeries")), 5 + 6 + 1);
}

static void a_project_of_any_name_stays_one_part_of_the_path(void **state)
{
	static const struct {
		const char *project, *path;
	} rows[] = {
		{ "shop-1", "/v3/projects/shop-1/timeSeries" },
		{ "example.com:shop", "/v3/projects/example.com:shop/timeSeries" },
		{ "a/../b?c#d\n", "/v3/projects/a%2F..%2Fb%3Fc%23d%0A/timeSeries" },
		{ "\xc3\xa4", "/v3/projects/%C3%A4/timeSeries" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		const struct cloud_place at = { .project = rows[i].project };
		auto_free char *path = series_path(&at);

		assert_string_equal(path, rows[i].path);
	}
}

/* What isn't UTF-8 can't be a label. */
static void a_place_that_is_no_text_is_an_error_and_leaves_the_buffer(void **state)
{
	const struct cloud_place bad = { "p", "1", "\xff", "z" };
	struct sample s = sample_make(true);
	auto_buf struct tl_buf b = { 0 };

	(void)state;
	tl_buf_init(&b, SERIES_BYTES_MAX);
	assert_int_equal(series_append(&bad, &s, &b), -ENOMEM);
	assert_int_equal(b.len_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_five_states_of_the_instance),
		cmocka_unit_test(counters_have_a_beginning_and_fractions_are_doubles),
		cmocka_unit_test(what_is_not_known_is_no_series),
		cmocka_unit_test(a_project_of_any_name_stays_one_part_of_the_path),
		cmocka_unit_test(a_place_that_is_no_text_is_an_error_and_leaves_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
