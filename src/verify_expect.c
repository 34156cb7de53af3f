/* SPDX-License-Identifier: Apache-2.0 */
/* What was expected, and each difference by its name. */
#include "verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/event_log.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/record_log.h>

#define MEASURE_SCHEMA "teelaunch.measure/1"
#define SHOWN_BYTES    72 /* of one value in a message */

void verify_expect_done(struct verify_expect *e)
{
	json_decref(e->prediction);
	image_references_done(&e->images);
}

static const json_t *predicted_container(const json_t *prediction)
{
	const json_t *claims = json_object_get(prediction, "claims");

	return json_object_get(json_object_get(claims, "submods"), "container");
}

static int prediction_take(json_t *consume_root, const char *path, struct verify_expect *ret,
			   struct tl_error *err)
{
	const char *fault = NULL;

	if (ret->prediction)
		fault = "it is the second prediction";
	else if (!json_is_object(predicted_container(consume_root)) ||
		 (!json_is_null(json_object_get(consume_root, "pcr13")) &&
		  !json_is_object(json_object_get(consume_root, "pcr13"))))
		fault = "it predicts no claims of a container";
	if (!fault) {
		ret->prediction = consume_root;
		return 0;
	}
	json_decref(consume_root);
	return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL, "--expect '%s': %s", path, fault);
}

int verify_expect_read(const char *path, struct verify_expect *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	const char *schema;
	json_t *root;
	int r = verify_file_read(path, VERIFY_EXPECT_BYTES_MAX, &text, err);

	if (r < 0)
		return tl_wrap(err, r, "--expect");
	root = tl_json_scan(tl_buf_str(&text), text.len_bytes, NULL)
		       ? NULL
		       : json_loadb(tl_buf_str(&text), text.len_bytes, JSON_REJECT_DUPLICATES,
				    NULL);
	schema = json_string_value(json_object_get(root, "schema"));
	if (schema && strcmp(schema, MEASURE_SCHEMA) == 0)
		return prediction_take(root, path, ret, err);
	json_decref(root);
	if (!schema)
		return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL,
			       "--expect '%s' is no JSON document with a schema", path);
	r = image_references_add(&ret->images, tl_buf_str(&text), text.len_bytes, err);
	return tl_wrap(err, r, "--expect '%s'", path);
}

/* --- comparing ---------------------------------------------------------------------------- */

static void value_show(const json_t *value, char ret[SHOWN_BYTES])
{
	auto_free char *text =
		value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII)
		      : NULL;

	if (snprintf(ret, SHOWN_BYTES, "%s", text ? text : "nothing") >= SHOWN_BYTES)
		memcpy(ret + SHOWN_BYTES - 4, "...", 4);
}

static void difference_add(const char *name, const char *part, const json_t *expected,
			   const json_t *found, struct refusals *refusals)
{
	char want[SHOWN_BYTES], got[SHOWN_BYTES];

	value_show(expected, want);
	value_show(found, got);
	refuse(refusals, TL_E_VERIFY_EXPECTED, "%s%s%.64s: expected %s, found %s", name,
	       *part ? "." : "", part, want, got);
}

/* Variables: each by its name, so that one difference doesn't hide in a long list. */
static void variables_compare(const char *name, json_t *expected, json_t *found, bool is_open,
			      struct refusals *refusals)
{
	const char *key;
	json_t *value;

	json_object_foreach(expected, key, value)
	{
		if (!json_equal(value, json_object_get(found, key)))
			difference_add(name, key, value, json_object_get(found, key), refusals);
	}
	json_object_foreach(found, key, value)
	{
		/* The prediction was made without the host name. */
		if (is_open && strcmp(name, "env") == 0 && strcmp(key, "HOSTNAME") == 0)
			continue;
		if (!json_object_get(expected, key))
			difference_add(name, key, NULL, value, refusals);
	}
}

void verify_expect_container(const struct verify_expect *e, const json_t *container,
			     struct refusals *refusals)
{
	json_t *expected = (json_t *)(uintptr_t)predicted_container(e->prediction);
	bool is_open = json_is_null(json_object_get(e->prediction, "pcr13"));
	const char *name;
	json_t *value;

	if (!e->prediction)
		return;
	if (!container) {
		refuse(refusals, TL_E_VERIFY_EXPECTED,
		       "there is nothing to hold against the prediction: no launch can be read");
		return;
	}
	json_object_foreach(expected, name, value)
	{
		json_t *found = json_object_get(container, name);

		if (json_is_object(value) && json_is_object(found))
			variables_compare(name, value, found, is_open, refusals);
		else if (!json_equal(value, found))
			difference_add(name, "", value, found, refusals);
	}
}

/* One register of each bank; @name: of the member with its predicted values, if there are any. */
static void register_compare(const struct verify_expect *e, const struct verify_request *request,
			     const char *name, unsigned int pcr, struct refusals *refusals)
{
	const json_t *values = json_object_get(e->prediction, name);
	size_t compared = 0;

	if (!json_is_object(values))
		return;
	for (size_t i = 0; i < request->banks_n; i++) {
		const struct bank_evidence *bank = &request->banks[i];
		const char *hash = tl_hash_name(bank->hash);
		const char *expected = json_string_value(json_object_get(values, hash));
		char hex[2 * TL_HASH_SIZE_MAX + 1];

		if (!expected)
			continue;
		tl_hex_encode(bank->pcrs.value[pcr], tl_hash_size(bank->hash), hex);
		if (strcmp(expected, hex) != 0)
			refuse(refusals, TL_E_VERIFY_EXPECTED,
			       "PCR %u of bank %s: expected %.96s, found %.96s", pcr, hash,
			       expected, hex);
		compared++;
	}
	if (!compared)
		refuse(refusals, TL_E_VERIFY_EXPECTED,
		       "PCR %u: the prediction has no bank of the evidence", pcr);
}

void verify_expect_registers(const struct verify_expect *e, const struct verify_request *request,
			     struct refusals *refusals)
{
	register_compare(e, request, "pcr13", TL_CEL_PCR, refusals);
	register_compare(e, request, "pcr15", TL_RECORD_PCR, refusals);
}

void verify_expect_rtmr(const struct verify_expect *e, const uint8_t *rtmr3,
			struct refusals *refusals)
{
	const char *expected = json_string_value(json_object_get(e->prediction, "rtmr3"));
	char hex[2 * TDX_REGISTER_BYTES + 1];

	tl_hex_encode(rtmr3, TDX_REGISTER_BYTES, hex);
	if (expected && strcmp(expected, hex) != 0)
		refuse(refusals, TL_E_VERIFY_EXPECTED, "RTMR 3: expected %.96s, found %.96s",
		       expected, hex);
}

/* Members of the record that hold others are compared by those. */
static void record_compare(json_t *expected, json_t *found, bool is_open, struct refusals *refusals)
{
	const char *name, *part;
	json_t *value, *inner;

	json_object_foreach(expected, name, value)
	{
		json_t *other = json_object_get(found, name);

		if (!json_is_object(value) || !json_is_object(other)) {
			if (!json_equal(value, other))
				difference_add(name, "", value, other, refusals);
			continue;
		}
		json_object_foreach(value, part, inner)
		{
			/* The prediction was made without knowing where the tags are. */
			if (is_open && strcmp(name, "disk") == 0 && strcmp(part, "tags") == 0)
				continue;
			if (!json_equal(inner, json_object_get(other, part)))
				difference_add(name, part, inner, json_object_get(other, part),
					       refusals);
		}
	}
}

/* What only the record has that was found. */
static void record_surplus(const json_t *expected, json_t *found, struct refusals *refusals)
{
	const char *name, *part;
	json_t *value, *inner;

	json_object_foreach(found, name, value)
	{
		json_t *other = json_object_get(expected, name);

		if (!other && strcmp(name, "known") != 0)
			difference_add(name, "", NULL, value, refusals);
		if (!json_is_object(value) || !json_is_object(other))
			continue;
		json_object_foreach(value, part, inner)
		{
			if (!json_object_get(other, part))
				difference_add(name, part, NULL, inner, refusals);
		}
	}
}

void verify_expect_mode(const struct verify_expect *e, const json_t *claims,
			struct refusals *refusals)
{
	const json_t *hardened =
		json_object_get(json_object_get(e->prediction, "launch_record"), "hardened");
	json_t *found = json_object_get(claims, "dbgstat");

	if (!json_is_boolean(hardened))
		return;
	if (!json_is_string(found) || (strcmp(json_string_value(found), "disabled-since-boot") ==
				       0) != json_is_true(hardened)) {
		json_auto_t *expected =
			json_string(json_is_true(hardened) ? "disabled-since-boot" : "enabled");

		difference_add("dbgstat", "", expected, found, refusals);
	}
}

bool verify_expect_record(const struct verify_expect *e, const json_t *submods,
			  struct refusals *refusals)
{
	json_t *expected = json_object_get(e->prediction, "launch_record");
	json_t *found = json_object_get(submods, "launch_record");

	if (!expected)
		return true;
	if (!json_is_true(json_object_get(found, "known")))
		return false; /* Google's tokens have none; in evidence its register is compared */
	record_compare(expected, found, json_is_null(json_object_get(e->prediction, "pcr15")),
		       refusals);
	record_surplus(expected, found, refusals);
	return true;
}
