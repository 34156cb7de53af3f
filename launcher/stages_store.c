/* SPDX-License-Identifier: Apache-2.0 */
/* The stages that put the image where it can run: containerd, pull. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>
#include <teelaunch/token_file.h>
#include <teelaunch/token_server.h>

#include "containerd/containerd.h"
#include "image/pull.h"
#include "sequence.h"
#include "workload/output.h"
#include "workload/workload.h"

/* containerd's unit may still be starting, or be restarted by systemd. */
#define READY_BUDGET_MS 10000
/* For a launch that has failed already. */
#define LATE_BUDGET_MS    2000
#define BOOT_ID_BYTES_MAX 64

static int containerd_reach(struct launch *l, const struct tl_ctrd_call *call, struct tl_error *err)
{
	int r = 0;

	if (!l->containerd)
		r = tl_ctrd_open(l->options->containerd, TL_WORKLOAD_NAMESPACE, &l->containerd,
				 err);
	if (r == 0)
		r = tl_ctrd_wait_ready(l->containerd, call, err);
	return r < 0 ? r : tl_ctrd_namespace_ensure(l->containerd, call, err);
}

/* A launcher that was killed left its workload running, with its token and its socket beside it,
 * and its pipes. */
static int earlier_remove(struct launch *l, struct tl_error *err)
{
	int r = tl_workload_sweep(l->containerd, l->cancel, err);

	output_remove_earlier(l->options->state_dir);
	if (r == 0)
		r = tl_token_files_remove(l->options->shared_dir, err);
	if (r == 0)
		r = tl_token_socket_remove(l->options->shared_dir, err);
	l->is_swept = r == 0;
	return r;
}

void launch_sweep_late(struct launch *l)
{
	const struct tl_ctrd_call call = {
		.deadline = tl_deadline_in(tl_clock_mono_ms(), LATE_BUDGET_MS),
	};
	struct tl_error err = { 0 };

	if (containerd_reach(l, &call, &err) < 0 || earlier_remove(l, &err) < 0)
		tl_log_event(LOG_WARNING, "earlier.left", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}

int stage_connect(struct launch *l, struct tl_error *err)
{
	const struct tl_ctrd_call call = {
		.deadline = tl_deadline_in(tl_clock_mono_ms(), READY_BUDGET_MS),
		.cancel = l->cancel,
	};
	auto_free char *version = NULL;
	int r = containerd_reach(l, &call, err);

	if (r == 0)
		r = tl_ctrd_version(l->containerd, &call, &version, err);
	if (r < 0)
		return r;
	tl_log_event(LOG_INFO, "containerd", "version='%s'", TL_Q(version));
	return earlier_remove(l, err);
}

struct pull_watch {
	struct report *report;
	struct manager_notes *notes;
	uint64_t next_percent;
};

/* Called several times a second, by the thread that decides. */
static void pull_progress(void *ctx, const struct tl_pull_progress *p)
{
	struct pull_watch *watch = ctx;
	uint64_t percent = p->bytes_total ? p->bytes_done * 100 / p->bytes_total : 100;

	manager_note_alive(watch->notes, PULL_SIGN_S * UINT64_C(1000));
	if (percent < watch->next_percent)
		return;
	watch->next_percent = percent - percent % 25 + 25;
	tl_log_event(LOG_INFO, "pull.progress",
		     "percent=%" PRIu64 " bytes=%" PRIu64 " layers_unpacked=%u layers=%u", percent,
		     p->bytes_done, p->layers_unpacked, p->layers_n);
}

/* Only what wasn't unpacked as it should be is of interest to an operator. */
static void pull_layer(void *ctx, const struct tl_pull_layer *layer)
{
	struct pull_watch *watch = ctx;

	_Static_assert(REPORT_REASON_MAX >= TL_PULL_REASON_MAX, "a reason fits");
	if (*layer->reason && !watch->report->pull.reason[0])
		snprintf(watch->report->pull.reason, sizeof(watch->report->pull.reason), "%s",
			 layer->reason);
	tl_log_event(*layer->reason ? LOG_INFO : LOG_DEBUG, "pull.layer",
		     "number=%zu way=%s size_bytes=%" PRIu64 " unpacked_bytes=%" PRIu64
		     " entries=%" PRIu64 " download_ms=%" PRIu64 " unpack_ms=%" PRIu64
		     " commit_ms=%" PRIu64 " reason='%s'",
		     layer->number, layer->way, layer->size_bytes, layer->unpacked_bytes,
		     layer->entries, layer->download_ms, layer->unpack_ms, layer->commit_ms,
		     TL_Q(layer->reason));
}

static enum tl_pull_unpack unpack_of(const char *word)
{
	if (strcmp(word, "own") == 0)
		return TL_PULL_OWN;
	return strcmp(word, "containerd") == 0 ? TL_PULL_CONTAINERD : TL_PULL_AUTO;
}

static void pull_report(const struct tl_pull_stats *s, struct report *ret)
{
	ret->pull.downloaded_bytes = s->bytes_downloaded;
	ret->pull.unpacked_bytes = s->bytes_unpacked;
	ret->pull.layers_own = s->layers_own;
	ret->pull.layers_containerd = s->layers_unpacked - s->layers_own;
	ret->pull.layers_reused = s->layers_reused;
	ret->pull.downloaded_at_ms = s->downloaded_at_ms;
	ret->pull.unpacked_at_ms = s->unpacked_at_ms;
	ret->pull.took_ms = s->took_ms;
	ret->pull.has_begun = true;
}

static int image_pull(struct launch *l, const char *boot_id, struct tl_error *err)
{
	struct pull_watch watch = { .report = &l->report, .notes = &l->notes, .next_percent = 25 };
	const struct tl_pull_options options = {
		.boot_id = boot_id,
		.content_dir = l->options->content_dir,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), PULL_BUDGET_MS),
		.cancel = l->cancel,
		.progress = pull_progress,
		.ctx = &watch,
		.layer = pull_layer,
		.unpack = unpack_of(l->options->unpack),
		.unpack_program = l->options->unpack_program,
	};
	struct tl_pull_stats stats;
	int r = tl_pull(l->registry, &l->image, l->containerd, &options, &stats, err);

	pull_report(&stats, &l->report);
	tl_log_event(r < 0 ? LOG_ERR : LOG_INFO, "pulled",
		     "downloaded_bytes=%" PRIu64 " reused_bytes=%" PRIu64 " requests=%" PRIu64
		     " retries=%u layers_unpacked=%u layers_own=%u layers_reused=%u"
		     " downloaded_at_ms=%" PRIu64 " unpacked_at_ms=%" PRIu64 " took_ms=%" PRIu64,
		     stats.bytes_downloaded, stats.bytes_reused, stats.http_requests, stats.retries,
		     stats.layers_unpacked, stats.layers_own, stats.layers_reused,
		     stats.downloaded_at_ms, stats.unpacked_at_ms, stats.took_ms);
	return r;
}

/* One line of text. */
static int boot_id_read(struct tl_buf *ret, struct tl_error *err)
{
	int r;

	tl_buf_init(ret, BOOT_ID_BYTES_MAX);
	r = tl_file_read("/proc/sys/kernel/random/boot_id", ret, err);
	if (r == 0 && (ret->len_bytes < 2 || ret->data[ret->len_bytes - 1] != '\n'))
		r = tl_fail(err, TL_E_IO, EINVAL, "the kernel's boot id isn't a line");
	if (r == 0)
		ret->data[ret->len_bytes - 1] = 0;
	return r;
}

int stage_pull(struct launch *l, struct tl_error *err)
{
	auto_buf struct tl_buf boot_id = { 0 };
	int r = boot_id_read(&boot_id, err);

	return r < 0 ? r : image_pull(l, tl_buf_str(&boot_id), err);
}
