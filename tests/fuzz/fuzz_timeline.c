/* SPDX-License-Identifier: Apache-2.0 */
/* `teelaunch timeline`: anybody's report. The picture is the same each time, and nothing of the
 * report's text is markup in it. */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "fuzz.h"
#include "src/timeline.h"

#define PICTURE_MAX (4u << 20)

static void spans_check(const struct timeline *t)
{
	FUZZ_CHECK(t->n >= 1 && t->n <= TIMELINE_SPANS_MAX);
	for (size_t i = 0; i < t->n; i++) {
		const struct span *s = &t->spans[i];

		FUZZ_CHECK(s->start_ms <= TIMELINE_MS_MAX && s->took_ms <= TIMELINE_MS_MAX);
		FUZZ_CHECK(s->start_ms + s->took_ms <= t->end_ms || s->outcome == SPAN_SKIPPED);
		FUZZ_CHECK(memchr(s->name, '\0', sizeof(s->name)));
		FUZZ_CHECK(!s->is_critical || s->outcome != SPAN_SKIPPED);
	}
}

/* XML 1.0, section 2.2: what can't be in it at all is not there. */
static void characters_check(const char *picture)
{
	FUZZ_CHECK(!strstr(picture, "\xef\xbf\xbe") && !strstr(picture, "\xef\xbf\xbf"));
	for (const char *c = picture; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= ' ' || *c == '\n' || *c == '\t');
}

/* Tags are ours: those that an element of SVG begins with. */
static void markup_check(const char *picture)
{
	static const char *const ours[] = { "svg ",    "/svg>", "style>", "/style>",
					    "rect ",   "text ", "/text>", "tspan ",
					    "/tspan>", "path ", "title>", "/title>" };

	for (const char *at = strchr(picture, '<'); at; at = strchr(at + 1, '<')) {
		bool is_ours = false;

		for (size_t i = 0; i < TL_ARRAY_SIZE(ours); i++)
			is_ours |= strncmp(at + 1, ours[i], strlen(ours[i])) == 0;
		FUZZ_CHECK(is_ours);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free struct timeline *t = calloc(1, sizeof(*t));
	auto_buf struct tl_buf first = { 0 }, second = { 0 };
	struct tl_error err = { 0 };

	FUZZ_CHECK(t);
	if (timeline_read(data, size, t, &err) < 0) {
		FUZZ_CHECK(err.code);
		return 0;
	}
	timeline_mark_critical(t);
	spans_check(t);
	tl_buf_init(&first, PICTURE_MAX);
	tl_buf_init(&second, PICTURE_MAX);
	FUZZ_CHECK(timeline_draw(t, &first) == 0);
	FUZZ_CHECK(timeline_draw(t, &second) == 0);
	FUZZ_CHECK(strcmp(tl_buf_str(&first), tl_buf_str(&second)) == 0);
	FUZZ_CHECK(tl_utf8_is_valid(tl_buf_str(&first), first.len_bytes));
	characters_check(tl_buf_str(&first));
	markup_check(tl_buf_str(&first));
	return 0;
}
