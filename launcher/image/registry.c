/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>

#include "registry_private.h"
#include "url.h"

/* OCI distribution specification 1.1, "Pulling manifests"; Docker's types as the reference. */
#define ACCEPT_MANIFESTS                                                                           \
	"Accept: application/vnd.oci.image.index.v1+json, "                                        \
	"application/vnd.oci.image.manifest.v1+json, "                                             \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                              \
	"application/vnd.docker.distribution.manifest.v2+json, */*"

struct tl_registry_limits tl_registry_limits_default(void)
{
	return (struct tl_registry_limits){
		/* Six attempts within some 30 s: outlasts a registry's restart. */
		.backoff = { .base_ms = 500, .cap_ms = 10000, .attempts_max = 6 },
		.connect_timeout_ms = 15000,
		.stall_timeout_ms = 30000,
		.document_ms = 120000,
		.retry_after_max_ms = 60000,
		.redirects_max = 10, /* as the reference */
		/* A flaky path that still moves may go on, but not for ever. */
		.blob_attempts_max = 100,
	};
}

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the registry client");
}

/* The host and the file of one HOST=PEM entry; @ret_pem is borrowed from @entry. */
static int root_split(const char *entry, struct registry_host *ret, const char **ret_pem,
		      struct tl_error *err)
{
	const char *equals = strchr(entry, '=');
	auto_free char *host = equals ? strndup(entry, (size_t)(equals - entry)) : NULL;

	if (!equals || !equals[1] || !host || registry_host_parse(host, ret, NULL) < 0)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "registry roots '%s': must be HOST=FILE or HOST:PORT=FILE", entry);
	*ret_pem = equals + 1;
	return 0;
}

int tl_registry_roots_add(struct tl_strv *roots, const char *entry)
{
	struct registry_host host, other;
	const char *pem;

	if (root_split(entry, &host, &pem, NULL) < 0)
		return -EINVAL;
	/* A file that is missing is better noticed before a launch than half-way through it. */
	if (access(pem, R_OK) < 0)
		return -errno;
	for (size_t i = 0; i < roots->n; i++)
		if (root_split(roots->items[i], &other, &pem, NULL) == 0 &&
		    registry_host_equal(&host, &other))
			return -EEXIST;
	return tl_strv_add(roots, entry);
}

static int roots_copy(struct tl_registry *r, const struct tl_strv *roots, struct tl_error *err)
{
	for (size_t i = 0; roots && i < roots->n; i++) {
		struct registry_host host;
		const char *pem;
		int e = root_split(roots->items[i], &host, &pem, err);

		if (e < 0)
			return e;
	}
	return roots && tl_strv_copy(roots, &r->roots) < 0 ? no_memory(err) : 0;
}

static int fields_copy(struct tl_registry *r, const struct tl_image_ref *ref,
		       const struct tl_registry_options *o, struct tl_error *err)
{
	const struct tl_secret *token = o->access_token;

	r->path = strdup(ref->path);
	r->user_agent = strdup(o->user_agent ? o->user_agent : "teelaunchd");
	if (!r->path || !r->user_agent)
		return no_memory(err);
	if (o->google_roots) {
		r->google_roots = strdup(o->google_roots);
		if (!r->google_roots)
			return no_memory(err);
	}
	if (token && !tl_secret_is_empty(token) &&
	    tl_secret_set(&r->access_token, token->bytes, token->len_bytes) < 0)
		return no_memory(err);
	r->http = tl_http_new(r->user_agent);
	return r->http ? 0 : no_memory(err);
}

int tl_registry_open(const struct tl_image_ref *ref, const struct tl_registry_options *o,
		     struct tl_registry **ret, struct tl_error *err)
{
	auto_registry struct tl_registry *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return no_memory(err);
	e = registry_host_parse(ref->host, &r->host, err);
	if (e == 0)
		e = roots_copy(r, o->roots, err);
	if (e == 0)
		e = fields_copy(r, ref, o, err);
	if (e < 0)
		return e;
	r->limits = o->limits ? *o->limits : tl_registry_limits_default();
	r->deadline = o->deadline;
	r->cancel = o->cancel;
	*ret = take_ptr(r);
	return 0;
}

int tl_registry_dup(const struct tl_registry *from, struct tl_cancel *cancel,
		    struct tl_registry **ret, struct tl_error *err)
{
	auto_registry struct tl_registry *r = NULL;
	const struct tl_image_ref ref = { .host = (char *)(uintptr_t)from->host.authority,
					  .path = from->path };
	const struct tl_registry_options o = {
		.roots = &from->roots,
		.google_roots = from->google_roots,
		.access_token = &from->access_token,
		.user_agent = from->user_agent,
		.limits = &from->limits,
		.deadline = from->deadline,
		.cancel = cancel,
	};
	int e = tl_registry_open(&ref, &o, &r, err);

	if (!r)
		return e;
	r->host = from->host;
	if (!tl_secret_is_empty(&from->authorization) &&
	    tl_secret_set(&r->authorization, from->authorization.bytes,
			  from->authorization.len_bytes) < 0)
		return no_memory(err);
	*ret = take_ptr(r);
	return 0;
}

struct tl_registry *tl_registry_close(struct tl_registry *r)
{
	if (!r)
		return NULL;
	tl_http_free(r->http);
	free(r->path);
	free(r->google_roots);
	free(r->user_agent);
	tl_strv_done(&r->roots);
	tl_secret_done(&r->access_token);
	tl_secret_done(&r->authorization);
	free(r);
	return NULL;
}

uint64_t tl_registry_requests(const struct tl_registry *r)
{
	return r->requests;
}

const struct tl_registry_limits *tl_registry_limits(const struct tl_registry *r)
{
	return &r->limits;
}

const char *tl_registry_host_name(const struct tl_registry *r)
{
	return r->host.name;
}

const char *tl_registry_path(const struct tl_registry *r)
{
	return r->path;
}

bool registry_has_token_for_host(const struct tl_registry *r)
{
	return r->host.is_token_offered && !tl_secret_is_empty(&r->access_token);
}

/* --- one exchange ------------------------------------------------------------------------ */

/* NULL = the system's store. Borrowed from @r. */
static const char *ca_file_for(const struct tl_registry *r, const struct registry_host *host)
{
	for (size_t i = 0; i < r->roots.n; i++) {
		struct registry_host of;
		const char *pem = NULL;

		if (root_split(r->roots.items[i], &of, &pem, NULL) == 0 &&
		    registry_host_equal(&of, host))
			return pem;
	}
	return host->is_pinned_to_google || r->host.is_pinned_to_google ? r->google_roots : NULL;
}

static bool is_redirect(const struct tl_http_response *response)
{
	int s = response->status;

	return (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
	       tl_kvs_get(&response->headers, "location");
}

static int hop_send(struct tl_registry *r, const struct registry_request *q, const char *url,
		    const struct registry_host *host, bool is_own_origin,
		    struct tl_http_response *ret, struct tl_error *err)
{
	const struct tl_http_request http = {
		.method = q->method,
		.url = url,
		.headers = q->headers,
		.authorization = is_own_origin ? q->authorization : NULL,
		.body = q->body,
		.body_bytes = q->body_bytes,
		.ca_file = ca_file_for(r, host),
		.deadline = tl_deadline_min(q->deadline, r->deadline),
		.connect_timeout_ms = r->limits.connect_timeout_ms,
		.stall_timeout_ms = r->limits.stall_timeout_ms,
		.response_max_bytes = q->response_max_bytes,
		.sink = q->sink,
		.sink_ctx = q->sink_ctx,
		.cancel = r->cancel,
	};

	r->requests++;
	return tl_http_perform(r->http, &http, ret, err);
}

/*
 * Redirects are followed here and not by the HTTP client, because each hop must be checked against
 * the roots of its own host.
 */
int registry_send(struct tl_registry *r, const struct registry_request *q,
		  struct tl_http_response *ret, bool *ret_is_foreign, struct tl_error *err)
{
	auto_free char *url = strdup(q->url);
	struct registry_host origin, host;
	bool is_own_origin = true;
	int e;

	if (!url)
		return no_memory(err);
	e = url_host(url, &origin, err);
	if (e < 0)
		return e;
	host = origin;
	for (unsigned int hops = 0;; hops++) {
		auto_http_response struct tl_http_response response = { 0 };
		char *next = NULL;

		e = hop_send(r, q, url, &host, is_own_origin, &response, err);
		if (e < 0)
			return e;
		if (!is_redirect(&response) || !q->redirects_max) {
			if (ret_is_foreign)
				*ret_is_foreign = !is_own_origin;
			*ret = response;
			response = (struct tl_http_response){ 0 };
			return 0;
		}
		if (hops == q->redirects_max)
			return tl_fail(err, TL_E_NET_REDIRECT, ELOOP,
				       "registry '%s': more than %u redirects", r->host.authority,
				       q->redirects_max);
		e = url_redirect(url, tl_kvs_get(&response.headers, "location"), &next, err);
		if (e < 0)
			return tl_wrap(err, e, "redirect by '%s'", host.authority);
		free(url);
		url = next;
		e = url_host(url, &host, err);
		if (e < 0)
			return e;
		/* Once lost, it stays lost: a foreign host could send it back as it likes. */
		is_own_origin = is_own_origin && registry_host_equal(&host, &origin);
	}
}

bool registry_is_net_retryable(const struct tl_error *err)
{
	switch (err->code) {
	case TL_E_NET_RESOLVE:
	case TL_E_NET_CONNECT:
	case TL_E_NET_TIMEOUT:
	case TL_E_NET_RESET:
	case TL_E_NET_TLS:
		return true;
	default:
		return false;
	}
}

int registry_send_authorized(struct tl_registry *r, struct registry_request *q, const char *what,
			     struct tl_http_response *ret, struct registry_attempt *ret_attempt,
			     struct tl_error *err)
{
	bool has_logged_in = false;

	for (;;) {
		auto_http_response struct tl_http_response response = { 0 };
		bool is_foreign = false;
		int e;

		q->authorization = tl_secret_is_empty(&r->authorization) ? NULL : &r->authorization;
		*ret_attempt = (struct registry_attempt){ 0 };
		e = registry_send(r, q, &response, &is_foreign, err);
		if (e < 0) {
			ret_attempt->is_retryable = registry_is_net_retryable(err);
			return e;
		}
		if (response.status == 200 || response.status == 206) {
			*ret = response;
			response = (struct tl_http_response){ 0 };
			return 0;
		}
		if (response.status != 401 || is_foreign || has_logged_in)
			return registry_status_fail(r, what, &response, ret_attempt, err);
		e = registry_login(r, &response, ret_attempt, err);
		if (e < 0)
			return e;
		has_logged_in = true;
	}
}

/* --- documents: manifests, indexes, configurations ---------------------------------------- */

void registry_document_done(struct registry_document *d)
{
	tl_descriptor_done(&d->descriptor);
	tl_buf_done(&d->bytes);
}

static int document_fetch(struct tl_registry *r, struct registry_request *q, const char *what,
			  struct tl_http_response *ret, struct tl_error *err)
{
	for (unsigned int attempt = 1;; attempt++) {
		struct registry_attempt result;
		int waited, e = registry_send_authorized(r, q, what, ret, &result, err);

		if (e == -EFBIG)
			return tl_fail(err, TL_E_MANIFEST_LIMIT, EFBIG,
				       "registry '%s': %s is larger than %zu bytes",
				       r->host.authority, what, q->response_max_bytes);
		if (e == 0 || !result.is_retryable)
			return e;
		waited = registry_backoff(r, attempt + 1, &result, q->deadline, err);
		if (waited == -ECANCELED)
			return waited;
		if (waited < 0)
			return tl_wrap(err, e, "given up after %u attempts", attempt);
	}
}

static int url_build(const struct tl_registry *r, const char *kind, const char *name, char **ret,
		     struct tl_error *err)
{
	/* Neither repository names nor tags and digests have a character to be encoded; a query is
	 * encoded already. */
	return asprintf(ret, "https://%s/v2/%s/%s/%s", r->host.authority, r->path, kind, name) < 0
		       ? no_memory(err)
		       : 0;
}

static int digest_check(const char *digest, const void *data, size_t n, const char *what,
			struct tl_error *err)
{
	uint16_t hash = tl_str_starts_with(digest, "sha512:") ? TL_SHA512 : TL_SHA256;
	uint8_t want[TL_HASH_SIZE_MAX], got[TL_HASH_SIZE_MAX];
	size_t size = tl_hash_size(hash);

	if (tl_hex_decode(strchr(digest, ':') + 1, want, size) < 0 ||
	    tl_digest(hash, data, n, got) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "digest of %s", what);
	if (memcmp(want, got, size) != 0)
		return tl_fail(err, TL_E_IMAGE_DIGEST, EBADMSG,
			       "the registry's %s doesn't have the digest %s", what, digest);
	return 0;
}

/* The digest that the bytes must have: the one asked for, else the registry's own claim. */
static int manifest_digest(const struct tl_http_response *response, const char *asked,
			   struct tl_digest_text *ret, struct tl_error *err)
{
	const char *claimed = tl_kvs_get(&response->headers, "docker-content-digest");
	const struct tl_buf *body = &response->body;

	if (tl_digest_text_is_valid(asked))
		claimed = asked;
	if (!claimed)
		return tl_digest_text_of(body->data, body->len_bytes, ret) < 0
			       ? tl_fail(err, TL_E_INTERNAL, EIO, "digest of the manifest")
			       : 0;
	if (!tl_digest_text_is_valid(claimed))
		return tl_fail(err, TL_E_REGISTRY_PROTOCOL, EINVAL,
			       "the registry's Docker-Content-Digest can't be read");
	snprintf(ret->text, sizeof(ret->text), "%s", claimed);
	return digest_check(claimed, body->data, body->len_bytes, "manifest", err);
}

int registry_get_manifest(struct tl_registry *r, const char *tag_or_digest,
			  struct registry_document *ret, struct tl_error *err)
{
	static const char *const headers[] = { ACCEPT_MANIFESTS, NULL };
	auto_http_response struct tl_http_response response = { 0 };
	auto_registry_document struct registry_document d = { 0 };
	auto_free char *url = NULL;
	struct tl_digest_text digest;
	struct tl_error own = { 0 };
	const char *type;
	int e;

	err = err ? err : &own;
	e = url_build(r, "manifests", tag_or_digest, &url, err);
	if (e < 0)
		return e;
	struct registry_request q = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.response_max_bytes = MANIFEST_BYTES_MAX,
		.redirects_max = r->limits.redirects_max,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), r->limits.document_ms),
	};

	e = document_fetch(r, &q, "the manifest", &response, err);
	if (e == 0)
		e = manifest_digest(&response, tag_or_digest, &digest, err);
	if (e < 0)
		return e;
	type = tl_kvs_get(&response.headers, "content-type");
	const struct tl_descriptor descriptor = {
		/* Without parameters: the type becomes part of containerd's records. */
		.media_type = strndup(type ? type : "", strcspn(type ? type : "", "; \t")),
		.digest = strdup(digest.text),
		.size_bytes = response.body.len_bytes,
	};

	d.descriptor = descriptor;
	if (!d.descriptor.media_type || !d.descriptor.digest)
		return no_memory(err);
	d.bytes = response.body;
	tl_buf_init(&response.body, 0);
	*ret = d;
	d = (struct registry_document){ 0 };
	return 0;
}

int registry_get_small_blob(struct tl_registry *r, const struct tl_descriptor *d, const char *what,
			    struct tl_buf *ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response response = { 0 };
	auto_free char *url = NULL;
	struct tl_error own = { 0 };
	char the[64];
	int e;

	err = err ? err : &own;
	snprintf(the, sizeof(the), "the %s", what);
	e = url_build(r, "blobs", d->digest, &url, err);
	if (e < 0)
		return e;
	struct registry_request q = {
		.method = "GET",
		.url = url,
		.response_max_bytes = d->size_bytes,
		.redirects_max = r->limits.redirects_max,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), r->limits.document_ms),
	};

	e = document_fetch(r, &q, the, &response, err);
	if (e == -EFBIG)
		return tl_fail(err, TL_E_IMAGE_DIGEST, EBADMSG,
			       "the registry's %s has more than the %llu bytes that the "
			       "manifest states",
			       what, (unsigned long long)d->size_bytes);
	if (e < 0)
		return e;
	if (response.body.len_bytes != d->size_bytes)
		return tl_fail(err, TL_E_IMAGE_DIGEST, EBADMSG,
			       "the registry's %s has %zu bytes instead of %llu", what,
			       response.body.len_bytes, (unsigned long long)d->size_bytes);
	e = digest_check(d->digest, response.body.data, response.body.len_bytes, what, err);
	if (e < 0)
		return e;
	*ret = response.body;
	tl_buf_init(&response.body, 0);
	return 0;
}

int registry_get_referrers(struct tl_registry *r, const char *digest, const char *artifact_type,
			   struct tl_buf *ret, struct tl_error *err)
{
	static const char *const headers[] = { "Accept: application/vnd.oci.image.index.v1+json",
					       NULL };
	auto_http_response struct tl_http_response response = { 0 };
	auto_buf struct tl_buf query = { .max_bytes = URL_BYTES_MAX };
	auto_free char *url = NULL;
	struct tl_error own = { 0 };
	int e;

	err = err ? err : &own;
	if (tl_buf_printf(&query, "%s?artifactType=", digest) < 0 ||
	    url_encode(&query, artifact_type) < 0)
		return no_memory(err);
	e = url_build(r, "referrers", tl_buf_str(&query), &url, err);
	if (e < 0)
		return e;
	struct registry_request q = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.response_max_bytes = MANIFEST_BYTES_MAX,
		.redirects_max = r->limits.redirects_max,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), r->limits.document_ms),
	};

	e = document_fetch(r, &q, "the list of referrers", &response, err);
	if (e < 0)
		return e;
	*ret = response.body;
	tl_buf_init(&response.body, 0);
	return 0;
}
