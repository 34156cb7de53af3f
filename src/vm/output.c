/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>

#include "run.h"

/* --- JSON --------------------------------------------------------------------------------- */

/* NULL without memory: half of it would be wrong. */
static json_t *marks_json(const struct boot_result *b)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < b->marks_n; i++) {
		const struct boot_mark *m = &b->marks[i];
		json_t *o = m->kind == CONSOLE_STAGE
				    ? json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", m->name,
						"kind", "stage", "at_ms", (json_int_t)m->at_ms,
						"took_ms", (json_int_t)m->took_ms, "outcome",
						m->is_failed ? "failed" : "ok")
				    : json_pack("{s:s, s:s, s:I}", "name", m->name, "kind", "boot",
						"at_ms", (json_int_t)m->at_ms);

		if (json_array_append_new(list, o) < 0)
			return NULL;
	}
	return json_incref(list);
}

static json_t *boots_json(const struct vm_run *run)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < run->boots_n; i++) {
		const struct boot_result *b = &run->boots[i];
		json_auto_t *o = json_pack("{s:s, s:I, s:I, s:o}", "end", vm_end_name(b->end),
					   "ran_ms", (json_int_t)b->ran_ms, "console_bytes",
					   (json_int_t)b->console_bytes, "timeline", marks_json(b));

		if ((b->report && json_object_set(o, "report", b->report) < 0) ||
		    json_array_append(list, o) < 0)
			return NULL;
	}
	return json_incref(list);
}

int vm_print_json(const struct vm_run *run)
{
	const struct boot_result *last = &run->boots[run->boots_n - 1];
	json_auto_t *doc =
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:i}", "schema", "teelaunch.vm/1",
			  "accelerator", run->is_kvm ? "kvm" : "tcg", "why_no_kvm", run->why_no_kvm,
			  "firmware", run->firmware, "memory_mb",
			  (json_int_t)run->options->memory_mb, "end", vm_end_name(last->end),
			  "boots", boots_json(run), "exit_status", (int)vm_run_status(run));
	static const char *const from_report[] = { "result", "code", "message", "exit_code",
						   "action" };

	if (!doc)
		return -ENOMEM;
	for (size_t i = 0; i < TL_ARRAY_SIZE(from_report); i++) {
		json_t *value = json_object_get(last->report, from_report[i]);

		if (value && json_object_set(doc, from_report[i], value) < 0)
			return -ENOMEM;
	}
	if (*run->last_words &&
	    json_object_set_new(doc, "last_words", json_string(run->last_words)) < 0)
		return -ENOMEM;
	if (json_dumpf(doc, stdout, JSON_INDENT(1)) < 0 || putchar('\n') == EOF || fflush(stdout))
		return -EIO;
	return 0;
}

/* --- text --------------------------------------------------------------------------------- */

/* What the guest wrote, so escaped; numbers and truth values as they are. */
static void field_print(const char *name, const json_t *value)
{
	char safe[1024];
	auto_free char *text = json_is_string(value)
				       ? strdup(json_string_value(value))
				       : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	if (!text)
		return;
	tl_str_escape(text, safe, sizeof(safe));
	printf("  %-10s %s\n", name, safe);
}

static void boot_print(const struct boot_result *b)
{
	static const char *const fields[] = { "result", "code",       "message", "exit_code",
					      "action", "decided_by", "image",   "workload",
					      "disk",   "measured",   "token" };

	for (size_t i = 0; i < b->marks_n; i++) {
		const struct boot_mark *m = &b->marks[i];

		printf("  %6" PRIu64 ".%" PRIu64 " s  %s%s%s\n", m->at_ms / 1000,
		       m->at_ms % 1000 / 100, m->kind == CONSOLE_STAGE ? "stage " : "", m->name,
		       m->is_failed ? ": failed" : "");
	}
	printf("  %6" PRIu64 ".%" PRIu64 " s  end: %s\n", b->ran_ms / 1000, b->ran_ms % 1000 / 100,
	       vm_end_name(b->end));
	for (size_t i = 0; i < TL_ARRAY_SIZE(fields); i++)
		if (json_object_get(b->report, fields[i]))
			field_print(fields[i], json_object_get(b->report, fields[i]));
	if (!b->report)
		puts("  no report came on the console");
}

void vm_print_text(const struct vm_run *run)
{
	static const char *const texts[] = {
		[VM_STATUS_SUCCESS] = "the launch succeeded",
		[VM_STATUS_COMMAND_FAILED] = "",
		[VM_STATUS_DENIED] = "the launch was denied",
		[VM_STATUS_FAILED] = "the launch or its workload failed",
		[VM_STATUS_NO_REPORT] = "the VM ended without a report",
		[VM_STATUS_DISOBEYED] = "the VM did not do what the report says",
	};

	for (size_t i = 0; i < run->boots_n; i++) {
		printf("\nBoot %zu of %zu:\n", i + 1, run->boots_n);
		boot_print(&run->boots[i]);
	}
	if (*run->last_words)
		printf("  qemu's last words: %s\n", run->last_words);
	printf("\nIn short: %s.\n", texts[vm_run_status(run)]);
}
