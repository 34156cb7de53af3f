/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud_entry.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "log_fields.h"

/* As the reference's entries are named, so that filters stay. */
#define LOG_NAME    "confidential-space-launcher"
#define REQUEST_END "]}"
/* Every reader of JSON takes it exactly: below 2^53. */
#define NUMBER_MAX UINT64_C(999999999999999)

const char *cloud_severity(int level)
{
	if (level <= LOG_ERR)
		return "ERROR";
	if (level == LOG_WARNING)
		return "WARNING";
	return level == LOG_DEBUG ? "DEBUG" : "INFO";
}

static json_t *value_json(const char *value)
{
	uint64_t number;

	if ((*value != '0' || !value[1]) && tl_str_parse_u64(value, NUMBER_MAX, &number) == 0)
		return json_integer((json_int_t)number);
	return json_string(value);
}

static int fields_add(json_t *payload, const char *text)
{
	struct log_field field;
	int r = 0;

	while (r == 0 && (r = log_field_next(&text, &field)) > 0) {
		r = json_object_set_new(payload, field.key, value_json(field.value));
		free(field.value);
	}
	return r;
}

char *cloud_payload_of_line(const char *event, const char *text)
{
	auto_free char *message = NULL;
	json_auto_t *payload = NULL;

	if (asprintf(&message, "%s%s%s", event, *text ? " " : "", text) < 0) {
		message = NULL;
		return NULL;
	}
	payload = json_pack("{ss ss}", "MESSAGE", message, "event", event);
	if (!payload || fields_add(payload, text) < 0)
		return NULL;
	return json_dumps(payload, JSON_COMPACT);
}

/* A value of metadata: the operator's word, so nothing about it is believed. */
static int string_append(struct tl_buf *b, const char *s)
{
	json_auto_t *string = json_string(s);
	auto_free char *text = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;

	return text ? tl_buf_append_str(b, text) : -EINVAL;
}

static int member_append(struct tl_buf *b, const char *before, const char *value)
{
	int r = tl_buf_append_str(b, before);

	return r < 0 ? r : string_append(b, value);
}

int cloud_request_begin(const struct cloud_place *place, struct tl_buf *b)
{
	auto_free char *name = NULL;
	int r;

	if (asprintf(&name, "projects/%s/logs/" LOG_NAME, place->project) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	r = member_append(b, "{\"partialSuccess\":true,\"logName\":", name);
	if (r == 0)
		r = member_append(
			b, ",\"resource\":{\"type\":\"gce_instance\",\"labels\":{\"project_id\":",
			place->project);
	if (r == 0)
		r = member_append(b, ",\"instance_id\":", place->instance_id);
	if (r == 0)
		r = member_append(b, ",\"zone\":", place->zone);
	return r < 0 ? r : tl_buf_append_str(b, "}},\"entries\":[");
}

void cloud_time_text(int64_t time_ms, char ret[CLOUD_TIME_MAX])
{
	time_t s = (time_t)(time_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(ret, CLOUD_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, CLOUD_TIME_MAX - n, ".%03dZ", (int)(time_ms % 1000));
}

static int entry_append(const struct cloud_place *place, const struct cloud_stamp *stamp,
			const char *payload, size_t n, struct tl_buf *b)
{
	char time[CLOUD_TIME_MAX];
	int r;

	cloud_time_text(stamp->time_ms, time);
	r = tl_buf_printf(b, "{\"timestamp\":\"%s\"", time);
	if (r == 0)
		r = tl_buf_printf(
			b, ",\"severity\":\"%s\",\"insertId\":\"%016" PRIx64 "-%" PRIu64 "\"",
			stamp->severity, stamp->run, stamp->number);
	if (r == 0)
		r = member_append(b, ",\"jsonPayload\":{\"_HOSTNAME\":", place->instance_name);
	if (r == 0 && n > 2)
		r = tl_buf_append_str(b, ",");
	if (r == 0)
		r = tl_buf_append(b, payload + 1, n - 1);
	return r < 0 ? r : tl_buf_append_str(b, "}");
}

int cloud_entry_append(const struct cloud_place *place, const struct cloud_stamp *stamp,
		       const char *payload, size_t n, bool is_first, struct tl_buf *b)
{
	size_t before = b->len_bytes;
	int r = 0;

	if (n < 2 || payload[0] != '{' || payload[n - 1] != '}')
		return -EINVAL;
	if (!is_first)
		r = tl_buf_append_str(b, ",");
	if (r == 0)
		r = entry_append(place, stamp, payload, n, b);
	if (r == 0 && b->len_bytes + strlen(REQUEST_END) > b->max_bytes)
		r = -ENOBUFS;
	if (r < 0 && b->data) {
		b->len_bytes = before;
		b->data[before] = '\0';
	}
	return r;
}

int cloud_request_end(struct tl_buf *b)
{
	return tl_buf_append_str(b, REQUEST_END);
}
