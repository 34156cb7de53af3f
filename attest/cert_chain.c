/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/cert_chain.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/http.h>

#include "cert_aia.h"
#include "openssl_auto.h"

#define USER_AGENT      "teelaunch"
#define FETCH_BUDGET_MS 10000
#define TRY_TIMEOUT_MS  3000
#define RETRY_PAUSE_MS  60000

struct tl_cert_chain {
	const struct tl_strv *hosts;
	pthread_mutex_t lock; /* over the rest; held while fetching, and then only tried */
	bool is_complete;
	uint64_t not_before_ms;
	struct tl_blob certs[TL_CHAIN_MAX];
	size_t n;
};

/* One walk from the attestation key's certificate upwards. */
struct walk {
	struct tl_http *http;
	const struct tl_strv *hosts;
	struct tl_deadline deadline;
	struct tl_cancel *cancel;
	X509 *certs[1 + TL_CHAIN_MAX]; /* the attestation key's first */
	size_t n;
};

static void walk_done(struct walk *w)
{
	tl_http_free(w->http);
	for (size_t i = 0; i < w->n; i++)
		X509_free(w->certs[i]);
}
#define auto_walk __attribute__((cleanup(walk_done)))

struct tl_cert_chain *tl_cert_chain_new(const struct tl_strv *hosts)
{
	struct tl_cert_chain *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->hosts = hosts;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

static void forget(struct tl_cert_chain *c)
{
	while (c->n)
		tl_blob_done(&c->certs[--c->n]);
}

struct tl_cert_chain *tl_cert_chain_free(struct tl_cert_chain *c)
{
	if (!c)
		return NULL;
	forget(c);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

/* --- one certificate ----------------------------------------------------------------------- */

static int fail_url(struct tl_error *err, const char *url, const char *why)
{
	return tl_fail(err, TL_E_AK_CHAIN, EBADMSG, "'%.200s': %s", url, why);
}

static bool is_known(const struct walk *w, const X509 *cert)
{
	for (size_t i = 0; i < w->n; i++)
		if (X509_cmp(w->certs[i], cert) == 0)
			return true;
	return false;
}

/* It is the issuer of the last one, and new. */
static int issuer_check(const struct walk *w, X509 *cert, const char *url, struct tl_error *err)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	X509 *below = w->certs[w->n - 1];
	/* The name, too: whoever answers over plain http could put the key under another one. */
	bool is_issuer =
		key && X509_verify(below, key) == 1 && X509_check_issued(cert, below) == X509_V_OK;

	ERR_clear_error();
	if (!is_issuer)
		return fail_url(err, url, "not the certificate of the issuer");
	if (is_known(w, cert))
		return fail_url(err, url, "the certificates lead round in a circle");
	return 0;
}

static int fetch_url(const struct walk *w, const char *url, X509 **ret, struct tl_error *err)
{
	const struct tl_http_request req = {
		.method = "GET",
		.url = url,
		.is_plain_allowed = true,
		.deadline = tl_deadline_min(w->deadline,
					    tl_deadline_in(tl_clock_mono_ms(), TRY_TIMEOUT_MS)),
		.response_max_bytes = CERT_MAX_BYTES,
		.cancel = w->cancel,
	};
	auto_http_response struct tl_http_response res = { 0 };
	auto_x509 X509 *cert = NULL;
	struct tl_error inner = { 0 };
	int r;

	if (!cert_url_is_allowed(url, w->hosts))
		return fail_url(err, url, "not at a host of the list, which is --aia-host");
	r = tl_http_perform(w->http, &req, &res, &inner);
	if (r < 0)
		return tl_fail(err, inner.code == TL_E_INTERRUPTED ? inner.code : TL_E_AK_CHAIN, -r,
			       "'%.200s': %s", url, inner.msg);
	if (res.status != 200)
		return tl_fail(err, TL_E_AK_CHAIN, EBADMSG, "'%.200s': status %d", url, res.status);
	cert = cert_parse(res.body.data, res.body.len_bytes);
	if (!cert)
		return fail_url(err, url, "not one certificate");
	r = issuer_check(w, cert, url, err);
	if (r == 0)
		*ret = take_ptr(cert);
	return r;
}

/* The first address that has it. Returns 1 if the last certificate names none. */
static int step_up(struct walk *w, struct tl_error *err)
{
	auto_strv struct tl_strv urls = { 0 };
	X509 *cert = NULL;
	int r = -EBADMSG;

	if (cert_aia_urls(w->certs[w->n - 1], &urls) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "certificates");
	if (!urls.n)
		return 1;
	if (w->n == TL_ARRAY_SIZE(w->certs))
		return tl_fail(err, TL_E_AK_CHAIN, E2BIG,
			       "more than %d certificates, and the last one isn't the end",
			       TL_CHAIN_MAX);
	for (size_t i = 0; i < urls.n && r < 0; i++) {
		r = fetch_url(w, urls.items[i], &cert, err);
		if (r < 0 && err->code == TL_E_INTERRUPTED)
			return r;
	}
	if (r == 0)
		w->certs[w->n++] = cert;
	return r;
}

/* --- the chain ----------------------------------------------------------------------------- */

static bool is_end(X509 *cert)
{
	return X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(cert)) == 0;
}

static int walk_up(struct walk *w, struct tl_error *err)
{
	int r = 0;

	while (r == 0 && !is_end(w->certs[w->n - 1]))
		r = step_up(w, err);
	return r < 0 ? r : 0;
}

static int keep(struct tl_cert_chain *c, const struct walk *w)
{
	for (size_t i = 1; i < w->n; i++) {
		auto_openssl unsigned char *der = NULL;
		int n = i2d_X509(w->certs[i], &der);

		if (n <= 0 || tl_blob_set(&c->certs[c->n], der, (size_t)n) < 0)
			return -ENOMEM;
		c->n++;
	}
	return 0;
}

static int fetch(struct tl_cert_chain *c, const struct tl_blob *ak_cert, struct tl_cancel *cancel,
		 struct tl_error *err)
{
	auto_walk struct walk w = {
		.http = tl_http_new(USER_AGENT),
		.hosts = c->hosts,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), FETCH_BUDGET_MS),
		.cancel = cancel,
	};
	int r;

	if (!w.http)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "certificates");
	w.certs[0] = cert_parse(ak_cert->bytes, ak_cert->n);
	if (!w.certs[0])
		return tl_fail(err, TL_E_AK_CHAIN, EBADMSG,
			       "the attestation key's certificate can't be read");
	w.n = 1;
	r = walk_up(&w, err);
	if (r == 0 && keep(c, &w) < 0)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "certificates");
	if (r < 0)
		forget(c);
	return r;
}

static int chain_copy(const struct tl_cert_chain *c, struct tl_evidence *e, struct tl_error *err)
{
	for (size_t i = 0; i < c->n; i++) {
		if (tl_blob_set(&e->cert_chain[i], c->certs[i].bytes, c->certs[i].n) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "certificates");
		e->n_chain++;
	}
	return 0;
}

/* With the lock held. */
static int chain_add(struct tl_cert_chain *c, struct tl_evidence *e, struct tl_cancel *cancel,
		     bool *ret_fetched, struct tl_error *err)
{
	uint64_t now_ms = tl_clock_mono_ms();
	int r = 0;

	if (!c->is_complete && now_ms >= c->not_before_ms) {
		*ret_fetched = true;
		r = fetch(c, &e->ak_cert, cancel, err);
		c->is_complete = r == 0;
		c->not_before_ms = tl_clock_mono_ms() + RETRY_PAUSE_MS;
	}
	if (r < 0 || !c->is_complete)
		return r;
	return chain_copy(c, e, err);
}

int tl_cert_chain_add(struct tl_cert_chain *c, struct tl_evidence *e, struct tl_cancel *cancel,
		      bool *ret_fetched, struct tl_error *err)
{
	struct tl_error inner = { 0 };
	int r;

	*ret_fetched = false;
	if (e->n_chain || !e->ak_cert.n || pthread_mutex_trylock(&c->lock) != 0)
		return 0;
	r = chain_add(c, e, cancel, ret_fetched, &inner);
	pthread_mutex_unlock(&c->lock);
	if (r < 0 && err)
		*err = inner;
	return tl_wrap(err, r, "certificates above the attestation key's");
}
