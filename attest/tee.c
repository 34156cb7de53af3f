/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of measuring that hold for every backend. */
#include <teelaunch/tee.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/record_log.h>

#include "tdx_quote.h"

#define ROOTS_MAX 2

enum tee_state {
	TEE_OPEN,   /* nothing or a part is measured */
	TEE_SEALED, /* the separator is in the register */
	TEE_BROKEN, /* register and log may differ; nothing may vouch for them any more */
};

/* One backend, its launch register, and the log of that. */
struct root {
	const struct tl_tee_ops *ops;
	void *backend;
	struct tl_banks banks;
	struct tl_buf log;
	uint8_t registers[TL_BANKS_MAX][TL_HASH_SIZE_MAX]; /* what the log gives */
};

struct tl_tee {
	struct root roots[ROOTS_MAX]; /* in the order of measuring; the last one attests */
	size_t n_roots;
	struct tl_strv warnings;
	enum tee_state state;
	struct tl_buf record_log; /* of PCR 15; empty until the launch record is measured */
	uint64_t n_events;
	uint8_t record_registers[TL_BANKS_MAX][TL_HASH_SIZE_MAX]; /* of the first root */
	/* Evidence is collected by one thread at a time, in the order in which they came: whoever
	 * asks again and again can't keep another one waiting for more than its turn. */
	pthread_mutex_t lock;
	pthread_cond_t turn;
	uint64_t next_ticket, now_serving;
};

int tl_tee_new(const struct tl_tee_ops *ops, void *consume_backend, const struct tl_banks *banks,
	       const struct tl_strv *warnings, struct tl_tee **ret, struct tl_error *err)
{
	struct tl_tee *tee = calloc(1, sizeof(*tee));

	if (!tee || tl_strv_copy(warnings, &tee->warnings) < 0) {
		free(tee);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a TEE handle");
	}
	tee->roots[0] = (struct root){ .ops = ops, .backend = consume_backend, .banks = *banks };
	tee->n_roots = 1;
	tl_buf_init(&tee->roots[0].log, TL_CEL_MAX_BYTES);
	tl_buf_init(&tee->record_log, TL_CEL_MAX_BYTES);
	pthread_mutex_init(&tee->lock, NULL);
	pthread_cond_init(&tee->turn, NULL);
	*ret = tee;
	return 0;
}

static bool is_untouched(const struct tl_tee *tee)
{
	return tee->state == TEE_OPEN && !tee->n_events && !tee->record_log.len_bytes &&
	       tee->n_roots == 1;
}

int tl_tee_join(struct tl_tee *tee, struct tl_tee *consume_other, struct tl_error *err)
{
	if (!is_untouched(tee) || !is_untouched(consume_other))
		return tl_fail(err, TL_E_INTERNAL, EINVAL, "join measured or joined backends");
	for (size_t i = 0; i < consume_other->warnings.n; i++)
		if (tl_strv_add(&tee->warnings, consume_other->warnings.items[i]) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for warnings");
	tee->roots[tee->n_roots++] = consume_other->roots[0];
	consume_other->n_roots = 0;
	tl_tee_close(consume_other);
	return 0;
}

struct tl_tee *tl_tee_close(struct tl_tee *tee)
{
	if (!tee)
		return NULL;
	for (size_t i = 0; i < tee->n_roots; i++) {
		tee->roots[i].ops->close(tee->roots[i].backend);
		tl_buf_done(&tee->roots[i].log);
	}
	tl_strv_done(&tee->warnings);
	tl_buf_done(&tee->record_log);
	pthread_cond_destroy(&tee->turn);
	pthread_mutex_destroy(&tee->lock);
	free(tee);
	return NULL;
}

enum tl_cel_form tl_tee_form(const struct tl_tee *tee)
{
	return tee->roots[tee->n_roots - 1].ops->form;
}

const struct tl_banks *tl_tee_banks(const struct tl_tee *tee)
{
	return &tee->roots[0].banks;
}

const struct tl_strv *tl_tee_warnings(const struct tl_tee *tee)
{
	return &tee->warnings;
}

const struct tl_buf *tl_tee_log(const struct tl_tee *tee)
{
	return &tee->roots[0].log;
}

static int check_open(const struct tl_tee *tee, struct tl_error *err)
{
	if (tee->state == TEE_BROKEN)
		return tl_fail(err, TL_E_MEASURE_BROKEN, EPERM,
			       "an earlier measurement failed after %llu events",
			       (unsigned long long)tee->n_events);
	if (tee->state == TEE_SEALED)
		return tl_fail(err, TL_E_EVENT_ORDER, EPERM,
			       "the launch log already ends with its separator");
	return 0;
}

/* The record goes into the log first and is taken back if the register doesn't follow: so nothing
 * can fail between the two that would leave a measured event without its record. */
static int measure_digests(struct root *root, uint64_t number, const struct tl_event *event,
			   const struct tl_event_digests *digests, struct tl_error *err)
{
	size_t before = root->log.len_bytes;
	int r = tl_cel_append(&root->log, root->ops->form, number, event, digests);

	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the launch log");
	if (r < 0)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "the launch log would have more than %d bytes", TL_CEL_MAX_BYTES);
	r = root->ops->extend(root->backend, digests, err);
	if (r < 0) {
		root->log.len_bytes = before;
		root->log.data[before] = 0;
	}
	return r;
}

static int measure_root(struct root *root, uint64_t number, const struct tl_event *event,
			struct tl_error *err)
{
	struct tl_event_digests digests;
	int r = tl_event_digest(event, &root->banks, &digests);

	if (r == -E2BIG)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "event of type %u has %zu bytes; at most %d can be measured",
			       event->type, event->content_len, TL_EVENT_CONTENT_MAX_BYTES);
	if (r < 0)
		return tl_fail_sys(err, r == -ENOMEM ? TL_E_NO_MEMORY : TL_E_INTERNAL, -r,
				   "hash an event of type %u", event->type);
	r = measure_digests(root, number, event, &digests, err);
	for (size_t i = 0; r >= 0 && i < root->banks.n; i++)
		if (tl_register_extend(root->banks.hashes[i], root->registers[i],
				       digests.items[i].bytes) < 0)
			r = tl_fail(err, TL_E_INTERNAL, EIO, "replay the launch log");
	return r;
}

static int measure_one(struct tl_tee *tee, const struct tl_event *event, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < tee->n_roots; i++)
		r = measure_root(&tee->roots[i], tee->n_events, event, err);
	if (r >= 0)
		tee->n_events++;
	return r;
}

static int check_unused(const struct tl_tee *tee, size_t from, struct tl_error *err)
{
	int r = 0;

	for (size_t i = from; r >= 0 && i < tee->n_roots; i++)
		r = tee->roots[i].ops->check_unused(tee->roots[i].backend, err);
	return r;
}

/* Everything that can fail without the hardware comes before it. */
static int record_prepare(struct tl_tee *tee, const void *text, size_t n,
			  struct tl_event_digests *ret, struct tl_error *err)
{
	const struct tl_event event = tl_record_event(text, n);
	const struct tl_banks *banks = &tee->roots[0].banks;
	int r = tl_record_log_encode(text, n, banks, &tee->record_log, err);

	if (r < 0)
		return r;
	r = tl_event_digest(&event, banks, ret);
	for (size_t i = 0; r == 0 && i < banks->n; i++)
		r = tl_register_extend(banks->hashes[i], tee->record_registers[i],
				       ret->items[i].bytes);
	return r < 0 ? tl_fail(err, TL_E_INTERNAL, -r, "hash the launch record") : 0;
}

int tl_tee_measure_record(struct tl_tee *tee, const void *text, size_t n, struct tl_error *err)
{
	const struct root *root = &tee->roots[0];
	struct tl_event_digests digests;
	int r = check_open(tee, err);

	if (r < 0)
		return r;
	if (tee->n_events || tee->record_log.len_bytes)
		return tl_fail(err, TL_E_EVENT_ORDER, EPERM,
			       "the launch record would not be measured once, before the launch");
	if (!root->ops->extend_record)
		return 0;
	r = record_prepare(tee, text, n, &digests, err);
	/* The first root looks at its own registers. */
	if (r == 0)
		r = check_unused(tee, 1, err);
	if (r == 0)
		r = root->ops->extend_record(root->backend, &digests, err);
	if (r < 0)
		tee->state = TEE_BROKEN;
	return r;
}

int tl_tee_measure(struct tl_tee *tee, const struct tl_event *event, struct tl_error *err)
{
	int r = check_open(tee, err);

	if (r < 0)
		return r;
	if (tee->n_events == 0) {
		r = check_unused(tee, 0, err);
		if (r < 0)
			return r;
	}
	r = measure_one(tee, event, err);
	if (r < 0) {
		tee->state = TEE_BROKEN;
		return r;
	}
	if (event->type == TL_EVENT_SEPARATOR)
		tee->state = TEE_SEALED;
	return 0;
}

/* What can't be logged must not be found out half-way. */
static int rehearse(const struct tl_tee *tee, const struct tl_event_list *list,
		    struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < tee->n_roots; i++) {
		const struct root *root = &tee->roots[i];
		auto_buf struct tl_buf log = { 0 };

		tl_buf_init(&log, TL_CEL_MAX_BYTES);
		r = tl_cel_encode(list, root->ops->form, &root->banks, &log, err);
	}
	return r;
}

int tl_tee_measure_launch(struct tl_tee *tee, const struct tl_event_list *list,
			  const struct tl_cancel *cancel, struct tl_error *err)
{
	int r = check_open(tee, err);

	if (r < 0)
		return r;
	if (!list->n || list->items[list->n - 1].type != TL_EVENT_SEPARATOR)
		return tl_fail(err, TL_E_EVENT_ORDER, EINVAL,
			       "the events of a launch don't end with the separator");
	r = rehearse(tee, list, err);
	for (size_t i = 0; r >= 0 && i < list->n; i++) {
		if (tl_cancel_is_requested(cancel)) {
			tee->state = TEE_BROKEN;
			return tl_fail(err, TL_E_INTERRUPTED, ECANCELED,
				       "shutdown asked for after %zu of %zu events", i, list->n);
		}
		r = tl_tee_measure(tee, &list->items[i], err);
	}
	return r;
}

static int check_evidence_allowed(const struct tl_tee *tee, size_t nonce_len, struct tl_error *err)
{
	if (nonce_len < 1 || nonce_len > TL_NONCE_MAX_BYTES)
		return tl_fail(err, TL_E_NONCE_SIZE, EINVAL,
			       "nonce has %zu bytes; it must have 1 to %d", nonce_len,
			       TL_NONCE_MAX_BYTES);
	if (tee->state == TEE_BROKEN)
		return check_open(tee, err);
	if (tee->state != TEE_SEALED)
		return tl_fail(err, TL_E_EVENT_ORDER, EPERM,
			       "the launch log doesn't end with its separator yet");
	return 0;
}

static const struct tl_pcr_value *find_pcr(const struct tl_quote *quote, uint8_t index)
{
	for (size_t i = 0; i < quote->n_pcrs; i++)
		if (quote->pcrs[i].index == index)
			return &quote->pcrs[i];
	return NULL;
}

static int check_pcr(const struct tl_quote *quote, uint8_t index, const uint8_t *want,
		     struct tl_error *err)
{
	const struct tl_pcr_value *pcr = find_pcr(quote, index);

	if (!pcr)
		return tl_fail(err, TL_E_INTERNAL, EINVAL, "a quote has no PCR %d", index);
	if (memcmp(pcr->bytes, want, tl_hash_size(quote->hash)) != 0)
		return tl_fail(err, TL_E_REGISTER_USED, EBADMSG,
			       "PCR %d, bank %s, isn't what its log gives: "
			       "something else was measured into it",
			       index, tl_hash_name(quote->hash));
	return 0;
}

static int check_pcrs(const struct tl_tee *tee, const struct root *root,
		      const struct tl_evidence *e, struct tl_error *err)
{
	for (size_t i = 0; i < e->n_quotes; i++) {
		int r;

		if (i >= root->banks.n || e->quotes[i].hash != root->banks.hashes[i])
			return tl_fail(err, TL_E_INTERNAL, EINVAL, "quotes aren't those of banks");
		r = check_pcr(&e->quotes[i], TL_CEL_PCR, root->registers[i], err);
		if (r == 0 && tee->record_log.len_bytes)
			r = check_pcr(&e->quotes[i], TL_RECORD_PCR, tee->record_registers[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_rtmr3(const struct root *root, const struct tl_evidence *e, struct tl_error *err)
{
	struct tdx_quote quote;
	int r = tdx_quote_parse(e->tdx.quote.bytes, e->tdx.quote.n, &quote, err);

	if (r < 0)
		return r;
	if (memcmp(quote.rtmr3, root->registers[0], TDX_RTMR_BYTES) != 0)
		return tl_fail(err, TL_E_REGISTER_USED, EBADMSG,
			       "RTMR 3 isn't what its log gives: something else was measured "
			       "into it");
	return 0;
}

/* Evidence that no verifier can accept is better explained here than refused far away. */
static int check_registers(const struct tl_tee *tee, const struct tl_evidence *e,
			   struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < tee->n_roots; i++)
		r = tee->roots[i].ops->form == TL_CEL_TDX ? check_rtmr3(&tee->roots[i], e, err)
							  : check_pcrs(tee, &tee->roots[i], e, err);
	return r;
}

static int collect(const struct tl_tee *tee, const void *nonce, size_t nonce_len,
		   struct tl_evidence *ret, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < tee->n_roots; i++)
		r = tee->roots[i].ops->evidence(tee->roots[i].backend, nonce, nonce_len,
						i + 1 < tee->n_roots, ret, err);
	return r;
}

static int add_logs(const struct tl_tee *tee, struct tl_evidence *e)
{
	int r = tl_blob_set(&e->record, tee->record_log.data, tee->record_log.len_bytes);

	for (size_t i = 0; r == 0 && i < tee->n_roots; i++) {
		const struct root *root = &tee->roots[i];

		r = tl_blob_set(root->ops->form == TL_CEL_TDX ? &e->tdx.cel : &e->cel,
				root->log.data, root->log.len_bytes);
	}
	return r;
}

static void turn_wait(struct tl_tee *tee)
{
	uint64_t ticket;

	pthread_mutex_lock(&tee->lock);
	ticket = tee->next_ticket++;
	while (tee->now_serving != ticket)
		pthread_cond_wait(&tee->turn, &tee->lock);
	pthread_mutex_unlock(&tee->lock);
}

static void turn_end(struct tl_tee *tee)
{
	pthread_mutex_lock(&tee->lock);
	tee->now_serving++;
	pthread_cond_broadcast(&tee->turn);
	pthread_mutex_unlock(&tee->lock);
}

int tl_tee_evidence(struct tl_tee *tee, const void *nonce, size_t nonce_len,
		    struct tl_evidence *ret, struct tl_error *err)
{
	auto_evidence struct tl_evidence e = { 0 };
	int r = check_evidence_allowed(tee, nonce_len, err);

	if (r >= 0) {
		turn_wait(tee);
		r = collect(tee, nonce, nonce_len, &e, err);
		turn_end(tee);
	}
	if (r >= 0)
		r = check_registers(tee, &e, err);
	if (r < 0)
		return r;
	if (add_logs(tee, &e) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for evidence");
	*ret = e;
	tl_evidence_init(&e);
	return 0;
}
