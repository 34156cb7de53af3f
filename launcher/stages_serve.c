/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage that opens the token socket: what the workload asks for is got with a verifier client
 * and a metadata reader of its own. Only the TPM is shared with the keeper, in turns.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>
#include <teelaunch/token_server.h>

#include "metadata.h"
#include "sequence.h"
#include "token_source.h"
#include "workload/workload.h"

/* For one call, all its requests together: as the keeper's. */
#define ATTEMPT_MS 25000
/* The workload decides how often something happens here, but not how long the log is. */
#define LOG_BURST       20
#define LOG_INTERVAL_MS 1000

/* What lives as long as the socket. */
struct token_serving {
	struct tl_cancel *quit;
	struct token_source source; /* in the thread "tl-serve" */
	struct tl_token_server *server;
	pthread_mutex_t lock; /* over the rest */
	uint64_t log_at_ms;   /* when the next line is due again */
	unsigned int log_left;
	uint64_t unlogged;
	bool is_told_words; /* the workload's output goes to the log anyway */
};

static int serve_token(void *ctx, const struct tl_token_options *options,
		       struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
		       struct tl_error *err)
{
	struct token_serving *s = ctx;

	return tl_verifier_attest_once(s->source.verifier, &s->source.sources, options, ATTEMPT_MS,
				       ret, ret_retry_after_ms, err);
}

static int serve_intel(void *ctx, const struct tl_token_options *options,
		       struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
		       struct tl_error *err)
{
	struct token_serving *s = ctx;

	return tl_verifier_attest_once(s->source.intel, &s->source.sources, options, ATTEMPT_MS,
				       ret, ret_retry_after_ms, err);
}

/* Beside the calls of the thread "tl-serve": it touches nothing of the source that these use. */
static int serve_evidence(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
			  struct tl_error *err)
{
	struct token_serving *s = ctx;

	return token_source_evidence(&s->source, nonce, n, ret, err);
}

/* Whether this line may be written; and how many were not, since the last one that was. */
static bool may_log(struct token_serving *s, uint64_t *ret_unlogged)
{
	uint64_t now_ms = tl_clock_mono_ms();
	bool may;

	pthread_mutex_lock(&s->lock);
	if (now_ms >= s->log_at_ms) {
		s->log_left = s->log_left < LOG_BURST ? s->log_left + 1 : LOG_BURST;
		s->log_at_ms = now_ms + LOG_INTERVAL_MS;
	}
	may = s->log_left > 0;
	if (may) {
		s->log_left--;
		*ret_unlogged = s->unlogged;
		s->unlogged = 0;
	} else {
		s->unlogged++;
	}
	pthread_mutex_unlock(&s->lock);
	return may;
}

/* A verifier that refuses what the workload asked for may quote it, and an image whose output isn't
 * redirected has none of its words in the log; who asked has them in the answer. */
static const char *words_of(const struct token_serving *s, const struct tl_error *err)
{
	return err->code == TL_E_VERIFIER_REFUSED && !s->is_told_words
		       ? "the answer to who asked says why"
		       : err->msg;
}

/* In any of the server's threads. */
static void serve_event(void *ctx, const struct tl_token_call *call)
{
	uint64_t unlogged = 0;

	if (!may_log(ctx, &unlogged))
		return;
	if (!call->err)
		tl_log_event(LOG_INFO, "token.served",
			     "path=%s pid=%d uid=%u gid=%u cgroup='%s' callers=%u took_ms=%" PRIu64
			     " unlogged=%" PRIu64,
			     call->path, call->pid, call->uid, call->gid, TL_Q(call->cgroup),
			     call->callers, call->took_ms, unlogged);
	else
		tl_log_event(LOG_WARNING, "token.not_served",
			     "path=%s status=%d pid=%d uid=%u gid=%u cgroup='%s' callers=%u "
			     "took_ms=%" PRIu64 " unlogged=%" PRIu64 " code=%s msg='%s'",
			     call->path, call->status, call->pid, call->uid, call->gid,
			     TL_Q(call->cgroup), call->callers, call->took_ms, unlogged,
			     tl_catalogue_find(call->err->code)->id,
			     TL_Q(words_of(ctx, call->err)));
}

static struct token_serving *serving_free(struct token_serving *s)
{
	if (!s)
		return NULL;
	s->server = tl_token_server_stop(s->server);
	token_source_close(&s->source);
	tl_cancel_free(s->quit);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static int serving_start(struct launch *l, struct token_serving *s, struct tl_error *err)
{
	static const char *const containers[] = { "/" TL_WORKLOAD_NAMESPACE
						  "/" TL_WORKLOAD_CONTAINER,
						  NULL };
	const struct tl_token_server_options options = {
		.dir = l->options->shared_dir,
		.limits = { .per_minute = l->options->token_rate,
			    .burst = l->options->token_burst,
			    .cache_ms = l->options->token_cache_ms },
		.containers = containers,
		.token = serve_token,
		.intel_token = l->spec.ita_region ? serve_intel : NULL,
		.evidence = serve_evidence,
		.evidence_hash = tl_tee_form(l->tee) == TL_CEL_TDX ? TL_SHA512 : TL_SHA256,
		.ctx = s,
		.quit = s->quit,
		.event = serve_event,
		.event_ctx = s,
	};
	int r = token_source_open(l, s->quit, &s->source, err);

	return r < 0 ? r : tl_token_server_start(&options, &s->server, err);
}

int stage_serve(struct launch *l, struct tl_error *err)
{
	struct token_serving *s = calloc(1, sizeof(*s));
	int r;

	if (!s || !(s->quit = tl_cancel_new())) {
		free(s);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token socket");
	}
	tl_log_event(LOG_INFO, "token.socket",
		     "msg='EnableOnDemandAttestation is enabled: initializing TEE server.'");
	pthread_mutex_init(&s->lock, NULL);
	s->log_left = LOG_BURST;
	s->is_told_words = l->spec.log_redirect != TL_LOG_NOWHERE;
	r = serving_start(l, s, err);
	if (r < 0) {
		serving_free(s);
		return r;
	}
	l->serving = s;
	tl_log_event(LOG_INFO, "token.serving",
		     "socket='%s/" TL_TOKEN_SOCKET_NAME "' rate_per_minute=%" PRIu64
		     " burst=%" PRIu64 " cache_ms=%" PRIu64,
		     TL_Q(l->options->shared_dir), l->options->token_rate, l->options->token_burst,
		     l->options->token_cache_ms);
	return 0;
}

void stage_serve_undo(struct launch *l)
{
	struct tl_token_counts counts = { 0 };
	struct tl_error err = { 0 };

	tl_token_server_counts(l->serving->server, &counts);
	l->report.token.requests = counts.requests;
	l->report.token.refused = counts.refused;
	l->report.token.upstream = counts.upstream;
	l->serving = serving_free(l->serving);
	/* The server has tried, so that nobody comes any more while it ends. */
	if (tl_token_socket_remove(l->options->shared_dir, &err) < 0) {
		tl_log_event(LOG_WARNING, "token.not_removed", "msg='%s'", TL_Q(err.msg));
		l->is_swept = false; /* once more, when all else is gone */
	}
}
