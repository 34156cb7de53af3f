/* SPDX-License-Identifier: Apache-2.0 */
/* Event lists and logs in, the document teelaunch.measure/1 out. */
#include "measure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>
#include <teelaunch/json_scan.h>

#include "predict.h"

#define SCHEMA "teelaunch.measure/1"
/* Contents as base64, and what JSON puts around them. */
#define EVENTS_BYTES_MAX (8 * 1024 * 1024)

/* The one bank of an RTMR: TDX measures with SHA-384 alone. */
static const struct tl_banks tdx_banks = { .hashes = { TL_SHA384 }, .n = 1 };

/* --- in ------------------------------------------------------------------------------------ */

static int event_read(const json_t *item, size_t i, struct tl_event_list *ret, struct tl_error *err)
{
	const json_t *type = json_object_get(item, "type");
	const json_t *content = json_object_get(item, "content_b64");
	auto_free uint8_t *bytes = NULL;
	size_t n = 0;

	if (!json_is_integer(type) || json_integer_value(type) < 0 ||
	    json_integer_value(type) > UINT8_MAX)
		return tl_fail(err, TL_E_EVENT_INPUT, EINVAL,
			       "event %zu: 'type' is no number from 0 to 255", i);
	if (!json_is_string(content) ||
	    tl_base64_decode(TL_BASE64_STD, json_string_value(content), json_string_length(content),
			     &bytes, &n) < 0)
		return tl_fail(err, TL_E_EVENT_INPUT, EINVAL,
			       "event %zu: 'content_b64' is no base64 with padding", i);
	return tl_wrap(err, tl_events_add(ret, (uint8_t)json_integer_value(type), bytes, n, err),
		       "event %zu", i);
}

int measure_events_read(const char *path, struct tl_event_list *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	json_auto_t *list = NULL;
	json_error_t fault = { 0 };
	const char *limit;
	json_t *item;
	size_t i;
	int r;

	tl_buf_init(&text, EVENTS_BYTES_MAX);
	r = tl_file_read(path, &text, err);
	if (r < 0)
		return r;
	limit = tl_json_scan(tl_buf_str(&text), text.len_bytes, NULL);
	if (limit)
		return tl_fail(err, TL_E_EVENT_INPUT, EINVAL, "'%s' is %s", path, limit);
	list = json_loadb(tl_buf_str(&text), text.len_bytes, JSON_REJECT_DUPLICATES, &fault);
	if (!json_is_array(list))
		return tl_fail(err, TL_E_EVENT_INPUT, EINVAL, "'%s' is no JSON list: %s", path,
			       list ? "another value" : fault.text);
	json_array_foreach(list, i, item)
	{
		r = event_read(item, i, ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void banks_of(const struct tl_cel_record *record, struct tl_banks *ret)
{
	ret->n = record->digests.n;
	for (size_t i = 0; i < ret->n; i++)
		ret->hashes[i] = record->digests.items[i].hash;
}

int measure_log_read(const char *path, struct tl_event_list *ret, struct tl_banks *ret_banks,
		     struct tl_error *err)
{
	auto_buf struct tl_buf bytes = { 0 };
	auto_cel struct tl_cel cel = { 0 };
	uint8_t ignored[TL_HASH_SIZE_MAX];
	int r;

	tl_buf_init(&bytes, TL_CEL_MAX_BYTES);
	r = tl_file_read(path, &bytes, err);
	if (r == 0)
		r = tl_cel_decode(bytes.data, bytes.len_bytes, &cel, NULL, err);
	if (r < 0 || cel.n == 0)
		return r;
	banks_of(&cel.records[0], ret_banks);
	/* Every digest of every bank belongs to its content, or the log is not one. */
	for (size_t i = 0; r == 0 && i < ret_banks->n; i++)
		r = tl_cel_replay(&cel, ret_banks->hashes[i], ignored, err);
	for (size_t i = 0; r == 0 && i < cel.n; i++)
		r = tl_wrap(err,
			    tl_events_add(ret, cel.records[i].event.type,
					  cel.records[i].event.content,
					  cel.records[i].event.content_len, err),
			    "record %zu", i);
	return r;
}

/* --- out ----------------------------------------------------------------------------------- */

static json_t *hex_json(const void *bytes, size_t n)
{
	auto_free char *hex = malloc(2 * n + 1);

	if (!hex)
		return NULL;
	tl_hex_encode(bytes, n, hex);
	return json_string(hex);
}

static json_t *digests_json(const struct tl_event *event, const struct tl_banks *banks)
{
	struct tl_event_digests digests = { 0 };
	json_t *o;

	if (tl_event_digest(event, banks, &digests) < 0)
		return NULL;
	o = json_object();
	for (size_t i = 0; i < digests.n; i++) {
		uint16_t hash = digests.items[i].hash;

		json_object_set_new(o, tl_hash_name(hash),
				    hex_json(digests.items[i].bytes, tl_hash_size(hash)));
	}
	return o;
}

static json_t *content_json(const struct tl_event *e)
{
	auto_free char *content = tl_base64_encode(TL_BASE64_STD, e->content, e->content_len);

	return json_string(content ? content : "");
}

static json_t *events_json(const struct measure *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->events.n; i++) {
		const struct tl_event *e = &m->events.items[i];
		bool is_open = i == m->open_event;

		json_array_append_new(
			list, json_pack("{si ss* so so}", "type", e->type, "name",
					tl_event_type_name(e->type), "content_b64",
					is_open ? json_null() : content_json(e), "digests",
					is_open ? json_null() : digests_json(e, &m->banks)));
	}
	return list;
}

static json_t *log_json(const struct measure *m, enum tl_cel_form form,
			const struct tl_banks *banks, struct tl_error *err)
{
	auto_buf struct tl_buf bytes = { 0 };

	tl_buf_init(&bytes, TL_CEL_MAX_BYTES);
	if (tl_cel_encode(&m->events, form, banks, &bytes, err) < 0)
		return NULL;
	return hex_json(bytes.data, bytes.len_bytes);
}

static json_t *register_json(const struct measure *m, uint16_t hash)
{
	uint8_t value[TL_HASH_SIZE_MAX];

	return tl_events_replay(&m->events, hash, value) < 0 ? NULL
							     : hex_json(value, tl_hash_size(hash));
}

static json_t *registers_json(const struct measure *m)
{
	json_t *o = json_object();

	for (size_t i = 0; i < m->banks.n; i++)
		json_object_set_new(o, tl_hash_name(m->banks.hashes[i]),
				    register_json(m, m->banks.hashes[i]));
	return o;
}

/* What follows from all events is as unknown as one of them. */
static int results_add(const struct measure *m, json_t *o, struct tl_error *err)
{
	static const char *const names[] = { "cel_hex", "cel_rtmr_hex", "pcr13", "rtmr3" };
	bool is_open = m->open_event != SIZE_MAX;
	json_t *values[] = {
		is_open ? json_null() : log_json(m, TL_CEL_TPM, &m->banks, err),
		is_open ? json_null() : log_json(m, TL_CEL_TDX, &tdx_banks, err),
		is_open ? json_null() : registers_json(m),
		is_open ? json_null() : register_json(m, TL_SHA384),
	};
	int r = 0;

	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++)
		if (json_object_set_new(o, names[i], values[i]) < 0)
			r = -ENOMEM;
	return r;
}

json_t *measure_document(const struct measure *m, struct tl_error *err)
{
	json_t *o = json_pack("{ss}", "schema", SCHEMA);
	int r = o ? 0 : -ENOMEM;

	err->code = 0;
	/* A prediction of a launch that measures nothing has nothing of this. */
	if (r == 0 && (m->events.n || !m->judge.attributes_path)) {
		r = json_object_set_new(o, "events", events_json(m));
		if (r == 0)
			r = results_add(m, o, err);
	}
	if (r == 0)
		r = json_object_set_new(o, "holes", json_array());
	if (r == 0)
		return o;
	json_decref(o);
	if (!err->code)
		tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "document");
	return NULL;
}

/* --- for people ---------------------------------------------------------------------------- */

/* Contents that are text are shown as such; anything else would do things to a terminal. */
static void content_print(const struct tl_event *e)
{
	for (size_t i = 0; i < e->content_len; i++) {
		uint8_t c = e->content[i];

		if (c >= 0x20 && c < 0x7f && c != '\\')
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	putchar('\n');
}

int measure_print_text(const struct measure *m, const json_t *document)
{
	const json_t *rtmr = json_object_get(document, "rtmr3");
	const char *name;
	json_t *value;

	for (size_t i = 0; i < m->events.n; i++) {
		const struct tl_event *e = &m->events.items[i];
		const char *type = tl_event_type_name(e->type);

		printf("%4zu  %-16s ", i, type ? type : "unknown");
		if (i == m->open_event)
			puts("HOSTNAME=?");
		else
			content_print(e);
	}
	if (m->events.n)
		putchar('\n');
	json_object_foreach(json_object_get(document, "pcr13"), name, value)
		printf("PCR 13 %-7s %s\n", name, json_string_value(value));
	json_object_foreach(json_object_get(document, "pcr15"), name, value)
		printf("PCR 15 %-7s %s\n", name, json_string_value(value));
	if (json_is_string(rtmr))
		printf("RTMR 3 %-7s %s\n", tl_hash_name(TL_SHA384), json_string_value(rtmr));
	if (m->judge.attributes_path)
		predict_print(m, document);
	return fflush(stdout) == 0 ? 0 : -errno;
}
