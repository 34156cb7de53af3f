/* SPDX-License-Identifier: Apache-2.0 */
#include "health.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <teelaunch/log.h>

/* A line of the log is cut at TL_LOG_LINE_MAX anyway. */
#define LINE_BYTES_MAX 2048
/* Of the time that some task waits for memory: above the first it is short, below the second no
 * more. What is reclaimed in passing stays far below. */
#define SHORT_PERCENT 10
#define AMPLE_PERCENT 5

struct health {
	struct health_options options;
	struct sample_group group;
	uint64_t due_ms;
	struct sample last;
	bool has_last;
	bool is_short;   /* of memory, and it was said */
	bool is_failing; /* it was said */
};

uint64_t health_due_next(uint64_t due_ms, uint64_t now_ms, uint64_t period_ms)
{
	if (now_ms < due_ms)
		return due_ms;
	return due_ms + ((now_ms - due_ms) / period_ms + 1) * period_ms;
}

static uint64_t since(uint64_t before, uint64_t now)
{
	return now > before ? now - before : 0;
}

static uint64_t busy_ms(const struct sample *s)
{
	/* Guests are counted as user, and nice, already: proc(5). */
	return s->cpu_ms[KERNEL_CPU_USER] + s->cpu_ms[KERNEL_CPU_NICE] +
	       s->cpu_ms[KERNEL_CPU_SYSTEM] + s->cpu_ms[KERNEL_CPU_IRQ] +
	       s->cpu_ms[KERNEL_CPU_SOFTIRQ];
}

/* Appends leave the buffer as it is once there is no memory: the last one tells. */
static int put(struct tl_buf *b, const char *key, uint64_t value)
{
	return tl_buf_printf(b, " %s=%" PRIu64, key, value);
}

static int memory_put(const struct sample *s, struct tl_buf *b)
{
	const struct kernel_memory *m = &s->memory;
	int r = tl_buf_printf(b, "metrics=%s", s->is_all ? "all" : "memoryOnly");

	if (r == 0)
		r = tl_buf_printf(b,
				  " memory_total_bytes=%" PRIu64 " memory_used_bytes=%" PRIu64
				  " memory_free_bytes=%" PRIu64 " memory_buffered_bytes=%" PRIu64
				  " memory_cached_bytes=%" PRIu64 " memory_slab_bytes=%" PRIu64,
				  m->total, m->used, m->free, m->buffers, m->cached, m->slab);
	if (r == 0 && s->workload.has_memory)
		r = put(b, "workload_memory_bytes", s->workload.memory_bytes);
	if (r == 0 && s->workload.has_memory && s->workload.memory_max_bytes != UINT64_MAX)
		r = put(b, "workload_memory_max_bytes", s->workload.memory_max_bytes);
	return r == 0 && s->workload.has_oom ? put(b, "workload_oom_kills", s->workload.oom_kills)
					     : r;
}

static int stall_put(struct tl_buf *b, const char *what, bool is_known,
		     const struct kernel_pressure *before, const struct kernel_pressure *now)
{
	int r = 0;

	if (!is_known)
		return 0;
	r = tl_buf_printf(b, " %s_stall_ms=%" PRIu64, what,
			  since(before->some_us, now->some_us) / 1000);
	return r < 0 ? r
		     : tl_buf_printf(b, " %s_stall_full_ms=%" PRIu64, what,
				     since(before->full_us, now->full_us) / 1000);
}

static int stalls_put(const struct sample *before, const struct sample *now, struct tl_buf *b)
{
	int r = put(b, "period_ms", since(before->up_ms, now->up_ms));

	if (r == 0)
		r = stall_put(b, "memory", before->has_memory_pressure && now->has_memory_pressure,
			      &before->memory_pressure, &now->memory_pressure);
	if (r == 0)
		r = stall_put(b, "workload_memory",
			      before->workload.has_pressure && now->workload.has_pressure,
			      &before->workload.memory_pressure, &now->workload.memory_pressure);
	if (r == 0)
		r = stall_put(b, "cpu", before->has_cpu_pressure && now->has_cpu_pressure,
			      &before->cpu_pressure, &now->cpu_pressure);
	return r < 0 ? r
		     : stall_put(b, "io", before->has_io_pressure && now->has_io_pressure,
				 &before->io_pressure, &now->io_pressure);
}

/* Of the level "all": what is so now. */
static int state_put(const struct sample *s, struct tl_buf *b)
{
	int r = put(b, "uptime_s", s->up_ms / 1000);

	if (r == 0 && s->has_cpu)
		r = put(b, "load_1m_hundredths", s->load_1m_hundredths);
	if (r == 0 && s->has_space)
		r = put(b, "disk_used_bytes", s->space.used_bytes);
	return r == 0 && s->has_space ? put(b, "disk_free_bytes", s->space.free_bytes) : r;
}

/* Of the level "all": what was done in between. */
static int work_put(const struct sample *before, const struct sample *now, struct tl_buf *b)
{
	bool has_disk = before->has_disk && now->has_disk;
	int r = 0;

	if (before->has_cpu && now->has_cpu)
		r = put(b, "cpu_busy_ms", since(busy_ms(before), busy_ms(now)));
	if (r == 0 && before->workload.has_cpu && now->workload.has_cpu)
		r = put(b, "workload_cpu_ms",
			since(before->workload.cpu_us, now->workload.cpu_us) / 1000);
	if (r == 0 && has_disk)
		r = put(b, "disk_read_bytes", since(before->disk_read_bytes, now->disk_read_bytes));
	if (r == 0 && has_disk)
		r = put(b, "disk_written_bytes",
			since(before->disk_written_bytes, now->disk_written_bytes));
	return r;
}

int health_line(const struct sample *before, const struct sample *now, struct tl_buf *ret)
{
	int r = memory_put(now, ret);

	if (r == 0 && now->is_all)
		r = state_put(now, ret);
	if (r == 0 && before)
		r = stalls_put(before, now, ret);
	return r == 0 && before && now->is_all ? work_put(before, now, ret) : r;
}

struct health_verdict health_judge(const struct sample *before, const struct sample *now,
				   bool was_short)
{
	struct health_verdict v = { .period_ms = since(before->up_ms, now->up_ms) };
	unsigned int limit = was_short ? AMPLE_PERCENT : SHORT_PERCENT;

	if (before->has_memory_pressure && now->has_memory_pressure)
		v.stall_ms =
			since(before->memory_pressure.some_us, now->memory_pressure.some_us) / 1000;
	v.is_short = v.stall_ms > v.period_ms / 100 * limit;
	if (before->workload.has_oom && now->workload.has_oom)
		v.oom_kills = since(before->workload.oom_kills, now->workload.oom_kills);
	return v;
}

/* Each change is said once. */
static void shortage_say(struct health *h, const struct sample *now)
{
	struct health_verdict v = health_judge(&h->last, now, h->is_short);

	if (v.oom_kills)
		tl_log_event(LOG_WARNING, "health.oom",
			     "kills=%" PRIu64 " do='memory ran out, and the kernel has killed "
			     "processes of the workload: choose a machine type with more memory, "
			     "or let the workload use less (tmpfs mounts and /dev/shm count)'",
			     v.oom_kills);
	if (v.is_short && !h->is_short)
		tl_log_event(LOG_WARNING, "health.memory_short",
			     "stall_ms=%" PRIu64 " period_ms=%" PRIu64
			     " do='tasks wait for memory: before it runs out, choose a machine "
			     "type with more, or let the workload use less'",
			     v.stall_ms, v.period_ms);
	if (!v.is_short && h->is_short)
		tl_log_event(LOG_INFO, "health.memory_ample",
			     "stall_ms=%" PRIu64 " period_ms=%" PRIu64, v.stall_ms, v.period_ms);
	h->is_short = v.is_short;
}

static void sample_say(const struct health *h, const struct sample *now)
{
	auto_buf struct tl_buf line = { 0 };

	tl_buf_init(&line, LINE_BYTES_MAX);
	if (health_line(h->has_last ? &h->last : NULL, now, &line) == 0)
		tl_log_event_quiet(LOG_INFO, "health.sample", "%s", tl_buf_str(&line));
}

static void health_sample(struct health *h)
{
	struct sample now;
	struct tl_error err = { 0 };

	if (sample_take(&h->options.sample, &h->group, &now, &err) < 0) {
		if (!h->is_failing)
			tl_log_event(LOG_WARNING, "health.failing", "code=%s msg='%s'",
				     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
		h->is_failing = true;
		return;
	}
	h->is_failing = false;
	if (h->has_last) {
		sample_compare(&h->last, &now);
		shortage_say(h, &now);
	}
	sample_say(h, &now);
	if (h->options.sink)
		h->options.sink(h->options.sink_ctx, &now);
	h->last = now;
	h->has_last = true;
}

uint64_t health_step(struct health *h, uint64_t now_ms)
{
	if (!h->due_ms)
		h->due_ms = now_ms;
	if (now_ms >= h->due_ms) {
		health_sample(h);
		h->due_ms = health_due_next(h->due_ms, now_ms, h->options.period_ms);
	}
	return h->due_ms - now_ms;
}

int health_open(const struct health_options *options, struct health **ret, struct tl_error *err)
{
	struct health *h = calloc(1, sizeof(*h));

	if (!h)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "monitoring");
	h->options = *options;
	h->options.sample.is_all = options->level == TL_MONITORING_ALL;
	sample_group_find(&h->options.sample, &h->group);
	*ret = h;
	return 0;
}

struct health *health_close(struct health *h)
{
	free(h);
	return NULL;
}
