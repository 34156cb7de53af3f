/* SPDX-License-Identifier: Apache-2.0 */
#include "signature_store.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/image_ref.h>
#include <teelaunch/log.h>

#include "image/registry_host.h"
#include "image/signatures.h"
#include "metadata.h"
#include "sequence.h"

/* Lines about single signatures of one refresh; the rest is counted. */
#define PROBLEMS_LOGGED_MAX 16

struct signature_store {
	const struct launch_options *options; /* borrowed */
	struct signature_finder finder;       /* of the thread that refreshes */
	unsigned int problems;                /* of this refresh */
	bool is_incomplete;                   /* this refresh; what failed may go away */
	pthread_mutex_t lock;
	struct tl_image_signatures last; /* behind @lock */
};

int signature_store_new(const struct launch *l, struct signature_store **ret, struct tl_error *err)
{
	struct signature_store *s;

	if (!l->spec.signed_image_repos.n) {
		*ret = NULL;
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures");
	s->options = l->options;
	pthread_mutex_init(&s->lock, NULL);
	if (signature_finder_init(&s->finder, &l->spec.signed_image_repos, l->image.target.digest) <
	    0) {
		signature_store_free(s);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures");
	}
	if (s->finder.n < l->spec.signed_image_repos.n)
		tl_log_event(LOG_WARNING, "signatures.repos",
			     "asked=%zu given=%zu msg='at most %d different ones are asked'",
			     s->finder.n, l->spec.signed_image_repos.n, SIGNATURE_REPOS_MAX);
	*ret = s;
	return 0;
}

struct signature_store *signature_store_free(struct signature_store *s)
{
	if (!s)
		return NULL;
	signature_finder_done(&s->finder);
	tl_image_signatures_done(&s->last);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static void problem_log(void *ctx, const char *repo, const struct tl_error *err)
{
	struct signature_store *s = ctx;
	bool is_one = err->code == TL_E_IMAGE_SIGNATURE;
	auto_free char *shown = tl_image_ref_shown(repo);

	s->is_incomplete |= err->class == TL_RETRY;
	if (s->problems++ < PROBLEMS_LOGGED_MAX)
		tl_log_event(LOG_WARNING, is_one ? "signatures.dropped" : "signatures.unreachable",
			     "repo='%s' code=%s msg='%s'", TL_Q(shown ? shown : ""),
			     tl_catalogue_find(err->code)->id, TL_Q(err->msg));
}

/* The account's token is fetched only if some repository's registry may see it. */
static void token_get(const struct signature_store *s, struct metadata *metadata,
		      struct tl_secret *ret)
{
	for (size_t i = 0; i < s->finder.n; i++) {
		const char *text = s->finder.repos[i].text;
		auto_free char *name = strndup(text, strcspn(text, "/"));
		struct registry_host host;
		struct tl_error why = { 0 };

		if (!name || registry_host_parse(name, &host, NULL) < 0 || !host.is_token_offered)
			continue;
		if (metadata_access_token(metadata, ret, &why) < 0)
			tl_log_event(LOG_WARNING, "registry.anonymous", "msg='%s'", TL_Q(why.msg));
		return;
	}
}

static void outcome_log(const struct signature_store *s, const struct tl_image_signatures *found,
			uint64_t took_ms)
{
	size_t dropped = 0;

	for (size_t i = 0; i < s->finder.n; i++)
		dropped += s->finder.repos[i].dropped;
	tl_log_event(LOG_INFO, found->n ? "signatures.found" : "signatures.none",
		     "count=%zu dropped=%zu problems=%u repos=%zu took_ms=%" PRIu64, found->n,
		     dropped, s->problems, s->finder.n, took_ms);
}

bool signature_store_refresh(struct signature_store *s, struct metadata *metadata,
			     struct tl_cancel *cancel, uint64_t budget_ms)
{
	auto_secret struct tl_secret token = { 0 };
	auto_image_signatures struct tl_image_signatures found = { 0 };
	const struct signature_access access = {
		.roots = &s->options->registry_roots,
		.google_roots = s->options->google_roots,
		.user_agent = "teelaunch",
		.access_token = &token,
		.cancel = cancel,
		.budget_ms = budget_ms,
		.problem = problem_log,
		.problem_ctx = s,
	};
	uint64_t began_ms = tl_clock_mono_ms();
	struct tl_image_signatures old;

	s->problems = 0;
	s->is_incomplete = false;
	token_get(s, metadata, &token);
	if (signature_finder_run(&s->finder, &access, &found) < 0) {
		tl_log_event(LOG_WARNING, "signatures.kept", "msg='no memory for new ones'");
		return false;
	}
	if (tl_cancel_is_requested(cancel))
		return false;
	outcome_log(s, &found, tl_clock_mono_ms() - began_ms);
	pthread_mutex_lock(&s->lock);
	old = s->last;
	s->last = found;
	pthread_mutex_unlock(&s->lock);
	found = old;
	return !s->is_incomplete;
}

int signature_store_read(void *store, struct tl_image_signatures *ret, struct tl_error *err)
{
	struct signature_store *s = store;
	int r;

	pthread_mutex_lock(&s->lock);
	r = tl_image_signatures_copy(&s->last, ret);
	pthread_mutex_unlock(&s->lock);
	/* Once an attestation: tools of the reference's users count it. */
	if (r == 0 && ret->n)
		tl_log_event(LOG_INFO, "signatures.sent",
			     "count=%zu msg='Found container image signatures'", ret->n);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures") : 0;
}
