/* SPDX-License-Identifier: Apache-2.0 */
#include "verifier.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/secret.h>

#include "api.h"
#include "server.h"

#define FILE_MAX   (1024 * 1024)
#define ISSUER_MAX 512

/* All that files say, for as long as the last request needs it; read-only. */
struct state {
	unsigned int owners; /* under the verifier's lock */
	struct challenge_minter *minter;
	struct ak_anchors *anchors;
	struct token_keys *keys;
	struct pki_signer *pki;
	struct identity_keys *identity;
	struct image_references images;
	struct tdx_rules *tdx;
	struct snp_rules *snp;
	unsigned int tees_required;
	struct api_callers callers;
	char *issuer;
	char *swname;
	char *swversion;
	struct api api;
};

struct verifier {
	struct server *server;
	uint16_t port;
	struct tl_secret tls_cert;
	struct tl_secret tls_key;
	pthread_mutex_t lock;
	struct state *current;
};

/* What a load needs besides the options; @old is NULL at the start. */
struct load {
	struct state *state;
	const struct state *old;
};

static struct state *state_free(struct state *s)
{
	if (!s)
		return NULL;
	(void)challenge_minter_free(s->minter);
	(void)ak_anchors_free(s->anchors);
	(void)token_keys_free(s->keys);
	(void)pki_signer_free(s->pki);
	(void)identity_keys_free(s->identity);
	image_references_done(&s->images);
	(void)tdx_rules_free(s->tdx);
	(void)snp_rules_free(s->snp);
	free(s->issuer);
	free(s->swname);
	free(s->swversion);
	free(s);
	return NULL;
}

static void state_freep(struct state **s)
{
	*s = state_free(*s);
}
#define auto_state __attribute__((cleanup(state_freep)))

/* A key must be nobody's to read or change but its owner's; a group may read (mounted secrets). */
static int mode_check(int fd, const char *path, struct tl_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "can't look at '%s'", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IWGRP | S_IRWXO)))
		return tl_fail(err, TL_E_VERIFY_KEYS, EACCES,
			       "'%s' holds a secret, so it must be a file that no others than "
			       "its owner and group can read (mode %04o; chmod 0600)",
			       path, (unsigned int)st.st_mode & 07777);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return tl_fail(err, TL_E_VERIFY_KEYS, EACCES,
			       "'%s' holds a secret, but belongs to user %u, who is neither root "
			       "nor the one this runs as",
			       path, st.st_uid);
	return 0;
}

static int secret_read(const char *path, struct tl_secret *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = FILE_MAX };
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char part[4096];
	ssize_t n;
	int r;

	if (fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "can't open '%s'", path);
	r = mode_check(fd, path, err);
	if (r < 0)
		return r;
	while ((n = read(fd, part, sizeof(part))) > 0)
		if (tl_buf_append(&text, part, (size_t)n) < 0)
			return tl_fail(err, TL_E_VERIFY_KEYS, EFBIG, "'%s' is larger than %d bytes",
				       path, FILE_MAX);
	explicit_bzero(part, sizeof(part));
	if (n < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "can't read '%s'", path);
	if (tl_secret_set(ret, text.data ? (const void *)text.data : "", text.len_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	return 0;
}

/* Certificates and the like. */
static int public_read(const char *path, struct tl_secret *ret, struct tl_error *err)
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
	int r = public_read(opt->tls_cert, &v->tls_cert, err);

	return r < 0 ? r : secret_read(opt->tls_key, &v->tls_key, err);
}

static int load_token_keys(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	l->state->keys = token_keys_new();
	if (!l->state->keys)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for token keys");
	for (size_t i = 0; i < opt->token_keys.n; i++) {
		auto_secret struct tl_secret pem = { 0 };
		int r = secret_read(opt->token_keys.items[i], &pem, err);

		if (r == 0)
			r = token_keys_add(l->state->keys, &pem, err);
		if (r < 0)
			return tl_wrap(err, r, "--token-key '%s'", opt->token_keys.items[i]);
	}
	if (token_keys_count(l->state->keys) == 0)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--token-key is needed at least once");
	return 0;
}

static int load_pki(struct load *l, const struct verifier_options *opt, struct tl_error *err)
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
		r = public_read(opt->pki_chain, &chain, err);
	if (r == 0)
		r = pki_signer_new(&key, &chain, tl_clock_real_s(), &l->state->pki, err);
	return tl_wrap(err, r, "--pki-chain '%s'", opt->pki_chain);
}

static int load_root_set(struct load *l, const char *arg, struct tl_error *err)
{
	auto_secret struct tl_secret pem = { 0 };
	const char *equals = strchr(arg, '=');
	auto_free char *name = equals ? strndup(arg, (size_t)(equals - arg)) : NULL;
	int r;

	if (!equals)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--ak-roots '%s' must be NAME=FILE", arg);
	if (!name)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a name");
	r = public_read(equals + 1, &pem, err);
	if (r == 0)
		r = ak_anchors_add(l->state->anchors, name, pem.bytes, pem.len_bytes, err);
	return tl_wrap(err, r, "--ak-roots '%s'", arg);
}

static int load_anchors(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	int r = 0;

	l->state->anchors = ak_anchors_new();
	if (!l->state->anchors)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for root sets");
	for (size_t i = 0; r == 0 && i < opt->ak_roots.n; i++)
		r = load_root_set(l, opt->ak_roots.items[i], err);
	for (size_t i = 0; r == 0 && i < opt->ak_intermediates.n; i++) {
		auto_secret struct tl_secret pem = { 0 };

		r = public_read(opt->ak_intermediates.items[i], &pem, err);
		if (r == 0)
			r = ak_anchors_add_intermediates(l->state->anchors, pem.bytes,
							 pem.len_bytes, err);
		if (r < 0)
			return tl_wrap(err, r, "--ak-intermediates '%s'",
				       opt->ak_intermediates.items[i]);
	}
	if (r == 0 && ak_anchors_count(l->state->anchors) == 0)
		r = tl_fail(err, TL_E_USAGE, EINVAL, "--ak-roots is needed at least once");
	return r;
}

/* The random key of a process outlives a reload: challenges made with it are still out. */
static int load_challenges(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	struct tl_secret keys[CHALLENGE_KEYS_MAX] = { 0 };
	size_t n = opt->challenge_keys.n;
	int r = 0;

	if (n > CHALLENGE_KEYS_MAX)
		return tl_fail(err, TL_E_USAGE, EINVAL, "more than %d times --challenge-key",
			       CHALLENGE_KEYS_MAX);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = secret_read(opt->challenge_keys.items[i], &keys[i], err);
	if (r == 0 && l->old)
		r = challenge_minter_renew(l->old->minter, keys, n, opt->challenge_ttl_s,
					   &l->state->minter, err);
	else if (r == 0)
		r = challenge_minter_new(keys, n, opt->challenge_ttl_s, CHALLENGE_USED_MAX,
					 &l->state->minter, err);
	for (size_t i = 0; i < CHALLENGE_KEYS_MAX; i++)
		tl_secret_done(&keys[i]);
	return r;
}

static int load_identity(struct load *l, const struct verifier_options *opt, struct tl_error *err)
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
				      &l->state->identity, err);
	return r;
}

static int load_references(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	if (opt->references.n && opt->swversion)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--swversion and --reference exclude each other: the version is "
			       "that of the image that booted");
	for (size_t i = 0; i < opt->references.n; i++) {
		auto_buf struct tl_buf text = { .max_bytes = IMAGE_REFERENCE_FILE_MAX };
		int r = tl_file_read(opt->references.items[i], &text, err);

		if (r == 0)
			r = image_references_add(&l->state->images, tl_buf_str(&text),
						 text.len_bytes, err);
		if (r < 0)
			return tl_wrap(err, r, "--reference '%s'", opt->references.items[i]);
	}
	return 0;
}

static int load_tdx(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	return tdx_rules_load(&opt->tdx, tl_clock_real_s(), &l->state->tdx, err);
}

static int load_snp(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	return snp_rules_load(&opt->snp, &l->state->snp, err);
}

/* What can't be checked can't be demanded: nothing would ever be accepted. */
static int load_required_tees(struct load *l, const struct verifier_options *opt,
			      struct tl_error *err)
{
	for (size_t i = 0; i < opt->required_tees.n; i++) {
		const char *name = opt->required_tees.items[i];

		if (l->state->tdx && strcmp(name, "tdx") == 0)
			l->state->tees_required |= EVIDENCE_TDX;
		else if (l->state->snp && strcmp(name, "snp") == 0)
			l->state->tees_required |= EVIDENCE_SNP;
		else
			return tl_fail(err, TL_E_USAGE, EINVAL,
				       "--require-tee '%s' must be tdx (with --tdx-root) or snp "
				       "(with --snp-root)",
				       name);
	}
	return 0;
}

static int load_callers(struct load *l, const struct verifier_options *opt, struct tl_error *err)
{
	auto_secret struct tl_secret text = { 0 };
	int r;

	if (!opt->callers)
		return 0;
	r = secret_read(opt->callers, &text, err);
	return r < 0 ? r : api_callers_read(text.bytes, text.len_bytes, &l->state->callers, err);
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

static int texts_keep(struct state *s, const struct verifier_options *opt, uint16_t port,
		      struct tl_error *err)
{
	int r = opt->issuer ? issuer_check(opt->issuer, err) : 0;

	if (r < 0)
		return r;
	if (opt->issuer)
		s->issuer = strdup(opt->issuer);
	else if (asprintf(&s->issuer, "https://%.*s:%u",
			  (int)(strrchr(opt->listen, ':') - opt->listen), opt->listen,
			  (unsigned int)port) < 0)
		s->issuer = NULL;
	s->swname = strdup(opt->swname);
	s->swversion = opt->swversion ? strdup(opt->swversion) : NULL;
	if (!s->issuer || !s->swname || (opt->swversion && !s->swversion))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for options");
	return 0;
}

static void api_fill(struct state *s, const struct verifier_options *opt)
{
	s->api = (struct api){
		.minter = s->minter,
		.challenge_ttl_s = opt->challenge_ttl_s,
		.rules = { .anchors = s->anchors,
			   .identity = s->identity,
			   .images = &s->images,
			   .tdx = s->tdx,
			   .snp = s->snp,
			   .tees_required = s->tees_required },
		.claims = { .issuer = s->issuer,
			    .swname = s->swname,
			    .swversion = s->swversion,
			    .ttl_s = opt->token_ttl_s },
		.keys = s->keys,
		.pki = s->pki,
		.callers = &s->callers,
		.is_explaining = opt->explain,
		.has_decision_lines = opt->decision_lines,
		.has_claims_in_lines = opt->log_claims,
		.clock_ms = tl_clock_mono_ms,
		.decided = opt->decided,
		.decided_ctx = opt->decided_ctx,
	};
}

static int state_load(const struct verifier_options *opt, const struct state *old, uint16_t port,
		      struct state **ret, struct tl_error *err)
{
	static int (*const loads[])(struct load * l, const struct verifier_options *opt,
				    struct tl_error *err) = {
		load_token_keys, load_pki, load_anchors, load_challenges,    load_identity,
		load_references, load_tdx, load_snp,     load_required_tees, load_callers,
	};
	auto_state struct state *s = calloc(1, sizeof(*s));
	struct load l = { .state = s, .old = old };
	int r = 0;

	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the verifier");
	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(loads); i++)
		r = loads[i](&l, opt, err);
	if (r == 0)
		r = texts_keep(s, opt, port, err);
	if (r < 0)
		return r;
	api_fill(s, opt);
	s->owners = 1;
	*ret = take_ptr(s);
	return 0;
}

static struct state *state_ref(struct verifier *v)
{
	struct state *s;

	pthread_mutex_lock(&v->lock);
	s = v->current;
	s->owners++;
	pthread_mutex_unlock(&v->lock);
	return s;
}

/* Give back @n references at once. */
static void state_unref(struct verifier *v, struct state *s, unsigned int n)
{
	bool is_last;

	pthread_mutex_lock(&v->lock);
	s->owners -= n;
	is_last = s->owners == 0;
	pthread_mutex_unlock(&v->lock);
	if (is_last)
		(void)state_free(s);
}

static void on_request(void *ctx, const struct api_request *req, struct api_reply *ret)
{
	struct verifier *v = ctx;
	struct state *s = state_ref(v);

	api_handle(&s->api, req, ret);
	state_unref(v, s, 1);
}

static unsigned int threads_of(const struct verifier_options *opt)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (opt->threads)
		return (unsigned int)opt->threads;
	return cores < 1                    ? 1
	       : cores > SERVER_THREADS_MAX ? SERVER_THREADS_MAX
					    : (unsigned int)cores;
}

int verifier_start(const struct verifier_options *opt, struct verifier **ret, struct tl_error *err)
{
	auto_verifier_service struct verifier *v = calloc(1, sizeof(*v));
	auto_close int fd = -1;
	int r;

	if (!v)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the verifier");
	pthread_mutex_init(&v->lock, NULL);
	r = load_tls(v, opt, err);
	/* With port 0 first: what can be wrong with files is said before the address is taken. */
	if (r == 0)
		r = state_load(opt, NULL, 0, &v->current, err);
	if (r == 0)
		r = server_listen(opt->listen, &fd, &v->port, err);
	if (r == 0)
		r = verifier_reload(v, opt, err);
	if (r == 0)
		r = server_start(take_fd(fd), &v->tls_cert, &v->tls_key, threads_of(opt),
				 on_request, v, &v->server, err);
	if (r == 0)
		*ret = take_ptr(v);
	return r;
}

int verifier_reload(struct verifier *v, const struct verifier_options *opt, struct tl_error *err)
{
	struct state *next = NULL, *old = state_ref(v);
	int r = state_load(opt, old, v->port, &next, err);

	if (r == 0) {
		pthread_mutex_lock(&v->lock);
		v->current = next;
		pthread_mutex_unlock(&v->lock);
	}
	/* This one, and that of @v->current if it has another one now. */
	state_unref(v, old, r == 0 ? 2 : 1);
	return r;
}

void verifier_kid(struct verifier *v, char ret[VERIFIER_KID_MAX])
{
	struct state *s = state_ref(v);

	(void)snprintf(ret, VERIFIER_KID_MAX, "%s", token_keys_kid(s->keys));
	state_unref(v, s, 1);
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
	(void)state_free(v->current);
	pthread_mutex_destroy(&v->lock);
	free(v);
	return NULL;
}
