/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

static void text_copy(const json_t *object, const char *key, char *ret, size_t cap_bytes)
{
	const char *text = json_string_value(json_object_get(object, key));

	tl_str_escape(text ? text : "", ret, cap_bytes);
}

int qmp_parse(const char *line, size_t n, struct qmp_message *ret)
{
	static const struct {
		const char *key;
		enum qmp_kind kind;
	} kinds[] = {
		{ "QMP", QMP_GREETING },
		{ "return", QMP_RETURN },
		{ "error", QMP_ERROR },
		{ "event", QMP_EVENT },
	};
	struct qmp_message m = { 0 };
	json_auto_t *doc = NULL;
	const json_t *error;
	size_t i = 0;

	if (n > QMP_LINE_MAX || tl_json_scan(line, n, NULL))
		return -EBADMSG;
	doc = json_loadb(line, n, 0, NULL);
	while (i < TL_ARRAY_SIZE(kinds) && !json_object_get(doc, kinds[i].key))
		i++;
	if (i == TL_ARRAY_SIZE(kinds))
		return -EBADMSG;
	m.kind = kinds[i].kind;
	error = json_object_get(doc, "error");
	text_copy(doc, "event", m.name, sizeof(m.name));
	if (m.kind == QMP_ERROR)
		text_copy(error, "class", m.name, sizeof(m.name));
	text_copy(error, "desc", m.text, sizeof(m.text));
	text_copy(json_object_get(doc, "data"), "reason", m.reason, sizeof(m.reason));
	text_copy(json_object_get(doc, "return"), "status", m.status, sizeof(m.status));
	*ret = m;
	return 0;
}

enum vm_end qmp_shutdown_end(const char *reason)
{
	static const struct {
		const char *reason;
		enum vm_end end;
	} ends[] = {
		{ "guest-shutdown", VM_END_POWEROFF }, { "guest-reset", VM_END_RESET },
		{ "subsystem-reset", VM_END_RESET },   { "guest-panic", VM_END_PANIC },
		{ "host-qmp-quit", VM_END_QUIT },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(ends); i++)
		if (strcmp(ends[i].reason, reason) == 0)
			return ends[i].end;
	return VM_END_FAILED;
}
