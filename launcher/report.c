/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>

#include "journal.h"
#include "machine.h"

/* What is given up, one step after the other, to get below the limit. */
enum shorten { FULL, NO_FIXES, FEW_FINDINGS, NO_FINDINGS, NO_STAGES, SHORTEN_END };

#define FINDINGS_FEW 5
/* The reference is the operator's text, up to half a megabyte of it; this much tells images apart.
 */
#define REFERENCE_MAX 512

static json_t *text_or_null(const char *s)
{
	return s ? json_string(s) : NULL;
}

/* Consumes @v; NULL leaves the key out. */
static void set(json_t *o, const char *key, json_t *v)
{
	if (v)
		json_object_set_new(o, key, v);
}

static json_t *stages_json(const struct report *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->stages_n; i++) {
		const struct report_stage *s = &r->stages[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:I, s:s}", "name", s->name, "start_ms",
						(json_int_t)s->start_ms, "took_ms",
						(json_int_t)s->took_ms, "outcome", s->outcome));
	}
	return list;
}

static json_t *findings_json(const struct report *r, enum shorten level)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->findings_n; i++) {
		const struct report_finding *f = &r->findings[i];
		json_t *o;

		if (level >= FEW_FINDINGS && i == FINDINGS_FEW)
			break;
		o = json_object();
		set(o, "code", text_or_null(f->code));
		set(o, "key", text_or_null(f->key));
		set(o, "message", text_or_null(f->message));
		if (level < NO_FIXES)
			set(o, "fix", text_or_null(f->fix));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *image_json(const struct report *r)
{
	char reference[REFERENCE_MAX];
	json_t *o;

	if (!r->image.reference)
		return NULL;
	o = json_object();
	tl_str_escape(r->image.reference, reference, sizeof(reference));
	set(o, "reference", json_string(reference));
	set(o, "digest", text_or_null(r->image.digest));
	set(o, "config_digest", text_or_null(r->image.config_digest));
	if (r->image.digest) {
		set(o, "size_bytes", json_integer((json_int_t)r->image.size_bytes));
		set(o, "layers", json_integer((json_int_t)r->image.layers));
	}
	return o;
}

static json_t *pull_json(const struct report *r)
{
	char reason[2 * REPORT_REASON_MAX];
	json_t *o;

	if (!r->pull.has_begun)
		return NULL;
	o = json_pack("{s:I, s:I, s:i, s:i, s:i, s:I, s:I, s:I}", "downloaded_bytes",
		      (json_int_t)r->pull.downloaded_bytes, "unpacked_bytes",
		      (json_int_t)r->pull.unpacked_bytes, "layers_own", (int)r->pull.layers_own,
		      "layers_containerd", (int)r->pull.layers_containerd, "layers_reused",
		      (int)r->pull.layers_reused, "downloaded_at_ms",
		      (json_int_t)r->pull.downloaded_at_ms, "unpacked_at_ms",
		      (json_int_t)r->pull.unpacked_at_ms, "took_ms", (json_int_t)r->pull.took_ms);
	if (r->pull.reason[0]) {
		tl_str_escape(r->pull.reason, reason, sizeof(reason));
		set(o, "reason", json_string(reason));
	}
	return o;
}

static json_t *workload_json(const struct report *r)
{
	json_t *o;

	if (!r->workload.has_run)
		return NULL;
	o = json_object();
	if (r->workload.signal)
		set(o, "signal", json_integer(r->workload.signal));
	else
		set(o, "exit_status", json_integer(r->workload.exit_status));
	set(o, "oom_killed", json_boolean(r->workload.is_oom_killed));
	set(o, "run_ms", json_integer((json_int_t)r->workload.run_ms));
	if (r->workload.health)
		set(o, "health",
		    json_pack("{s:s, s:I, s:I}", "status", r->workload.health, "probes",
			      (json_int_t)r->workload.probes, "failures",
			      (json_int_t)r->workload.probes_failed));
	return o;
}

static json_t *capabilities_json(uint64_t set)
{
	auto_strv struct tl_strv names = { 0 };
	json_t *list = json_array();

	if (machine_capability_names(set, &names, NULL) < 0)
		return list;
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(list, json_string(names.items[i]));
	return list;
}

static json_t *confinement_json(const struct report *r)
{
	json_t *o;

	if (!r->confinement.mode)
		return NULL;
	o = json_pack("{s:s, s:s}", "mode", r->confinement.mode, "phase", r->confinement.phase);
	if (strcmp(r->confinement.phase, "none") == 0)
		return o;
	set(o, "capabilities", capabilities_json(r->confinement.capabilities));
	set(o, "landlock_abi", json_integer(r->confinement.landlock_abi));
	set(o, "threads", json_integer((json_int_t)r->confinement.threads));
	return o;
}

static json_t *disk_json(const struct report *r)
{
	json_t *o;

	if (!r->disk.mode)
		return NULL;
	o = json_object();
	set(o, "mode", json_string(r->disk.mode));
	if (!r->disk.cipher)
		return o;
	set(o, "cipher", json_string(r->disk.cipher));
	set(o, "integrity", json_string(r->disk.integrity));
	set(o, "tags", json_string(r->disk.tags));
	set(o, "setup_ms", json_integer((json_int_t)r->disk.setup_ms));
	set(o, "size_bytes", json_integer((json_int_t)r->disk.size_bytes));
	return o;
}

static json_t *measured_json(const struct report *r)
{
	json_t *o;

	if (!r->measured.events)
		return NULL;
	o = json_object();
	set(o, "pcr13", text_or_null(r->measured.pcr13_sha256));
	set(o, "pcr15", text_or_null(r->measured.pcr15_sha256));
	if (r->measured.rtmr3)
		set(o, "rtmr3", json_string(r->measured.rtmr3));
	set(o, "event_count", json_integer((json_int_t)r->measured.events));
	return o;
}

static json_t *token_json(const struct report *r)
{
	json_t *o = json_object();

	set(o, "state", json_string(r->token.state ? r->token.state : "none"));
	if (r->token.expires_at)
		set(o, "expires_at", json_integer(r->token.expires_at));
	set(o, "attempts", json_integer((json_int_t)r->token.attempts));
	if (r->token.state)
		set(o, "clock_skew_s", json_integer(r->token.clock_skew_s));
	set(o, "requests", json_integer((json_int_t)r->token.requests));
	set(o, "refused", json_integer((json_int_t)r->token.refused));
	set(o, "upstream", json_integer((json_int_t)r->token.upstream));
	return o;
}

/* What is wrapped may be cut inside a character, which JSON has no way to say. */
static json_t *message_json(const struct report *r)
{
	char text[2 * TL_ERROR_MSG_MAX];

	if (!r->message)
		return NULL;
	tl_str_escape(r->message, text, sizeof(text));
	return json_string(text);
}

static json_t *report_json(const struct report *r, enum shorten level)
{
	json_t *o = json_object();

	set(o, "schema", json_string("teelaunch.report/1"));
	set(o, "result", text_or_null(r->result));
	set(o, "code", text_or_null(r->code));
	set(o, "message", message_json(r));
	set(o, "exit_code", json_integer(r->exit_code));
	if (r->restart_delay_ms)
		set(o, "restart_delay_ms", json_integer((json_int_t)r->restart_delay_ms));
	set(o, "action", text_or_null(r->action));
	set(o, "decided_by", text_or_null(r->decided_by));
	if (r->findings_n && level < NO_FINDINGS)
		set(o, "findings", findings_json(r, level));
	if (level < NO_STAGES)
		set(o, "stages", stages_json(r));
	set(o, "image", image_json(r));
	set(o, "pull", pull_json(r));
	set(o, "workload", workload_json(r));
	set(o, "root", r->root ? json_string(r->root) : NULL);
	set(o, "confinement", confinement_json(r));
	set(o, "disk", disk_json(r));
	set(o, "measured", measured_json(r));
	set(o, "token", token_json(r));
	set(o, "log",
	    json_pack("{s:I, s:I, s:I, s:I, s:b}", "lines", (json_int_t)r->log.lines, "bytes",
		      (json_int_t)r->log.bytes, "dropped", (json_int_t)r->log.dropped_bytes,
		      "dropped_lines", (json_int_t)r->log.dropped_lines, "cut", r->log.is_cut));
	set(o, "build", json_pack("{s:s?, s:s?}", "version", r->version, "commit", r->commit));
	if (level != FULL)
		set(o, "truncated", json_true());
	return o;
}

/* A document that memory ran out for has holes. */
static bool is_whole(const json_t *o, const struct report *r)
{
	static const char *const always[] = { "schema", "exit_code", "log", "build" };
	const struct {
		const char *key, *value;
	} told[] = { { "result", r->result },
		     { "code", r->code },
		     { "message", r->message },
		     { "action", r->action },
		     { "decided_by", r->decided_by } };

	for (size_t i = 0; i < TL_ARRAY_SIZE(always); i++)
		if (!json_object_get(o, always[i]))
			return false;
	for (size_t i = 0; i < TL_ARRAY_SIZE(told); i++)
		if (told[i].value && !json_object_get(o, told[i].key))
			return false;
	return true;
}

/* Not json_dumps(): when its buffer can't grow, it may leave out a key and go on (jansson 2.14). */
static char *text_of(const json_t *o)
{
	size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT);
	auto_free char *text = n ? malloc(n + 1) : NULL;

	if (!text || json_dumpb(o, text, n, JSON_COMPACT) != n)
		return NULL;
	text[n] = '\0';
	return take_ptr(text);
}

int report_format(const struct report *r, size_t max_bytes, char **ret)
{
	for (int level = FULL; level < SHORTEN_END; level++) {
		json_t *o = report_json(r, (enum shorten)level);
		auto_free char *text = is_whole(o, r) ? text_of(o) : NULL;

		json_decref(o);
		if (!text)
			return -ENOMEM;
		if (strlen(text) > max_bytes && level + 1 < SHORTEN_END)
			continue;
		*ret = take_ptr(text);
		return 0;
	}
	return -ENOMEM;
}

void report_format_brief(const struct report *r, char *ret, size_t cap_bytes)
{
	snprintf(ret, cap_bytes,
		 "{\"schema\":\"teelaunch.report/1\",\"result\":\"%s\"%s%s%s,\"exit_code\":%d,"
		 "\"action\":\"%s\",\"decided_by\":\"%s\",\"truncated\":true}",
		 r->result, r->code ? ",\"code\":\"" : "", r->code ? r->code : "",
		 r->code ? "\"" : "", r->exit_code, r->action, r->decided_by);
}

int report_level(const struct report *r)
{
	return strcmp(r->result, "success") == 0 ? LOG_INFO : LOG_ERR;
}

void report_print(const struct report *r, const char *full, int console_fd, struct journal *journal)
{
	char line[REPORT_CONSOLE_MAX + 1] = REPORT_PREFIX;
	char *document = line + strlen(REPORT_PREFIX);
	const size_t room = sizeof(line) - sizeof(REPORT_PREFIX "\n");
	auto_free char *text = NULL;
	bool is_told;
	size_t n;

	if (report_format(r, room, &text) == 0)
		memcpy(document, text, strlen(text) + 1);
	else
		report_format_brief(r, document, room);
	n = strlen(line);
	/* An entry that is lost, as it is without memory, goes by standard error as text. */
	is_told = journal &&
		  journal_document(journal, report_level(r), "launch.report", line, "TL_REPORT",
				   full ? full : document, strlen(full ? full : document));
	line[n++] = '\n';
	if (!is_told)
		(void)tl_log_raw(STDERR_FILENO, line, n);
	if (console_fd >= 0)
		(void)tl_log_raw(console_fd, line, n);
}

const char *report_exit_text(int exit_code)
{
	/* The words of the Confidential Space launcher. */
	static const struct {
		int exit_code;
		const char *text;
	} texts[] = {
		{ 0, "workload finished successfully, shutting down the VM" },
		{ 1, "workload or launcher error, shutting down the VM" },
		{ 3, "rebooting VM" },
		{ 4, "VM remains running" },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++)
		if (texts[i].exit_code == exit_code)
			return texts[i].text;
	return "";
}
