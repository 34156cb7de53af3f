/* SPDX-License-Identifier: Apache-2.0 */
#include "record_check.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/record_log.h>

#define SCHEMA "teelaunch.launch-record/1"

/* What conditions of data owners rest on. Other members are passed on as they are. */
static const struct member {
	const char *section; /* NULL: of the document itself */
	const char *name;
	json_type type;
	const char *choices[2]; /* of a string; none: any */
} members[] = {
	{ NULL, "hardened", JSON_TRUE, { 0 } },
	{ NULL, "root", JSON_STRING, { "verity", "any" } },
	{ NULL, "verifier_url", JSON_STRING, { 0 } },
	{ "container", "network", JSON_STRING, { 0 } },
	{ "container", "runtime", JSON_STRING, { 0 } },
	{ "disk", "mode", JSON_STRING, { "protected", "unprotected" } },
	{ "operator", "added_capabilities", JSON_ARRAY, { 0 } },
	{ "operator", "cgroup_namespace", JSON_TRUE, { 0 } },
	{ "operator", "dev_shm_size_kb", JSON_INTEGER, { 0 } },
	{ "operator", "log_redirect", JSON_STRING, { 0 } },
	{ "operator", "monitoring", JSON_STRING, { 0 } },
	{ "operator", "mounts", JSON_ARRAY, { 0 } },
	{ "operator", "token_refresh", JSON_TRUE, { 0 } },
	{ "unit", "disk", JSON_STRING, { "protected", "unprotected" } },
	{ "unit", "root", JSON_STRING, { "verity", "any" } },
};

static bool is_of_type(const json_t *value, json_type type)
{
	return type == JSON_TRUE ? json_is_boolean(value) : value && json_typeof(value) == type;
}

static bool is_choice(const struct member *m, const char *text)
{
	return !m->choices[0] || strcmp(text, m->choices[0]) == 0 ||
	       strcmp(text, m->choices[1]) == 0;
}

static void member_check(const json_t *document, const struct member *m, struct refusals *refusals)
{
	const json_t *in = m->section ? json_object_get(document, m->section) : document;
	const json_t *value = json_object_get(in, m->name);

	if (!is_of_type(value, m->type) ||
	    (m->type == JSON_STRING && !is_choice(m, json_string_value(value))))
		refuse(refusals, TL_E_VERIFY_RECORD,
		       "launch record: '%s%s%s' is missing, or not one that this verifier knows",
		       m->section ? m->section : "", m->section ? "." : "", m->name);
}

/* A protected disk says where its tags are; one that isn't has none to speak of. */
static void tags_check(const json_t *document, struct refusals *refusals)
{
	const json_t *disk = json_object_get(document, "disk");
	const char *mode = json_string_value(json_object_get(disk, "mode"));
	const json_t *tags = json_object_get(disk, "tags");
	const char *text = json_string_value(tags);
	bool is_protected = mode && strcmp(mode, "protected") == 0;

	if (is_protected ? !text || (strcmp(text, "memory") != 0 && strcmp(text, "disk") != 0)
			 : !json_is_null(tags))
		refuse(refusals, TL_E_VERIFY_RECORD,
		       "launch record: 'disk.tags' doesn't fit 'disk.mode'");
}

static json_t *document_read(const struct tl_event *event, struct refusals *refusals)
{
	const char *too_much = tl_json_scan(event->content, event->content_len, NULL);
	json_auto_t *document = NULL;
	json_error_t fault = { 0 };
	const char *schema;

	if (too_much) {
		refuse(refusals, TL_E_VERIFY_RECORD, "launch record: it is %s", too_much);
		return NULL;
	}
	document = json_loadb((const char *)event->content, event->content_len,
			      JSON_REJECT_DUPLICATES, &fault);
	if (!json_is_object(document)) {
		refuse(refusals, TL_E_VERIFY_RECORD, "launch record: it is no JSON object: %s",
		       document ? "another value" : fault.text);
		return NULL;
	}
	schema = json_string_value(json_object_get(document, "schema"));
	if (!schema || strcmp(schema, SCHEMA) != 0) {
		refuse(refusals, TL_E_VERIFY_RECORD,
		       "launch record: its schema is '%.64s'; this verifier knows " SCHEMA,
		       schema ? schema : "");
		return NULL;
	}
	for (size_t i = 0; i < TL_ARRAY_SIZE(members); i++)
		member_check(document, &members[i], refusals);
	tags_check(document, refusals);
	return json_incref(document);
}

static bool bank_has_pcr(const struct bank_evidence *bank)
{
	return bank->pcrs.mask >> TL_RECORD_PCR & 1;
}

static void replay_check(const struct tl_cel *log, const struct bank_evidence *bank,
			 struct refusals *refusals)
{
	const char *name = tl_hash_name(bank->hash);
	uint8_t value[TL_HASH_SIZE_MAX];
	struct tl_error err = { 0 };

	if (!bank_has_pcr(bank))
		refuse(refusals, TL_E_VERIFY_RECORD_LOG,
		       "there is a launch record, but bank %s is quoted without PCR %d", name,
		       TL_RECORD_PCR);
	else if (tl_cel_replay(log, bank->hash, value, &err) < 0)
		refuse(refusals, TL_E_VERIFY_RECORD_LOG, "launch record, bank %s: %s", name,
		       err.msg);
	else if (memcmp(value, bank->pcrs.value[TL_RECORD_PCR], tl_hash_size(bank->hash)) != 0)
		refuse(refusals, TL_E_VERIFY_RECORD_LOG,
		       "the launch record doesn't lead to the quoted PCR %d of bank %s",
		       TL_RECORD_PCR, name);
}

static void absence_check(const struct bank_evidence *bank, struct refusals *refusals)
{
	static const uint8_t zeros[TL_HASH_SIZE_MAX];

	if (bank_has_pcr(bank) &&
	    memcmp(bank->pcrs.value[TL_RECORD_PCR], zeros, tl_hash_size(bank->hash)) != 0)
		refuse(refusals, TL_E_VERIFY_RECORD_LOG,
		       "PCR %d of bank %s isn't zero, but there is no launch record", TL_RECORD_PCR,
		       tl_hash_name(bank->hash));
}

void record_check(const struct verify_request *req, json_t **ret, struct refusals *refusals)
{
	auto_cel struct tl_cel log = { 0 };
	struct tl_error err = { 0 };

	if (!req->record_log.len_bytes) {
		for (size_t i = 0; i < req->banks_n; i++)
			absence_check(&req->banks[i], refusals);
		return;
	}
	if (tl_record_log_decode(req->record_log.data, req->record_log.len_bytes, &log, &err) < 0) {
		refuse(refusals, TL_E_VERIFY_RECORD_LOG, "launch record: %s", err.msg);
		return;
	}
	for (size_t i = 0; i < req->banks_n; i++)
		replay_check(&log, &req->banks[i], refusals);
	*ret = document_read(&log.records[0].event, refusals);
}
