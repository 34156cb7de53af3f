/* SPDX-License-Identifier: Apache-2.0 */
/* A launch report -> what is drawn of it. */
#include "timeline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

#define SCHEMA "teelaunch.report/1"
#define MARK   "TEELAUNCH-REPORT "

static int refuse(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_REPORT_INPUT, EINVAL, "%s", what);
}

/* --- finding ------------------------------------------------------------------------------- */

/* The last line of a console's output that is a report; a line's beginning may be a log's own. */
static const char *line_find(const char *text, size_t n, size_t *ret_n)
{
	const char *found = NULL;

	for (const char *at = text, *end = text + n; at < end;) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		const char *mark;

		line_end = line_end ? line_end : end;
		mark = memmem(at, (size_t)(line_end - at), MARK, strlen(MARK));
		if (mark) {
			found = mark + strlen(MARK);
			*ret_n = (size_t)(line_end - found);
		}
		at = line_end + 1;
	}
	return found;
}

static int document_load(const char *text, size_t n, json_t **ret, struct tl_error *err)
{
	const char *limit = tl_json_scan(text, n, NULL);
	json_error_t fault = { 0 };

	if (limit)
		return tl_fail(err, TL_E_REPORT_INPUT, EINVAL, "the document is %s", limit);
	*ret = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &fault);
	return *ret ? 0 : refuse(err, fault.text);
}

/* --- reading ------------------------------------------------------------------------------- */

/* U+FFFE and U+FFFF, which end here: JSON has them, XML 1.0 (section 2.2) doesn't. */
static bool is_no_character(const char *text, size_t last)
{
	return last >= 2 && memcmp(text + last - 2, "\xef\xbf", 2) == 0 &&
	       (unsigned char)text[last] >= 0xbe;
}

/* Cut where a character ends; no control characters, which a picture can't have either. */
static void text_take(char *ret, const json_t *value)
{
	const char *from = json_string_value(value);
	size_t n = from ? strlen(from) : 0;

	if (n >= TIMELINE_TEXT_BYTES) {
		n = TIMELINE_TEXT_BYTES - 1;
		while (n && ((unsigned char)from[n] & 0xc0) == 0x80)
			n--;
	}
	for (size_t i = 0; i < n; i++) {
		ret[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7f ? '?' : from[i];
		if (is_no_character(from, i))
			ret[i] = '\xbd'; /* U+FFFD */
	}
	ret[n] = '\0';
}

static int number_take(const json_t *stage, const char *name, uint64_t *ret, struct tl_error *err)
{
	const json_t *value = json_object_get(stage, name);
	const json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > TIMELINE_MS_MAX)
		return tl_fail(err, TL_E_REPORT_INPUT, EINVAL,
			       "a stage's %s is no number of milliseconds", name);
	*ret = (uint64_t)number;
	return 0;
}

static int span_read(const json_t *stage, struct span *ret, struct tl_error *err)
{
	static const char *const outcomes[] = {
		[SPAN_OK] = "ok",
		[SPAN_FAILED] = "failed",
		[SPAN_SKIPPED] = "skipped",
	};
	const char *outcome = json_string_value(json_object_get(stage, "outcome"));
	size_t i = 0;
	int r;

	if (!json_is_string(json_object_get(stage, "name")))
		return refuse(err, "a stage has no name");
	text_take(ret->name, json_object_get(stage, "name"));
	r = number_take(stage, "start_ms", &ret->start_ms, err);
	if (r == 0)
		r = number_take(stage, "took_ms", &ret->took_ms, err);
	if (r < 0)
		return r;
	while (i < TL_ARRAY_SIZE(outcomes) && (!outcome || strcmp(outcomes[i], outcome) != 0))
		i++;
	if (i == TL_ARRAY_SIZE(outcomes))
		return tl_fail(err, TL_E_REPORT_INPUT, EINVAL,
			       "the stage '%s' ended in a way that isn't known", ret->name);
	ret->outcome = (enum span_outcome)i;
	return 0;
}

static int stages_read(const json_t *report, struct timeline *t, struct tl_error *err)
{
	const json_t *stages = json_object_get(report, "stages"), *stage;
	size_t i;

	if (!json_array_size(stages))
		return refuse(err, json_is_true(json_object_get(report, "truncated"))
					   ? "its stages were cut away, to fit a console's line"
					   : "it has no stages");
	if (json_array_size(stages) > TIMELINE_SPANS_MAX)
		return tl_fail(err, TL_E_REPORT_INPUT, EINVAL, "it has more than %d stages",
			       TIMELINE_SPANS_MAX);
	json_array_foreach(stages, i, stage)
	{
		struct span *s = &t->spans[t->n++];
		int r = span_read(stage, s, err);

		if (r < 0)
			return r;
		if (s->start_ms + s->took_ms > t->end_ms)
			t->end_ms = s->start_ms + s->took_ms;
	}
	return 0;
}

int timeline_read(const void *text, size_t n, struct timeline *ret, struct tl_error *err)
{
	json_auto_t *report = NULL;
	size_t blank = 0;
	const char *at = text;
	int r;

	memset(ret, 0, sizeof(*ret));
	while (blank < n && strchr(" \t\r\n", at[blank]) && at[blank])
		blank++;
	if (blank == n || at[blank] != '{')
		at = line_find(text, n, &n);
	if (!at)
		return refuse(err, "it is no JSON object, and has no line " MARK);
	r = document_load(at, n, &report, err);
	if (r < 0)
		return r;
	at = json_string_value(json_object_get(report, "schema"));
	if (!at || strcmp(at, SCHEMA) != 0)
		return refuse(err, "its schema isn't " SCHEMA);
	text_take(ret->result, json_object_get(report, "result"));
	text_take(ret->code, json_object_get(report, "code"));
	text_take(ret->image, json_object_get(json_object_get(report, "image"), "reference"));
	return stages_read(report, ret, err);
}

/* --- the critical path --------------------------------------------------------------------- */

/* Starts and durations are cut to whole milliseconds each. */
#define ROUNDING_MS 1

static uint64_t span_end(const struct span *s)
{
	return s->start_ms + s->took_ms;
}

/* Of the spans that ended by @limit_ms and began before @before, the last to end; of those the
 * last to begin. */
static struct span *last_by(struct timeline *t, uint64_t limit_ms, const struct span *before)
{
	struct span *ret = NULL;

	for (size_t i = 0; i < t->n; i++) {
		struct span *s = &t->spans[i];

		if (s->outcome == SPAN_SKIPPED || s->is_critical || span_end(s) > limit_ms ||
		    (before && s->start_ms > before->start_ms))
			continue;
		if (!ret || span_end(s) > span_end(ret) ||
		    (span_end(s) == span_end(ret) && s->start_ms >= ret->start_ms))
			ret = s;
	}
	return ret;
}

void timeline_mark_critical(struct timeline *t)
{
	struct span *s = last_by(t, UINT64_MAX, NULL);

	while (s) {
		struct span *before;
		uint64_t free_ms;

		s->is_critical = true;
		before = last_by(t, s->start_ms + ROUNDING_MS, s);
		free_ms = before ? span_end(before) : 0;
		s->waited_ms = s->start_ms > free_ms + ROUNDING_MS ? s->start_ms - free_ms : 0;
		s = before;
	}
}
