/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/image_ref.h>

#include "registry.h"
#include "signature_manifest.h"

#define SIGNATURE_TYPE "application/vnd.dev.cosign.artifact.sig.v1+json"
/* "sha512-" + hex + ".sig" */
#define TAG_MAX (TL_DIGEST_TEXT_MAX + 8)

/* One repository that is being asked. */
struct asking {
	const struct signature_access *access;
	const char *digest;
	struct signature_repo *repo;
	struct tl_registry *registry;
	struct tl_image_signatures found;
	size_t dropped;
	size_t looked_at; /* layers; bounds the requests that one repository can cost */
};

int signature_finder_init(struct signature_finder *f, const struct tl_strv *repos,
			  const char *digest)
{
	auto_strv struct tl_strv seen = { 0 };

	*f = (struct signature_finder){ .digest = strdup(digest) };
	f->repos = calloc(SIGNATURE_REPOS_MAX, sizeof(*f->repos));
	if (!f->digest || !f->repos)
		return -ENOMEM;
	for (size_t i = 0; i < repos->n && f->n < SIGNATURE_REPOS_MAX; i++) {
		if (tl_strv_contains(&seen, repos->items[i]))
			continue;
		f->repos[f->n].text = strdup(repos->items[i]);
		if (!f->repos[f->n].text || tl_strv_add(&seen, repos->items[i]) < 0)
			return -ENOMEM;
		f->n++;
	}
	return 0;
}

void signature_finder_done(struct signature_finder *f)
{
	for (size_t i = 0; f->repos && i < SIGNATURE_REPOS_MAX; i++) {
		free(f->repos[i].text);
		tl_image_signatures_done(&f->repos[i].found);
	}
	free(f->repos);
	free(f->digest);
	*f = (struct signature_finder){ 0 };
}

static void tell(const struct asking *a, const struct tl_error *err)
{
	if (a->access->problem)
		a->access->problem(a->access->problem_ctx, a->repo->text, err);
}

/* --- one signature ------------------------------------------------------------------------- */

static int bad(struct tl_error *err, const char *why)
{
	return tl_fail(err, TL_E_IMAGE_SIGNATURE, EBADMSG, "%s", why);
}

static const struct tl_blob *payload_among(const struct tl_image_signatures *found,
					   const char *digest)
{
	for (size_t i = 0; i < found->n; i++) {
		const struct tl_blob *payload = &found->items[i].payload;
		struct tl_digest_text text;

		if (tl_digest_text_of(payload->bytes, payload->n, &text) == 0 &&
		    strcmp(text.text, digest) == 0)
			return payload;
	}
	return NULL;
}

/* The payload with this digest, if this answer or the last one had it: content doesn't change. */
static const struct tl_blob *payload_known(const struct asking *a, const char *digest)
{
	const struct tl_blob *payload = payload_among(&a->found, digest);

	return payload ? payload : payload_among(&a->repo->found, digest);
}

static int payload_get(const struct asking *a, const struct tl_descriptor *d, struct tl_blob *ret,
		       struct tl_error *err)
{
	auto_buf struct tl_buf bytes = { 0 };
	const struct tl_blob *known = payload_known(a, d->digest);
	int r;

	if (d->size_bytes > TL_SIGNATURE_PAYLOAD_MAX_BYTES)
		return bad(err, "its payload is too large");
	if (known)
		r = tl_blob_set(ret, known->bytes, known->n);
	else {
		r = registry_get_small_blob(a->registry, d, "payload of a signature", &bytes, err);
		/* The registry is wrong about this one; the others may be right. */
		if (r < 0 && err->code == TL_E_IMAGE_DIGEST)
			return bad(err, "its payload doesn't have the size and digest that are "
					"stated");
		if (r < 0 && err->code == TL_E_IMAGE_NOT_FOUND)
			return bad(err, "its payload is not in the repository");
		if (r < 0)
			return r;
		r = tl_blob_set(ret, bytes.data, bytes.len_bytes);
	}
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures") : 0;
}

static int signature_decode(const char *text, struct tl_blob *ret, struct tl_error *err)
{
	int r;

	if (!text)
		return bad(err, "its layer has no signature");
	if (strlen(text) > (TL_SIGNATURE_MAX_BYTES + 2) / 3 * 4)
		return bad(err, "it is too large");
	r = tl_base64_decode(TL_BASE64_STD, text, strlen(text), &ret->bytes, &ret->n);
	if (r == -EINVAL)
		return bad(err, "it is not base64");
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures") : 0;
}

static int payload_check(const struct asking *a, const struct tl_blob *payload,
			 struct tl_error *err)
{
	auto_signature_payload struct tl_signature_payload p = { 0 };
	int r = tl_signature_payload_read(payload->bytes, payload->n, &p, err);

	if (r < 0)
		return r;
	return strcmp(p.digest, a->digest) == 0 ? 0 : bad(err, "it signs another image");
}

static int layer_take(struct asking *a, const struct signature_layer *layer, struct tl_error *err)
{
	auto_blob struct tl_blob payload = { 0 };
	auto_blob struct tl_blob signature = { 0 };
	int r = signature_decode(layer->signature, &signature, err);

	if (r == 0)
		r = payload_get(a, &layer->payload, &payload, err);
	if (r == 0)
		r = payload_check(a, &payload, err);
	if (r < 0)
		return r;
	r = tl_image_signatures_add(&a->found, &payload, &signature);
	if (r == -ENOBUFS)
		return bad(err, "there are too many");
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures") : 0;
}

/* --- one repository ------------------------------------------------------------------------ */

static int manifest_take(struct asking *a, const char *tag_or_digest, struct tl_error *err)
{
	auto_registry_document struct registry_document d = { 0 };
	auto_signature_manifest struct signature_manifest m = { 0 };
	int r = registry_get_manifest(a->registry, tag_or_digest, &d, err);

	if (r == 0)
		r = signature_manifest_parse(d.descriptor.media_type, d.bytes.data,
					     d.bytes.len_bytes, &m, err);
	for (size_t i = 0; i < m.n && r == 0; i++) {
		if (a->looked_at++ == TL_SIGNATURES_MAX)
			return tl_fail(err, TL_E_IMAGE_SIGNATURE, E2BIG,
				       "of its signatures only the first %d are looked at",
				       TL_SIGNATURES_MAX);
		r = layer_take(a, &m.layers[i], err);
		if (r < 0 && err->code == TL_E_IMAGE_SIGNATURE) {
			a->dropped++;
			tell(a, err);
			r = 0;
		}
	}
	return r;
}

static void tag_of(const char *digest, const char *suffix, char ret[TAG_MAX])
{
	snprintf(ret, TAG_MAX, "%s%s", digest, suffix);
	*strchr(ret, ':') = '-';
}

static int not_found_is_fine(int r, const struct tl_error *err)
{
	return r < 0 && err->code == TL_E_IMAGE_NOT_FOUND ? 0 : r;
}

/* The index of referrers: by the interface, or where there is none, by the tag that stands for it.
 * 0 with an empty @ret: nothing refers to the image. */
static int referrers_get(const struct asking *a, struct tl_buf *ret, struct tl_error *err)
{
	auto_registry_document struct registry_document d = { 0 };
	char tag[TAG_MAX];
	int r = registry_get_referrers(a->registry, a->digest, SIGNATURE_TYPE, ret, err);

	if (r == 0 || (err->code != TL_E_IMAGE_NOT_FOUND && err->code != TL_E_REGISTRY_REQUEST))
		return r;
	tag_of(a->digest, "", tag);
	r = registry_get_manifest(a->registry, tag, &d, err);
	if (r < 0)
		return not_found_is_fine(r, err);
	*ret = d.bytes;
	tl_buf_init(&d.bytes, 0);
	return 0;
}

static int referrers_take(struct asking *a, struct tl_error *err)
{
	auto_buf struct tl_buf index = { 0 };
	auto_strv struct tl_strv digests = { 0 };
	size_t skipped = 0;
	int r = referrers_get(a, &index, err);

	if (r < 0 || !index.len_bytes)
		return r;
	r = referrers_parse(index.data, index.len_bytes, &digests, &skipped, err);
	for (size_t i = 0; i < digests.n && r == 0; i++)
		r = not_found_is_fine(manifest_take(a, digests.items[i], err), err);
	if (r == 0 && skipped) {
		(void)tl_fail(err, TL_E_IMAGE_SIGNATURE, E2BIG,
			      "%zu of its referrers are not looked at; the limit is %d", skipped,
			      REFERRERS_MAX);
		tell(a, err);
	}
	return r;
}

static int repo_open(struct asking *a, uint64_t budget_ms, struct tl_error *err)
{
	struct tl_registry_limits limits = tl_registry_limits_default();
	const struct tl_registry_options options = {
		.roots = a->access->roots,
		.google_roots = a->access->google_roots,
		.access_token = a->access->access_token,
		.user_agent = a->access->user_agent,
		.limits = &limits,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), budget_ms),
		.cancel = a->access->cancel,
	};
	auto_image_ref struct tl_image_ref ref = { 0 };
	auto_free char *text = NULL;
	char tag[TAG_MAX];
	int r;

	/* Signatures can wait for the next refresh: few attempts, short waits. */
	limits.backoff = (struct tl_backoff){ .base_ms = 300, .cap_ms = 2000, .attempts_max = 3 };
	limits.connect_timeout_ms = 5000;
	limits.stall_timeout_ms = 5000;
	tag_of(a->digest, ".sig", tag);
	if (asprintf(&text, "%s:%s", a->repo->text, tag) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signatures");
	r = tl_image_ref_parse(text, &ref, err);
	return r < 0 ? r : tl_registry_open(&ref, &options, &a->registry, err);
}

static int repo_ask(struct asking *a, uint64_t budget_ms, struct tl_error *err)
{
	struct tl_error later = { 0 };
	char tag[TAG_MAX];
	int r = repo_open(a, budget_ms, err), other;

	if (r < 0)
		return r;
	tag_of(a->digest, ".sig", tag);
	r = not_found_is_fine(manifest_take(a, tag, err), err);
	/* One of the two ways may work where the other doesn't. */
	other = referrers_take(a, &later);
	if (r == 0 && other < 0)
		*err = later;
	return r < 0 ? r : other;
}

/* What was found before stays where nothing was learnt. */
static int keep_last(struct tl_image_signatures *found, const struct tl_image_signatures *last)
{
	for (size_t i = 0; i < last->n; i++)
		if (tl_image_signatures_add(found, &last->items[i].payload,
					    &last->items[i].signature) == -ENOMEM)
			return -ENOMEM;
	return 0;
}

static int repo_refresh(struct signature_finder *f, struct signature_repo *repo,
			const struct signature_access *access, uint64_t budget_ms)
{
	struct asking a = { .access = access, .digest = f->digest, .repo = repo };
	struct tl_error err = { 0 };
	int r = repo_ask(&a, budget_ms, &err);

	tl_registry_close(a.registry);
	if (r < 0 && !tl_cancel_is_requested(access->cancel))
		tell(&a, &err);
	r = r < 0 && err.class == TL_RETRY ? keep_last(&a.found, &repo->found) : 0;
	tl_image_signatures_done(&repo->found);
	repo->found = a.found;
	repo->dropped = a.dropped;
	return r;
}

/* One of each repository in turn: what is full at the end is full for all of them. */
static int take_in_turn(const struct signature_finder *f, struct tl_image_signatures *ret)
{
	for (size_t nth = 0; nth < TL_SIGNATURES_MAX; nth++)
		for (size_t i = 0; i < f->n; i++) {
			const struct tl_image_signatures *found = &f->repos[i].found;

			if (nth < found->n &&
			    tl_image_signatures_add(ret, &found->items[nth].payload,
						    &found->items[nth].signature) == -ENOMEM)
				return -ENOMEM;
		}
	return 0;
}

int signature_finder_run(struct signature_finder *f, const struct signature_access *access,
			 struct tl_image_signatures *ret)
{
	struct tl_deadline deadline = tl_deadline_in(tl_clock_mono_ms(), access->budget_ms);
	int r = 0;

	for (size_t i = 0; i < f->n && r == 0; i++) {
		uint64_t left_ms = tl_deadline_left_ms(deadline, tl_clock_mono_ms());

		if (tl_cancel_is_requested(access->cancel))
			return 0;
		r = repo_refresh(f, &f->repos[i], access, left_ms / (f->n - i));
	}
	return r < 0 ? r : take_in_turn(f, ret);
}
