/* SPDX-License-Identifier: Apache-2.0 */
#include "verifier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/secret.h>

#include "api.h"
#include "server.h"

#define FILE_MAX   (1024 * 1024)
#define ISSUER_MAX 512

struct verifier {
	struct server *server;
	uint16_t port;
	struct tl_secret tls_cert;
	struct tl_secret tls_key;
	struct challenge_minter *minter;
	struct ak_anchors *anchors;
	struct token_keys *keys;
	struct pki_signer *pki;
	struct identity_keys *identity;
	struct image_references images;
	struct api_callers callers;
	char *issuer;
	char *swname;
	char *swversion;
	struct api api;
};

static int secret_read(const char *path, struct tl_secret *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = FILE_MAX };
	int r = tl_file_read(path, &text, err);

	if (r < 0)
		return r;
	if (tl_secret_set(ret, text.data ? (const void *)text.data : "", text.len_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	return 0;
}

static int load_tls(struct verifier *v, const struct verifier_options *opt, struct tl_error *err)
{
	int r = secret_read(opt->tls_cert, &v->tls_cert, err);

	return r < 0 ? r : secret_read(opt->tls_key, &v->tls_key, err);
}

static int load_token_keys(struct verifier *v, const struct verifier_options *opt,
			   struct tl_error *err)
{
	v->keys = token_keys_new();
	if (!v->keys)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for token keys");
	for (size_t i = 0; i < opt->token_keys.n; i++) {
		auto_secret struct tl_secret pem = { 0 };
		int r = secret_read(opt->token_keys.items[i], &pem, err);

		if (r == 0)
			r = token_keys_add(v->keys, &pem, err);
		if (r < 0)
			return tl_wrap(err, r, "--token-key '%s'", opt->token_keys.items[i]);
	}
	if (token_keys_count(v->keys) == 0)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--token-key is needed at least once");
	return 0;
}

static int load_pki(struct verifier *v, const struct verifier_options *opt, struct tl_error *err)
{
	auto_secret struct tl_secret key = { 0 }, chain = { 0 };
	int r;

	if (!opt->pki_key != !opt->pki_chain)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--pki-key and --pki-chain need each other");
	if (!opt->pki_key)
		return 0;
	r = secret_read(opt->pki_key, &key, err);
	if (r == 0)
		r = secret_read(opt->pki_chain, &chain, err);
	if (r == 0)
		r = pki_signer_new(&key, &chain, tl_clock_real_s(), &v->pki, err);
	return tl_wrap(err, r, "--pki-chain '%s'", opt->pki_chain);
}

static int load_root_set(struct verifier *v, const char *arg, struct tl_error *err)
{
	auto_secret struct tl_secret pem = { 0 };
	const char *equals = strchr(arg, '=');
	auto_free char *name = equals ? strndup(arg, (size_t)(equals - arg)) : NULL;
	int r;

	if (!equals)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--ak-roots '%s' must be NAME=FILE", arg);
	if (!name)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a name");
	r = secret_read(equals + 1, &pem, err);
	if (r == 0)
		r = ak_anchors_add(v->anchors, name, pem.bytes, pem.len_bytes, err);
	return tl_wrap(err, r, "--ak-roots '%s'", arg);
}

static int load_anchors(struct verifier *v, const struct verifier_options *opt,
			struct tl_error *err)
{
	int r = 0;

	v->anchors = ak_anchors_new();
	if (!v->anchors)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for root sets");
	for (size_t i = 0; r == 0 && i < opt->ak_roots.n; i++)
		r = load_root_set(v, opt->ak_roots.items[i], err);
	for (size_t i = 0; r == 0 && i < opt->ak_intermediates.n; i++) {
		auto_secret struct tl_secret pem = { 0 };

		r = secret_read(opt->ak_intermediates.items[i], &pem, err);
		if (r == 0)
			r = ak_anchors_add_intermediates(v->anchors, pem.bytes, pem.len_bytes, err);
		if (r < 0)
			return tl_wrap(err, r, "--ak-intermediates '%s'",
				       opt->ak_intermediates.items[i]);
	}
	if (r == 0 && ak_anchors_count(v->anchors) == 0)
		r = tl_fail(err, TL_E_USAGE, EINVAL, "--ak-roots is needed at least once");
	return r;
}

static int load_challenges(struct verifier *v, const struct verifier_options *opt,
			   struct tl_error *err)
{
	auto_secret struct tl_secret key = { 0 };
	int r = opt->challenge_key ? secret_read(opt->challenge_key, &key, err) : 0;

	if (r == 0)
		r = challenge_minter_new(opt->challenge_key ? &key : NULL, opt->challenge_ttl_s,
					 CHALLENGE_USED_MAX, &v->minter, err);
	return r;
}

static int load_identity(struct verifier *v, const struct verifier_options *opt,
			 struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = IDENTITY_JWKS_MAX };
	int r;

	if (!opt->identity_jwks != !opt->identity_issuer)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--identity-jwks and --identity-issuer need each other");
	if (!opt->identity_jwks)
		return 0;
	r = tl_file_read(opt->identity_jwks, &text, err);
	if (r == 0)
		r = identity_keys_new(tl_buf_str(&text), text.len_bytes, opt->identity_issuer,
				      &v->identity, err);
	return r;
}

static int load_references(struct verifier *v, const struct verifier_options *opt,
			   struct tl_error *err)
{
	if (opt->references.n && opt->swversion)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--swversion and --reference exclude each other: the version is "
			       "that of the image that booted");
	for (size_t i = 0; i < opt->references.n; i++) {
		auto_buf struct tl_buf text = { .max_bytes = IMAGE_REFERENCE_FILE_MAX };
		int r = tl_file_read(opt->references.items[i], &text, err);

		if (r == 0)
			r = image_references_add(&v->images, tl_buf_str(&text), text.len_bytes,
						 err);
		if (r < 0)
			return tl_wrap(err, r, "--reference '%s'", opt->references.items[i]);
	}
	return 0;
}

static int load_callers(struct verifier *v, const struct verifier_options *opt,
			struct tl_error *err)
{
	auto_secret struct tl_secret text = { 0 };
	int r;

	if (!opt->callers)
		return 0;
	r = secret_read(opt->callers, &text, err);
	return r < 0 ? r : api_callers_read(text.bytes, text.len_bytes, &v->callers, err);
}

static int issuer_check(const char *issuer, struct tl_error *err)
{
	if (!tl_str_starts_with(issuer, "https://") || strlen(issuer) > ISSUER_MAX ||
	    tl_str_ends_with(issuer, "/") || strpbrk(issuer, "?# \"\\"))
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--issuer '%s' must be an https URL without '?', '#' and '/' at its "
			       "end",
			       issuer);
	return 0;
}

static int texts_keep(struct verifier *v, const struct verifier_options *opt, struct tl_error *err)
{
	int r = 0;

	if (opt->issuer)
		r = issuer_check(opt->issuer, err);
	if (r < 0)
		return r;
	if (opt->issuer)
		v->issuer = strdup(opt->issuer);
	else if (asprintf(&v->issuer, "https://%.*s:%u",
			  (int)(strrchr(opt->listen, ':') - opt->listen), opt->listen,
			  (unsigned int)v->port) < 0)
		v->issuer = NULL;
	v->swname = strdup(opt->swname);
	v->swversion = opt->swversion ? strdup(opt->swversion) : NULL;
	if (!v->issuer || !v->swname || (opt->swversion && !v->swversion))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for options");
	return 0;
}

static void api_fill(struct verifier *v, const struct verifier_options *opt)
{
	v->api = (struct api){
		.minter = v->minter,
		.challenge_ttl_s = opt->challenge_ttl_s,
		.rules = { .anchors = v->anchors, .identity = v->identity, .images = &v->images },
		.claims = { .issuer = v->issuer,
			    .swname = v->swname,
			    .swversion = v->swversion,
			    .ttl_s = opt->token_ttl_s },
		.keys = v->keys,
		.pki = v->pki,
		.callers = &v->callers,
		.clock_ms = tl_clock_mono_ms,
		.decided = opt->decided,
		.decided_ctx = opt->decided_ctx,
	};
}

int verifier_start(const struct verifier_options *opt, struct verifier **ret, struct tl_error *err)
{
	static int (*const loads[])(struct verifier * v, const struct verifier_options *opt,
				    struct tl_error *err) = {
		load_tls,        load_token_keys, load_pki,        load_anchors,
		load_challenges, load_identity,   load_references, load_callers,
	};
	auto_verifier_service struct verifier *v = calloc(1, sizeof(*v));
	auto_close int fd = -1;
	int r = 0;

	if (!v)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the verifier");
	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(loads); i++)
		r = loads[i](v, opt, err);
	if (r == 0)
		r = server_listen(opt->listen, &fd, &v->port, err);
	if (r == 0)
		r = texts_keep(v, opt, err);
	if (r < 0)
		return r;
	api_fill(v, opt);
	r = server_start(take_fd(fd), &v->tls_cert, &v->tls_key, &v->api, &v->server, err);
	if (r == 0)
		*ret = take_ptr(v);
	return r;
}

uint16_t verifier_port(const struct verifier *v)
{
	return v->port;
}

struct verifier *verifier_stop(struct verifier *v)
{
	if (!v)
		return NULL;
	(void)server_stop(v->server);
	tl_secret_done(&v->tls_cert);
	tl_secret_done(&v->tls_key);
	(void)challenge_minter_free(v->minter);
	(void)ak_anchors_free(v->anchors);
	(void)token_keys_free(v->keys);
	(void)pki_signer_free(v->pki);
	(void)identity_keys_free(v->identity);
	image_references_done(&v->images);
	free(v->issuer);
	free(v->swname);
	free(v->swversion);
	free(v);
	return NULL;
}
