/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a fleet of 100,000 machines calls the verifier, second by second, in virtual time: the
 * schedule is the launcher's own (attest/token_schedule.h), the machines' chance comes from one
 * seed, so that the figures are the same on each machine.
 *
 *     fleet            prints them
 *     fleet FILE.md    checks that FILE.md has all that it prints, and that it keeps to its bounds
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "attest/token_schedule.h"

#define VMS        100000
#define LIFE_S     3600
#define HOURS      4
#define SECONDS    (HOURS * 3600)
#define BAR        50
#define DOC_MAX    (256 * 1024)
#define ATTEMPT_S  25 /* an attempt that nobody answers (token_keeper.c) */
#define REFUSED_MS 50
#define FETCHED_MS 500
#define NOBODY     UINT32_MAX
#define BOOT_S     20

struct scenario {
	const char *name;
	bool is_booting_together;  /* else the fleet has been running for long */
	uint32_t down_s, up_s;     /* the outage; the same: none */
	uint32_t capacity;         /* tokens a second that the verifier makes; 0: any */
	uint64_t retry_after_ms;   /* what it says to the others */
	bool is_silent;            /* the outage: no answer, instead of refused connections */
	uint32_t from_s, to_s;     /* what is shown */
	uint32_t step_s;           /* of a row */
	uint32_t fresh_s_max;      /* bound: after up_s until all have a token; 0: none */
	uint32_t peak_max;         /* bound: calls in any second of what is shown */
	unsigned int together_max; /* bound: peak against mean of the busiest minute, in percent */
};

static const struct scenario scenarios[] = {
	{ .name = "All 100,000 machines booted within 20 s; no outage. The calls after the first",
	  .is_booting_together = true,
	  .from_s = 1800,
	  .to_s = 4 * 3600,
	  .step_s = 600,
	  .peak_max = 200,
	  .together_max = 170 },
	{ .name = "A fleet in the steady state; no outage",
	  .to_s = 3600,
	  .step_s = 300,
	  .peak_max = 70,
	  .together_max = 170 },
	{ .name = "An outage of 10 minutes (connections refused), then all is well",
	  .down_s = 3600,
	  .up_s = 4200,
	  .from_s = 3300,
	  .to_s = 9000,
	  .step_s = 300,
	  .peak_max = 500,
	  .together_max = 170 },
	{ .name = "An outage of 90 minutes (connections refused): all tokens expire; then all is "
		  "well",
	  .down_s = 3600,
	  .up_s = 9000,
	  .from_s = 8880,
	  .to_s = 9120,
	  .step_s = 10,
	  .fresh_s_max = 60,
	  .peak_max = 5200,
	  .together_max = 300 },
	{ .name = "The same (no answer at all, attempts of 25 s)",
	  .down_s = 3600,
	  .up_s = 9000,
	  .is_silent = true,
	  .from_s = 8880,
	  .to_s = 9120,
	  .step_s = 10,
	  .fresh_s_max = 60,
	  .peak_max = 5200,
	  .together_max = 300 },
	{ .name = "The same outage; then the verifier makes 500 tokens a second and answers 429 "
		  "to the rest",
	  .down_s = 3600,
	  .up_s = 9000,
	  .capacity = 500,
	  .from_s = 8880,
	  .to_s = 9360,
	  .step_s = 20,
	  .fresh_s_max = 300,
	  .peak_max = 5200,
	  .together_max = 170 },
	{ .name = "The same, 429 with Retry-After: 120",
	  .down_s = 3600,
	  .up_s = 9000,
	  .capacity = 500,
	  .retry_after_ms = 120000,
	  .from_s = 8880,
	  .to_s = 10080,
	  .step_s = 60,
	  .peak_max = 5200 },
};

struct fleet {
	struct token_plan plan[VMS];
	uint32_t next[VMS]; /* in the list of its second */
	uint32_t first[SECONDS];
	uint32_t calls[SECONDS], tokens[SECONDS];
	uint64_t seed;
};

static double chance(struct fleet *f) /* splitmix64 */
{
	uint64_t z = (f->seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return token_unit_random(z ^ (z >> 31));
}

static void put(struct fleet *f, uint32_t vm)
{
	uint64_t s = f->plan[vm].next_at_ms / 1000;

	if (s >= SECONDS)
		return;
	f->next[vm] = f->first[s];
	f->first[s] = vm;
}

static void fleet_begin(struct fleet *f, const struct scenario *s)
{
	memset(f, 0, sizeof(*f));
	memset(f->first, 0xff, sizeof(f->first));
	f->seed = 1;
	for (uint32_t vm = 0; vm < VMS; vm++) {
		/* Without a token, the first call when it is up; or somewhere in a token's life. */
		double age = chance(f);

		token_plan_success(&f->plan[vm], 0, LIFE_S * 1000, chance(f));
		if (s->is_booting_together) {
			f->plan[vm].next_at_ms = (uint64_t)(age * BOOT_S * 1000);
		} else {
			f->plan[vm].next_at_ms = (uint64_t)(age * (double)f->plan[vm].next_at_ms);
			f->plan[vm].expires_at_ms = f->plan[vm].next_at_ms + LIFE_S * 200;
		}
		put(f, vm);
	}
}

static void call(struct fleet *f, const struct scenario *s, uint32_t vm)
{
	struct token_plan *p = &f->plan[vm];
	uint64_t now_ms = p->next_at_ms, at_s = now_ms / 1000;
	bool is_down = at_s >= s->down_s && at_s < s->up_s;
	bool is_busy = s->capacity && at_s >= s->up_s && f->tokens[at_s] >= s->capacity;

	f->calls[at_s]++;
	if (is_down)
		token_plan_failure(p, now_ms + (s->is_silent ? ATTEMPT_S * 1000 : REFUSED_MS), 0,
				   chance(f));
	else if (is_busy)
		token_plan_failure(p, now_ms + REFUSED_MS, s->retry_after_ms, chance(f));
	else
		f->tokens[at_s]++;
	if (!is_down && !is_busy)
		token_plan_success(p, now_ms + FETCHED_MS, LIFE_S * 1000, chance(f));
	put(f, vm);
}

static void fleet_run(struct fleet *f, const struct scenario *s)
{
	for (uint32_t at_s = 0; at_s < SECONDS; at_s++)
		while (f->first[at_s] != NOBODY) {
			uint32_t vm = f->first[at_s];

			f->first[at_s] = f->next[vm];
			call(f, s, vm);
		}
}

static uint32_t sum(const uint32_t *counts, uint32_t from_s, uint32_t to_s)
{
	uint32_t n = 0;

	for (uint32_t at_s = from_s; at_s < to_s; at_s++)
		n += counts[at_s];
	return n;
}

static uint32_t peak(const uint32_t *counts, uint32_t from_s, uint32_t to_s, uint32_t *ret_at_s)
{
	uint32_t most = 0;

	for (uint32_t at_s = from_s; at_s < to_s; at_s++)
		if (counts[at_s] > most) {
			most = counts[at_s];
			*ret_at_s = at_s;
		}
	return most;
}

/* Seconds from the end of the outage until all expired tokens are replaced. */
static uint32_t fresh_after(const struct fleet *f, const struct scenario *s)
{
	uint32_t n = 0, at_s = s->up_s;

	for (; at_s < SECONDS && n < VMS; at_s++)
		n += f->tokens[at_s];
	return at_s - s->up_s;
}

static void rows_print(FILE *out, const struct fleet *f, const struct scenario *s)
{
	uint32_t scale = 1;

	for (uint32_t at_s = s->from_s; at_s < s->to_s; at_s += s->step_s) {
		uint32_t n = sum(f->calls, at_s, at_s + s->step_s) / s->step_s;

		scale = n > scale ? n : scale;
	}
	for (uint32_t at_s = s->from_s; at_s < s->to_s; at_s += s->step_s) {
		uint32_t calls = sum(f->calls, at_s, at_s + s->step_s) / s->step_s;
		uint32_t tokens = sum(f->tokens, at_s, at_s + s->step_s) / s->step_s;
		char bar[BAR + 1];

		for (uint32_t i = 0; i < BAR; i++)
			bar[i] = i < tokens * BAR / scale  ? '#'
				 : i < calls * BAR / scale ? '.'
							   : ' ';
		bar[BAR] = '\0';
		bar[strcspn(bar, " ")] = '\0';
		(void)fprintf(out, "%3u:%02u:%02u %5u/s %5u/s%s%s\n", at_s / 3600, at_s / 60 % 60,
			      at_s % 60, calls, tokens, *bar ? " " : "", bar);
	}
}

static bool scenario_run(FILE *out, struct fleet *f, const struct scenario *s)
{
	uint32_t at_s = 0, most, minute, fresh_s = fresh_after(f, s);
	double mean, near;

	fleet_begin(f, s);
	fleet_run(f, s);
	fresh_s = fresh_after(f, s);
	most = peak(f->calls, s->from_s, s->to_s, &at_s);
	minute = at_s / 60 * 60;
	mean = (double)sum(f->calls, s->from_s, s->to_s) / (s->to_s - s->from_s);
	near = (double)sum(f->calls, minute, minute + 60) / 60;
	(void)fprintf(out, "%s\n\n    time    calls  tokens  (#: tokens, .: calls that failed)\n",
		      s->name);
	rows_print(out, f, s);
	(void)fprintf(out,
		      "\npeak %u calls a second; %.2f times the mean of its minute, %.1f times the "
		      "mean of what is shown\n",
		      most, most / near, most / mean);
	if (s->fresh_s_max)
		(void)fprintf(out, "all have a fresh token %u s after the outage\n", fresh_s);
	(void)fprintf(out, "\n");
	return most <= s->peak_max && (!s->fresh_s_max || fresh_s <= s->fresh_s_max) &&
	       (!s->together_max || most * 100.0 <= near * s->together_max);
}

static int doc_check(const char *path, const char *text)
{
	auto_buf struct tl_buf doc = { 0 };
	struct tl_error err = { 0 };

	tl_buf_init(&doc, DOC_MAX);
	if (tl_file_read(path, &doc, &err) < 0) {
		(void)fprintf(stderr, "fleet: %s\n", err.msg);
		return 1;
	}
	if (strstr(tl_buf_str(&doc), text))
		return 0;
	(void)fprintf(stderr, "fleet: %s doesn't show what is computed:\n%s", path, text);
	return 1;
}

int main(int argc, char **argv)
{
	struct fleet *f = calloc(1, sizeof(*f));
	auto_free char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	int r = 0;

	if (!f || !out)
		return 1;
	for (size_t i = 0; i < TL_ARRAY_SIZE(scenarios); i++)
		if (!scenario_run(out, f, &scenarios[i])) {
			(void)fprintf(stderr, "fleet: out of bounds: %s\n", scenarios[i].name);
			r = 1;
		}
	(void)fclose(out);
	free(f);
	if (argc > 1)
		return doc_check(argv[1], text) | r;
	(void)fputs(text, stdout);
	return r;
}
