/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud_writer.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cancel.h>
#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>
#include <teelaunch/http.h>
#include <teelaunch/log.h>
#include <teelaunch/thread.h>

#include "metadata.h"

#define BATCH_PAUSE_MS     500 /* entries come in bursts; one request for each burst */
#define REQUEST_MS         10000
#define CONNECT_MS         3000
#define RETRY_BASE_MS      1000
#define RETRY_CAP_MS       30000
#define RESPONSE_BYTES_MAX (64 * 1024)

struct entry {
	struct entry *next;
	struct cloud_stamp stamp;
	size_t n;
	char bytes[];
};

struct cloud_writer {
	const struct cloud_service *service;
	struct cloud_writer_options options;
	struct tl_cancel *closing; /* ends waits */
	struct tl_cancel *quit;    /* ends requests, too */
	struct tl_cancel *ended;   /* requested by the thread, when it has nothing more to do */
	pthread_t thread;
	struct metadata *metadata;
	struct tl_http *http;
	uint64_t run;

	pthread_mutex_t lock; /* over the rest */
	pthread_cond_t news;
	struct entry *first, **last;
	size_t queued_bytes;
	uint64_t number;
	uint64_t dropped_unsaid;
	struct cloud_writer_counts counts;
	bool is_well; /* the last request was */
};

static size_t entry_bytes(size_t n)
{
	return sizeof(struct entry) + n;
}

void cloud_writer_put(struct cloud_writer *w, const char *severity, const void *bytes, size_t n,
		      size_t queue_at_most)
{
	struct entry *e = n < queue_at_most ? malloc(entry_bytes(n)) : NULL;

	if (e) {
		*e = (struct entry){ .n = n,
				     .stamp = { .time_ms = tl_clock_real_ms(),
						.severity = severity,
						.run = w->run } };
		memcpy(e->bytes, bytes, n);
	}
	pthread_mutex_lock(&w->lock);
	if (!e || w->queued_bytes + entry_bytes(n) > queue_at_most) {
		w->counts.dropped++;
		w->dropped_unsaid++;
		free(e);
	} else {
		e->stamp.number = w->number++;
		*w->last = e;
		w->last = &e->next;
		w->queued_bytes += entry_bytes(n);
		pthread_cond_signal(&w->news);
	}
	pthread_mutex_unlock(&w->lock);
}

/* Metadata keeps what it has said, so this asks once. */
static int place_find(struct cloud_writer *w, struct cloud_place *ret, struct tl_error *err)
{
	int r = metadata_project(w->metadata, &ret->project, err);

	if (r == 0)
		r = metadata_instance_id(w->metadata, &ret->instance_id, err);
	if (r == 0)
		r = metadata_instance_name(w->metadata, &ret->instance_name, err);
	return r < 0 ? r : metadata_zone(w->metadata, &ret->zone, err);
}

static int authorization(struct cloud_writer *w, struct tl_secret *ret, struct tl_error *err)
{
	auto_secret struct tl_secret token = { 0 };
	char *value;
	int n, r = metadata_access_token(w->metadata, &token, err);

	if (r < 0)
		return r;
	n = asprintf(&value, "Bearer %s", token.bytes);
	if (n < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "%s", w->service->name);
	tl_secret_consume(ret, value, (size_t)n);
	return 0;
}

/* What Google's services say in the body of an error: {"error": {"message": ...}}. */
static void reason_read(const struct tl_http_response *response, struct tl_error *err)
{
	json_auto_t *o =
		json_loadb((const char *)response->body.data, response->body.len_bytes, 0, NULL);
	const char *message =
		json_string_value(json_object_get(json_object_get(o, "error"), "message"));

	snprintf(err->msg, sizeof(err->msg), "%s", message ? message : "");
}

/* The status, or a negative errno. */
static int post(struct cloud_writer *w, const struct cloud_place *place, const struct tl_buf *body,
		struct tl_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	auto_secret struct tl_secret bearer = { 0 };
	auto_http_response struct tl_http_response response = { 0 };
	auto_free char *path = w->service->path(place);
	auto_free char *url = NULL;
	int r = authorization(w, &bearer, err);

	if (r < 0)
		return r;
	if (!path || asprintf(&url, "%s%s", w->options.url, path) < 0) {
		url = NULL;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "%s", w->service->name);
	}
	const struct tl_http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.authorization = &bearer,
		.body = body->data,
		.body_bytes = body->len_bytes,
		.ca_file = w->options.roots,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), REQUEST_MS),
		.connect_timeout_ms = CONNECT_MS,
		.response_max_bytes = RESPONSE_BYTES_MAX,
		.cancel = w->quit,
	};

	r = tl_http_perform(w->http, &request, &response, err);
	if (r == 0 && (response.status < 200 || response.status > 299))
		reason_read(&response, err);
	return r < 0 ? r : response.status;
}

/* As many as fit. *@ret_n: how many of the queue's first are in it, those that can't be written
 * counted by
 * *@ret_bad. Entries are only taken away by this thread, so the queue's first ones stay while the
 * lock is open. */
static int batch_build(struct cloud_writer *w, const struct cloud_place *place, struct tl_buf *b,
		       size_t *ret_n, size_t *ret_bad)
{
	int r = w->service->begin(place, b);
	bool is_first = true;
	const struct entry *e;

	pthread_mutex_lock(&w->lock);
	e = w->first;
	pthread_mutex_unlock(&w->lock);
	for (*ret_n = 0, *ret_bad = 0; r == 0 && e; (*ret_n)++) {
		int appended = w->service->append(place, &e->stamp, e->bytes, e->n, is_first, b);

		if (appended == -ENOBUFS && !is_first)
			break;
		*ret_bad += appended < 0;
		is_first = is_first && appended < 0;
		pthread_mutex_lock(&w->lock);
		e = e->next;
		pthread_mutex_unlock(&w->lock);
	}
	return r < 0 ? r : w->service->end(b);
}

/* The queue's first @n, of which @written were. */
static void batch_forget(struct cloud_writer *w, size_t n, size_t written)
{
	pthread_mutex_lock(&w->lock);
	w->counts.written += written;
	w->counts.dropped -= written;
	for (; n > 0 && w->first; n--) {
		struct entry *e = w->first;

		w->first = e->next;
		if (!w->first)
			w->last = &w->first;
		w->queued_bytes -= entry_bytes(e->n);
		w->counts.dropped++;
		free(e);
	}
	pthread_mutex_unlock(&w->lock);
}

/* Each change is said once; the line comes here, too, when there is a way again. */
static void health_note(struct cloud_writer *w, int r, const struct tl_error *err)
{
	bool is_well = r >= 200 && r <= 299, was_well, is_first;

	pthread_mutex_lock(&w->lock);
	was_well = w->is_well;
	is_first = w->counts.written == 0 && w->counts.failures == 0;
	w->is_well = is_well;
	w->counts.failures += !is_well;
	pthread_mutex_unlock(&w->lock);
	if (is_well && (!was_well || is_first))
		tl_log_event(LOG_INFO, w->service->event_writing, "url='%s'", TL_Q(w->options.url));
	else if (r >= 0 && !is_well && (was_well || is_first))
		tl_log_event(LOG_WARNING, w->service->event_failing, "status=%d msg='%s'", r,
			     TL_Q(err->msg));
	else if (!is_well && (was_well || is_first))
		tl_log_event(LOG_WARNING, w->service->event_failing, "code=%s msg='%s'",
			     tl_catalogue_find(err->code)->id, TL_Q(err->msg));
}

/* 0: gone, well or for good; -EAGAIN: try again. */
static int batch_write(struct cloud_writer *w)
{
	auto_buf struct tl_buf body = { 0 };
	struct cloud_place place = { 0 };
	struct tl_error err = { 0 };
	size_t n = 0, bad = 0;
	int r = place_find(w, &place, &err);

	tl_buf_init(&body, w->service->batch_bytes_max);
	if (r == 0)
		r = batch_build(w, &place, &body, &n, &bad);
	if (r == 0)
		r = post(w, &place, &body, &err);
	health_note(w, r, &err);
	if (r >= 200 && r <= 299)
		return batch_forget(w, n, n - bad), 0;
	/* 400: this very batch is refused, so another try would be, too. Rights can be given later.
	 */
	if (r == 400 || r == 413)
		return batch_forget(w, n, 0), 0;
	return -EAGAIN;
}

static void dropped_say(struct cloud_writer *w)
{
	uint64_t n;

	pthread_mutex_lock(&w->lock);
	n = w->dropped_unsaid;
	w->dropped_unsaid = 0;
	pthread_mutex_unlock(&w->lock);
	if (n)
		w->service->dropped(w, n);
}

/* True if there is something to write; false at the end. */
static bool wait_for_news(struct cloud_writer *w)
{
	bool has_news;

	pthread_mutex_lock(&w->lock);
	while (!w->first && !tl_cancel_is_requested(w->closing))
		pthread_cond_wait(&w->news, &w->lock);
	has_news = w->first;
	pthread_mutex_unlock(&w->lock);
	return has_news;
}

static void *writer_main(void *arg)
{
	static const struct tl_backoff backoff = { .base_ms = RETRY_BASE_MS,
						   .cap_ms = RETRY_CAP_MS,
						   .attempts_max = UINT32_MAX };
	struct cloud_writer *w = arg;
	unsigned int attempt = 1;
	bool is_last = false;

	while (wait_for_news(w) && !tl_cancel_is_requested(w->quit)) {
		uint64_t wait_ms = BATCH_PAUSE_MS;

		if (batch_write(w) == 0) {
			attempt = 1;
			dropped_say(w);
		} else {
			(void)tl_backoff_next(&backoff, ++attempt, tl_clock_random(), &wait_ms);
		}
		/* One try more when the end has come, for a service that is well again. */
		if (is_last && attempt > 1)
			break;
		is_last = tl_cancel_sleep(w->closing, wait_ms);
	}
	tl_cancel_request(w->ended);
	return NULL;
}

static struct cloud_writer *writer_free(struct cloud_writer *w)
{
	batch_forget(w, SIZE_MAX, 0);
	tl_http_free(w->http);
	metadata_close(w->metadata);
	tl_cancel_free(w->ended);
	tl_cancel_free(w->quit);
	tl_cancel_free(w->closing);
	pthread_cond_destroy(&w->news);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

int cloud_writer_open(const struct cloud_service *service,
		      const struct cloud_writer_options *options, struct cloud_writer **ret,
		      struct tl_error *err)
{
	struct cloud_writer *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "%s", service->name);
	*w = (struct cloud_writer){ .service = service,
				    .options = *options,
				    .last = &w->first,
				    .run = tl_clock_random(),
				    .closing = tl_cancel_new(),
				    .quit = tl_cancel_new(),
				    .ended = tl_cancel_new(),
				    .http = tl_http_new("teelaunch") };
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->news, NULL);
	if (!w->closing || !w->quit || !w->ended || !w->http)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "%s", service->name);
	if (r == 0)
		r = metadata_open(options->metadata_host, w->quit, &w->metadata, err);
	if (r == 0)
		r = tl_thread_start(service->thread, writer_main, w, &w->thread, err);
	if (r < 0)
		return writer_free(w), r;
	*ret = w;
	return 0;
}

void cloud_writer_finish(struct cloud_writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	tl_cancel_request(w->closing);
	pthread_cond_signal(&w->news);
	pthread_mutex_unlock(&w->lock);
}

struct cloud_writer *cloud_writer_close(struct cloud_writer *w, struct cloud_writer_counts *ret)
{
	uint64_t grace_ms;

	if (!w)
		return NULL;
	cloud_writer_finish(w);
	pthread_mutex_lock(&w->lock);
	grace_ms = w->service->flush_ms / (w->is_well || !w->counts.failures ? 1 : 10);
	pthread_mutex_unlock(&w->lock);
	if (!tl_cancel_sleep(w->ended, grace_ms))
		tl_cancel_request(w->quit);
	pthread_join(w->thread, NULL);
	batch_forget(w, SIZE_MAX, 0);
	*ret = w->counts;
	return writer_free(w);
}
