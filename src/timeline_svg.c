/* SPDX-License-Identifier: Apache-2.0 */
/* What is drawn: a row for each stage, in the report's order; the critical path dark and joined by
 * lines. SVG 1.1 (W3C Recommendation, 16 August 2011). */
#include "timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

/* In pixels. */
#define WIDTH     960
#define LEFT      130 /* the names' column */
#define RIGHT     250 /* the words' column */
#define PLOT      (WIDTH - LEFT - RIGHT)
#define TOP       86
#define ROW       24
#define BAR       14
#define BAR_MIN   2
#define LAST_PLOT 40 /* a workload's run is cut to this, so that it doesn't flatten the launch */
#define SVG_MAX   ((size_t)256 << 10)
#define LONG_RUN  4 /* cut if it takes more than so many times all before it */
#define TICKS     6

static const char style[] =
	"text{font:13px system-ui,sans-serif;fill:#1b1f24}"
	".t{font-size:16px;font-weight:600}.s,.w{fill:#57606a}.s{font-size:12px}"
	".b{fill:#fff}.g{stroke:#d0d7de}.c{fill:#0a58ca}.n{fill:#9ec5fe}.f{fill:#b42318}"
	".h{fill:none;stroke:#57606a;stroke-dasharray:3 3}.k{stroke:#0a58ca;fill:none}"
	"@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s,.w{fill:#9198a1}.b{fill:#0d1117}"
	".g{stroke:#3d444d}.c{fill:#58a6ff}.n{fill:#1f4b7a}.f{fill:#ff7b72}.h{stroke:#9198a1}"
	".k{stroke:#58a6ff}}";

struct drawing {
	const struct timeline *t;
	struct tl_buf *to;
	uint64_t axis_ms;        /* what PLOT shows */
	const struct span *last; /* a run that is cut; NULL: none */
	int r;
};

static void put(struct drawing *d, const char *text)
{
	if (d->r == 0)
		d->r = tl_buf_append_str(d->to, text);
}

#define put_f(d, ...)                                                                              \
	do {                                                                                       \
		if ((d)->r == 0)                                                                   \
			(d)->r = tl_buf_printf((d)->to, __VA_ARGS__);                              \
	} while (0)

/* Foreign text: all that means something in XML, by its number. */
static void put_foreign(struct drawing *d, const char *text)
{
	for (; *text; text++)
		if (strchr("<>&\"'", *text))
			put_f(d, "&#%d;", *text);
		else if (d->r == 0)
			d->r = tl_buf_append_u8(d->to, (uint8_t)*text);
}

static void put_duration(struct drawing *d, uint64_t ms)
{
	const uint64_t s = ms / 1000;

	if (ms < 1000)
		put_f(d, "%" PRIu64 " ms", ms);
	else if (s < 10)
		put_f(d, "%" PRIu64 ".%02" PRIu64 " s", s, ms % 1000 / 10);
	else if (s < 120)
		put_f(d, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
	else if (s < 7200)
		put_f(d, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
	else
		put_f(d, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
}

static unsigned int x_of(const struct drawing *d, uint64_t ms)
{
	const uint64_t at = ms < d->axis_ms ? ms : d->axis_ms;

	if (!d->axis_ms)
		return LEFT;
	return LEFT + (unsigned int)((PLOT - (d->last ? LAST_PLOT : 0)) * at / d->axis_ms);
}

static unsigned int y_of(size_t row)
{
	return TOP + (unsigned int)row * ROW;
}

/* A run that began when all else had ended, and that would leave nothing to see of it. */
static void axis_choose(struct drawing *d)
{
	const struct timeline *t = d->t;
	const struct span *run = NULL;
	uint64_t others_ms = 0;

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->spans[i].name, "run") == 0)
			run = &t->spans[i];
	for (size_t i = 0; i < t->n; i++)
		if (&t->spans[i] != run && t->spans[i].start_ms + t->spans[i].took_ms > others_ms)
			others_ms = t->spans[i].start_ms + t->spans[i].took_ms;
	d->axis_ms = t->end_ms ? t->end_ms : 1;
	if (run && others_ms && run->start_ms + 1 >= others_ms &&
	    run->took_ms > LONG_RUN * run->start_ms) {
		d->last = run;
		d->axis_ms = run->start_ms ? run->start_ms : 1;
	}
}

static void head_draw(struct drawing *d)
{
	const struct timeline *t = d->t;
	uint64_t launch_ms = t->end_ms;

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->spans[i].name, "run") == 0)
			launch_ms = t->spans[i].start_ms;
	put_f(d, "<text class=\"t\" x=\"16\" y=\"28\">Launch: ");
	put_foreign(d, *t->result ? t->result : "unknown end");
	if (*t->code) {
		put(d, ", ");
		put_foreign(d, t->code);
	}
	put(d, "</text>\n<text class=\"s\" x=\"16\" y=\"48\">");
	put_foreign(d, *t->image ? t->image : "image not known");
	put(d, "</text>\n<text class=\"s\" x=\"16\" y=\"66\">");
	put_duration(d, launch_ms);
	put(d, launch_ms == t->end_ms ? " in all" : " until the workload started");
	put(d, "; dark and joined: the critical path; dashed: nothing of it ran</text>\n");
}

static void ticks_draw(struct drawing *d)
{
	uint64_t step = 1;

	while (d->axis_ms / step > TICKS)
		step *= d->axis_ms / (step * 2) <= TICKS   ? 2
			: d->axis_ms / (step * 5) <= TICKS ? 5
							   : 10;
	for (uint64_t at = 0; at <= d->axis_ms; at += step) {
		const unsigned int x = x_of(d, at), bottom = y_of(d->t->n);

		put_f(d, "<path class=\"g\" d=\"M%u %dV%u\"/>", x, TOP - 4, bottom);
		put_f(d, "<text class=\"s\" x=\"%u\" y=\"%u\" text-anchor=\"middle\">", x,
		      bottom + 16);
		put_duration(d, at);
		put(d, "</text>\n");
	}
}

static void words_draw(struct drawing *d, const struct span *s, unsigned int y)
{
	const uint64_t whole = d->last ? d->axis_ms : d->t->end_ms;

	put_f(d, "<text x=\"%d\" y=\"%u\">", WIDTH - RIGHT + 14, y + 12);
	put_duration(d, s->took_ms);
	/* A share says nothing of a run that was cut. */
	if (s->is_critical && s != d->last && whole)
		put_f(d, "<tspan class=\"w\">, %" PRIu64 " %%</tspan>",
		      (s->took_ms * 100 + whole / 2) / whole);
	if (s->waited_ms) {
		put(d, "<tspan class=\"w\">, after ");
		put_duration(d, s->waited_ms);
		put(d, "</tspan>");
	}
	if (s->outcome != SPAN_OK)
		put(d, s->outcome == SPAN_FAILED ? ", failed" : ", skipped");
	put(d, "</text>\n");
}

static void row_draw(struct drawing *d, size_t i)
{
	const struct span *s = &d->t->spans[i];
	const unsigned int y = y_of(i), from = x_of(d, s->start_ms);
	unsigned int to = x_of(d, s->start_ms + s->took_ms);

	if (s == d->last)
		to += LAST_PLOT;
	if (to < from + BAR_MIN)
		to = from + BAR_MIN;
	put_f(d, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">", LEFT - 10, y + 12);
	put_foreign(d, s->name);
	put(d, "</text>");
	if (s->waited_ms) {
		const unsigned int since = x_of(d, s->start_ms - s->waited_ms);

		put_f(d, "<path class=\"h\" d=\"M%u %uH%u\"/>", since, y + BAR / 2, from);
	}
	if (s->outcome != SPAN_SKIPPED)
		put_f(d,
		      "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%d\" rx=\"2\"/>",
		      s->outcome == SPAN_FAILED ? "f"
		      : s->is_critical          ? "c"
						: "n",
		      from, y, to - from, BAR);
	/* Two slanted cuts say that the bar goes on. */
	if (s == d->last)
		put_f(d, "<path class=\"b\" d=\"M%u %ul4 -18h4l-4 18zm8 0l4 -18h4l-4 18z\"/>",
		      to - LAST_PLOT / 2, y + BAR + 2);
	words_draw(d, s, y);
}

/* From the end of a critical span down, or up, to the next one's row. */
static void joins_draw(struct drawing *d)
{
	const struct timeline *t = d->t;

	for (size_t i = 0; i < t->n; i++) {
		const struct span *s = &t->spans[i];
		size_t next = t->n;

		for (size_t k = 0; s->is_critical && k < t->n; k++)
			if (t->spans[k].is_critical && k != i &&
			    t->spans[k].start_ms + 1 >= s->start_ms + s->took_ms &&
			    (next == t->n || t->spans[k].start_ms < t->spans[next].start_ms))
				next = k;
		if (next < t->n)
			put_f(d, "<path class=\"k\" d=\"M%u %uV%u\"/>\n",
			      x_of(d, s->start_ms + s->took_ms), y_of(i) + BAR / 2,
			      y_of(next) + BAR / 2);
	}
}

int timeline_draw(const struct timeline *t, struct tl_buf *ret)
{
	struct drawing d = { .t = t, .to = ret };
	const unsigned int height = y_of(t->n) + 30;

	tl_buf_init(ret, SVG_MAX);
	axis_choose(&d);
	put_f(&d,
	      "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" viewBox=\"0 0 %d %u\" "
	      "width=\"%d\" height=\"%u\" role=\"img\">\n<title>Timeline of a launch</title>\n"
	      "<style>%s</style>\n<rect class=\"b\" width=\"%d\" height=\"%u\"/>\n",
	      WIDTH, height, WIDTH, height, style, WIDTH, height);
	head_draw(&d);
	ticks_draw(&d);
	joins_draw(&d);
	for (size_t i = 0; i < t->n; i++)
		row_draw(&d, i);
	put(&d, "</svg>\n");
	return d.r;
}
