/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud_log.h"

#include <errno.h>
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

#include "cloud_entry.h"
#include "metadata.h"

#define QUEUE_BYTES_MAX    (1024 * 1024)
#define RECORDS_BYTES_MAX  (QUEUE_BYTES_MAX / 4 * 3)
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
	char payload[];
};

struct cloud_log {
	struct cloud_log_options options;
	struct tl_cancel *closing; /* ends waits */
	struct tl_cancel *quit;    /* ends requests, too */
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
	struct cloud_log_counts counts;
	bool is_well; /* the last request was */
};

static size_t entry_bytes(size_t n)
{
	return sizeof(struct entry) + n;
}

static void enqueue(struct cloud_log *c, const char *severity, const char *payload, size_t n,
		    size_t bytes_max)
{
	struct entry *e = n <= CLOUD_ENTRY_BYTES_MAX ? malloc(entry_bytes(n)) : NULL;

	if (e) {
		*e = (struct entry){ .n = n,
				     .stamp = { .time_ms = tl_clock_real_ms(),
						.severity = severity,
						.run = c->run } };
		memcpy(e->payload, payload, n);
	}
	pthread_mutex_lock(&c->lock);
	if (!e || c->queued_bytes + entry_bytes(n) > bytes_max) {
		c->counts.dropped++;
		c->dropped_unsaid++;
		free(e);
	} else {
		e->stamp.number = c->number++;
		*c->last = e;
		c->last = &e->next;
		c->queued_bytes += entry_bytes(n);
		pthread_cond_signal(&c->news);
	}
	pthread_mutex_unlock(&c->lock);
}

void cloud_log_line(void *ctx, int level, const char *event, const char *text)
{
	auto_free char *payload = cloud_payload_of_line(event, text);

	if (payload)
		enqueue(ctx, cloud_severity(level), payload, strlen(payload), QUEUE_BYTES_MAX);
}

void cloud_log_object(struct cloud_log *c, int level, const char *object, size_t n)
{
	enqueue(c, cloud_severity(level), object, n, QUEUE_BYTES_MAX);
}

void cloud_log_records(void *ctx, int level, const char *lines, size_t n)
{
	while (n > 0) {
		const char *end = memchr(lines, '\n', n);
		size_t line_n = end ? (size_t)(end - lines) : n;

		enqueue(ctx, cloud_severity(level), lines, line_n, RECORDS_BYTES_MAX);
		lines += end ? line_n + 1 : line_n;
		n -= end ? line_n + 1 : line_n;
	}
}

/* Metadata keeps what it has said, so this asks once. */
static int place_find(struct cloud_log *c, struct cloud_place *ret, struct tl_error *err)
{
	int r = metadata_project(c->metadata, &ret->project, err);

	if (r == 0)
		r = metadata_instance_id(c->metadata, &ret->instance_id, err);
	if (r == 0)
		r = metadata_instance_name(c->metadata, &ret->instance_name, err);
	return r < 0 ? r : metadata_zone(c->metadata, &ret->zone, err);
}

static int authorization(struct cloud_log *c, struct tl_secret *ret, struct tl_error *err)
{
	auto_secret struct tl_secret token = { 0 };
	char *value;
	int n, r = metadata_access_token(c->metadata, &token, err);

	if (r < 0)
		return r;
	n = asprintf(&value, "Bearer %s", token.bytes);
	if (n < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "Cloud Logging");
	tl_secret_consume(ret, value, (size_t)n);
	return 0;
}

/* The status, or a negative errno. */
static int post(struct cloud_log *c, const struct tl_buf *body, struct tl_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	auto_secret struct tl_secret bearer = { 0 };
	auto_http_response struct tl_http_response response = { 0 };
	auto_free char *url = NULL;
	int r = authorization(c, &bearer, err);

	if (r < 0)
		return r;
	if (asprintf(&url, "%s/v2/entries:write", c->options.url) < 0) {
		url = NULL;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "Cloud Logging");
	}
	const struct tl_http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.authorization = &bearer,
		.body = body->data,
		.body_bytes = body->len_bytes,
		.ca_file = c->options.roots,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), REQUEST_MS),
		.connect_timeout_ms = CONNECT_MS,
		.response_max_bytes = RESPONSE_BYTES_MAX,
		.cancel = c->quit,
	};

	r = tl_http_perform(c->http, &request, &response, err);
	return r < 0 ? r : response.status;
}

/* As many as fit. *@ret_n: how many of the queue's first are in it, those that can't be written
 * counted by
 * *@ret_bad. Entries are only taken away by this thread, so the queue's first ones stay while the
 * lock is open. */
static int batch_build(struct cloud_log *c, const struct cloud_place *place, struct tl_buf *b,
		       size_t *ret_n, size_t *ret_bad)
{
	int r = cloud_request_begin(place, b);
	bool is_first = true;
	const struct entry *e;

	pthread_mutex_lock(&c->lock);
	e = c->first;
	pthread_mutex_unlock(&c->lock);
	for (*ret_n = 0, *ret_bad = 0; r == 0 && e; (*ret_n)++) {
		int appended = cloud_entry_append(place, &e->stamp, e->payload, e->n, is_first, b);

		if (appended == -ENOBUFS && !is_first)
			break;
		*ret_bad += appended < 0;
		is_first = is_first && appended < 0;
		pthread_mutex_lock(&c->lock);
		e = e->next;
		pthread_mutex_unlock(&c->lock);
	}
	return r < 0 ? r : cloud_request_end(b);
}

/* The queue's first @n, of which @written were. */
static void batch_forget(struct cloud_log *c, size_t n, size_t written)
{
	pthread_mutex_lock(&c->lock);
	c->counts.written += written;
	c->counts.dropped -= written;
	for (; n > 0 && c->first; n--) {
		struct entry *e = c->first;

		c->first = e->next;
		if (!c->first)
			c->last = &c->first;
		c->queued_bytes -= entry_bytes(e->n);
		c->counts.dropped++;
		free(e);
	}
	pthread_mutex_unlock(&c->lock);
}

/* Each change is said once; the line comes here, too, when there is a way again. */
static void health_note(struct cloud_log *c, int r, const struct tl_error *err)
{
	bool is_well = r >= 200 && r <= 299, was_well, is_first;

	pthread_mutex_lock(&c->lock);
	was_well = c->is_well;
	is_first = c->counts.written == 0 && c->counts.failures == 0;
	c->is_well = is_well;
	c->counts.failures += !is_well;
	pthread_mutex_unlock(&c->lock);
	if (is_well && (!was_well || is_first))
		tl_log_event(LOG_INFO, "cloud_log.writing", "url='%s'", TL_Q(c->options.url));
	else if (r >= 0 && !is_well && (was_well || is_first))
		tl_log_event(LOG_WARNING, "cloud_log.failing", "status=%d", r);
	else if (!is_well && (was_well || is_first))
		tl_log_event(LOG_WARNING, "cloud_log.failing", "code=%s msg='%s'",
			     tl_catalogue_find(err->code)->id, TL_Q(err->msg));
}

/* 0: gone, well or for good; -EAGAIN: try again. */
static int batch_write(struct cloud_log *c)
{
	auto_buf struct tl_buf body = { 0 };
	struct cloud_place place = { 0 };
	struct tl_error err = { 0 };
	size_t n = 0, bad = 0;
	int r = place_find(c, &place, &err);

	tl_buf_init(&body, CLOUD_BATCH_BYTES_MAX);
	if (r == 0)
		r = batch_build(c, &place, &body, &n, &bad);
	if (r == 0)
		r = post(c, &body, &err);
	health_note(c, r, &err);
	if (r >= 200 && r <= 299)
		return batch_forget(c, n, n - bad), 0;
	/* 400: this very batch is refused, so another try would be, too. Rights can be given later.
	 */
	if (r == 400 || r == 413)
		return batch_forget(c, n, 0), 0;
	return -EAGAIN;
}

static void dropped_say(struct cloud_log *c)
{
	uint64_t n;
	char text[64];

	pthread_mutex_lock(&c->lock);
	n = c->dropped_unsaid;
	c->dropped_unsaid = 0;
	pthread_mutex_unlock(&c->lock);
	if (n == 0)
		return;
	snprintf(text, sizeof(text), "entries=%llu", (unsigned long long)n);
	cloud_log_line(c, LOG_WARNING, "cloud_log.dropped", text);
}

/* True if there is something to write; false at the end. */
static bool wait_for_news(struct cloud_log *c)
{
	bool has_news;

	pthread_mutex_lock(&c->lock);
	while (!c->first && !tl_cancel_is_requested(c->closing))
		pthread_cond_wait(&c->news, &c->lock);
	has_news = c->first;
	pthread_mutex_unlock(&c->lock);
	return has_news;
}

static void *writer_main(void *arg)
{
	static const struct tl_backoff backoff = { .base_ms = RETRY_BASE_MS,
						   .cap_ms = RETRY_CAP_MS,
						   .attempts_max = UINT32_MAX };
	struct cloud_log *c = arg;
	unsigned int attempt = 1;
	bool is_last = false;

	while (wait_for_news(c) && !tl_cancel_is_requested(c->quit)) {
		uint64_t wait_ms = BATCH_PAUSE_MS;

		if (batch_write(c) == 0) {
			attempt = 1;
			dropped_say(c);
		} else {
			(void)tl_backoff_next(&backoff, ++attempt, tl_clock_random(), &wait_ms);
		}
		/* One try more when the end has come, for a service that is well again. */
		if (is_last && attempt > 1)
			break;
		is_last = tl_cancel_sleep(c->closing, wait_ms);
	}
	return NULL;
}

static struct cloud_log *cloud_log_free(struct cloud_log *c)
{
	batch_forget(c, SIZE_MAX, 0);
	tl_http_free(c->http);
	metadata_close(c->metadata);
	tl_cancel_free(c->quit);
	tl_cancel_free(c->closing);
	pthread_cond_destroy(&c->news);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

int cloud_log_open(const struct cloud_log_options *options, struct cloud_log **ret,
		   struct tl_error *err)
{
	struct cloud_log *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "Cloud Logging");
	*c = (struct cloud_log){ .options = *options,
				 .last = &c->first,
				 .run = tl_clock_random(),
				 .closing = tl_cancel_new(),
				 .quit = tl_cancel_new(),
				 .http = tl_http_new("teelaunch") };
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->news, NULL);
	if (!c->closing || !c->quit || !c->http)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "Cloud Logging");
	if (r == 0)
		r = metadata_open(options->metadata_host, c->quit, &c->metadata, err);
	if (r == 0)
		r = tl_thread_start("tl-cloud-log", writer_main, c, &c->thread, err);
	if (r < 0)
		return cloud_log_free(c), r;
	*ret = c;
	return 0;
}

struct cloud_log *cloud_log_close(struct cloud_log *c, struct cloud_log_counts *ret)
{
	struct timespec until;
	uint64_t grace_ms;

	if (!c)
		return NULL;
	pthread_mutex_lock(&c->lock);
	grace_ms = c->is_well || !c->counts.failures ? CLOUD_LOG_FLUSH_MS : CLOUD_LOG_FLUSH_MS / 10;
	tl_cancel_request(c->closing);
	pthread_cond_signal(&c->news);
	pthread_mutex_unlock(&c->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
	until.tv_sec += (time_t)(grace_ms / 1000) + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_clockjoin_np(c->thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
		tl_cancel_request(c->quit);
		pthread_join(c->thread, NULL);
	}
	batch_forget(c, SIZE_MAX, 0);
	*ret = c->counts;
	return cloud_log_free(c);
}
