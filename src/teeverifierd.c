/* SPDX-License-Identifier: Apache-2.0 */
/* teeverifierd: parse arguments, start the verifier, wait for a signal. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "../attest/verifier/verifier.h"

#define LISTEN_DEFAULT          "127.0.0.1:8443"
#define SWNAME_DEFAULT          "CONFIDENTIAL_SPACE"
#define CHALLENGE_TTL_S_DEFAULT 300
#define CHALLENGE_TTL_S_MAX     3600
#define TOKEN_TTL_S_DEFAULT     3600
#define TOKEN_TTL_S_MAX         86400
#define THREADS_MAX             64

/* Where decision lines go; opened again on SIGHUP, while threads write. */
struct decisions {
	pthread_mutex_t lock;
	int fd; /* -1: nowhere */
};

struct settings {
	struct verifier_options verifier;
	const char *port_file;
	const char *decision_log;
	struct decisions decisions;
	const char *log_level;
	bool is_help;
	bool is_version;
};

enum option_kind {
	OPTION_TEXT, /* const char * */
	OPTION_LIST, /* struct tl_strv; may be given again */
	OPTION_NUMBER,
	OPTION_FLAG,
};

struct option_row {
	const char *name;
	const char *value; /* as the help shows it; NULL: a flag */
	enum option_kind kind;
	size_t offset;
	uint64_t max; /* of numbers */
	const char *help;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row rows[] = {
	{ "listen", "HOST:PORT", OPTION_TEXT, AT(verifier.listen), 0,
	  "numeric address; port 0 is any free one (" LISTEN_DEFAULT ")" },
	{ "port-file", "FILE", OPTION_TEXT, AT(port_file), 0,
	  "write the port there once the verifier serves" },
	{ "tls-cert", "FILE", OPTION_TEXT, AT(verifier.tls_cert), 0,
	  "PEM: the server's certificate and chain (needed)" },
	{ "tls-key", "FILE", OPTION_TEXT, AT(verifier.tls_key), 0,
	  "PEM: the key of that certificate (needed)" },
	{ "issuer", "URL", OPTION_TEXT, AT(verifier.issuer), 0,
	  "'iss' of tokens, and where clients find the discovery document (https://HOST:PORT)" },
	{ "token-key", "FILE", OPTION_LIST, AT(verifier.token_keys), 0,
	  "PEM, one or more keys, RSA or P-256; the first of all signs, all are published "
	  "(needed)" },
	{ "pki-key", "FILE", OPTION_TEXT, AT(verifier.pki_key), 0,
	  "PEM, RSA or P-256: signs tokens of the PKI kind; without it there are none" },
	{ "pki-chain", "FILE", OPTION_TEXT, AT(verifier.pki_chain), 0,
	  "PEM: the certificate of that key and its issuers in order, sent as x5c" },
	{ "ak-roots", "NAME=FILE", OPTION_LIST, AT(verifier.ak_roots), 0,
	  "PEM: roots of attestation keys; NAME becomes the claim hwmodel (needed)" },
	{ "ak-intermediates", "FILE", OPTION_LIST, AT(verifier.ak_intermediates), 0,
	  "PEM: certificates between attestation keys and roots" },
	{ "reference", "FILE", OPTION_LIST, AT(verifier.references), 0,
	  ".measurements.json of an image that may boot; any other is refused (which image booted "
	  "isn't judged)" },
	{ "challenge-key", "FILE", OPTION_LIST, AT(verifier.challenge_keys), 0,
	  "32 bytes or more that all replicas share; the first makes challenges, all are accepted "
	  "(random, for this process alone)" },
	{ "challenge-ttl-s", "N", OPTION_NUMBER, AT(verifier.challenge_ttl_s), CHALLENGE_TTL_S_MAX,
	  "life of a challenge (300)" },
	{ "token-ttl-s", "N", OPTION_NUMBER, AT(verifier.token_ttl_s), TOKEN_TTL_S_MAX,
	  "life of a token (3600)" },
	{ "threads", "N", OPTION_NUMBER, AT(verifier.threads), THREADS_MAX,
	  "that serve (as many as processors)" },
	{ "swname", "TEXT", OPTION_TEXT, AT(verifier.swname), 0,
	  "claim swname; the family of software that the images belong to (" SWNAME_DEFAULT ")" },
	{ "swversion", "TEXT", OPTION_TEXT, AT(verifier.swversion), 0,
	  "claim swversion, unless --reference gives it (empty)" },
	{ "identity-jwks", "FILE", OPTION_TEXT, AT(verifier.identity_jwks), 0,
	  "keys that sign identity tokens; without it they are not looked at and "
	  "google_service_accounts is empty" },
	{ "identity-issuer", "TEXT", OPTION_TEXT, AT(verifier.identity_issuer), 0,
	  "'iss' that identity tokens must have" },
	{ "callers", "FILE", OPTION_TEXT, AT(verifier.callers), 0,
	  "bearer tokens that may call, one a line; without it callers are not checked" },
	{ "explain", NULL, OPTION_FLAG, AT(verifier.explain), 0,
	  "answers to refused evidence say of each check what it expected and found" },
	{ "decision-log", "FILE", OPTION_TEXT, AT(decision_log), 0,
	  "append one line of JSON a verification ('-': standard output)" },
	{ "log-claims", NULL, OPTION_FLAG, AT(verifier.log_claims), 0,
	  "decision lines have the claims of the token, variables of the workload included" },
	{ "log-level", "LEVEL", OPTION_TEXT, AT(log_level), 0,
	  "err, warning, info or debug (info)" },
	{ "help", NULL, OPTION_FLAG, AT(is_help), 0, "this text" },
	{ "version", NULL, OPTION_FLAG, AT(is_version), 0, "the version" },
};
#define ROWS_N TL_ARRAY_SIZE(rows)

static void help_print(void)
{
	(void)printf("Usage: teeverifierd --tls-cert FILE --tls-key FILE --token-key FILE "
		     "--ak-roots NAME=FILE [options]\n\n"
		     "Checks evidence of confidential machines and issues OIDC tokens.\n\n");
	for (size_t i = 0; i < ROWS_N; i++)
		(void)printf("  --%s%s%s\n        %s\n", rows[i].name, rows[i].value ? " " : "",
			     rows[i].value ? rows[i].value : "", rows[i].help);
}

static int option_set(struct settings *s, const struct option_row *row, const char *value,
		      struct tl_error *err)
{
	void *field = (char *)s + row->offset;

	switch (row->kind) {
	case OPTION_TEXT:
		*(const char **)field = value;
		return 0;
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_LIST:
		if (tl_strv_add(field, value) == 0)
			return 0;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for options");
	case OPTION_NUMBER:
		if (tl_str_parse_u64(value, row->max, field) == 0 && *(uint64_t *)field > 0)
			return 0;
		return tl_fail(err, TL_E_USAGE, EINVAL, "--%s '%s' must be 1 to %" PRIu64,
			       row->name, value, row->max);
	}
	return tl_fail(err, TL_E_INTERNAL, EINVAL, "option '%s' has no kind", row->name);
}

static int settings_parse(int argc, char **argv, struct settings *s, struct tl_error *err)
{
	struct option longs[ROWS_N + 1] = { 0 };
	int at = 0;

	for (size_t i = 0; i < ROWS_N; i++)
		longs[i] = (struct option){ rows[i].name,
					    rows[i].value ? required_argument : no_argument, NULL,
					    'v' };
	for (int c; (c = getopt_long(argc, argv, "", longs, &at)) != -1;) {
		int r;

		if (c == '?')
			return tl_fail(err, TL_E_USAGE, EINVAL, "see teeverifierd --help");
		r = option_set(s, &rows[at], optarg, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return tl_fail(err, TL_E_USAGE, EINVAL, "'%s' is no option", argv[optind]);
	return 0;
}

static int settings_check(const struct settings *s, struct tl_error *err)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "err", LOG_ERR },
		{ "warning", LOG_WARNING },
		{ "info", LOG_INFO },
		{ "debug", LOG_DEBUG },
	};

	if (!s->verifier.tls_cert || !s->verifier.tls_key)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--tls-cert and --tls-key are needed");
	for (size_t i = 0; i < TL_ARRAY_SIZE(levels); i++) {
		if (strcmp(levels[i].name, s->log_level) == 0) {
			tl_log_set_level(levels[i].level);
			return 0;
		}
	}
	return tl_fail(err, TL_E_USAGE, EINVAL,
		       "--log-level '%s' must be err, warning, info or debug", s->log_level);
}

static void on_decided(void *ctx, const struct verifier_decision *d)
{
	struct decisions *log = ctx;

	tl_log_event(
		d->is_accepted ? LOG_INFO : LOG_WARNING, "verifier.decided",
		"verdict=%s codes='%s' hwmodel='%s' instance='%s' image='%s' machine_image='%s' "
		"signatures=%zu signatures_dropped=%zu signature_problem='%s' took_ms=%" PRIu64
		" reason='%s'",
		d->is_accepted ? "accepted" : "refused", d->codes, d->anchor, d->instance, d->image,
		d->machine_image, d->signatures, d->signatures_dropped, d->signature_problem,
		d->took_ms, d->reason);
	if (!d->line)
		return;
	pthread_mutex_lock(&log->lock);
	if (log->fd >= 0 && tl_write_all(log->fd, d->line, strlen(d->line)) < 0)
		tl_log_event(LOG_ERR, "verifier.decision-lost", "reason='can not be written'");
	pthread_mutex_unlock(&log->lock);
}

/* The file may have been moved away by whoever rotates it. */
static int decisions_open(struct settings *s, struct tl_error *err)
{
	bool is_file = strcmp(s->decision_log, "-") != 0;
	int fd = is_file ? open(s->decision_log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640)
			 : STDOUT_FILENO;
	int old;

	if (fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "--decision-log '%s'", s->decision_log);
	pthread_mutex_lock(&s->decisions.lock);
	old = s->decisions.fd;
	s->decisions.fd = fd;
	pthread_mutex_unlock(&s->decisions.lock);
	if (is_file && old >= 0)
		close(old);
	return 0;
}

static int port_write(const char *path, uint16_t port, struct tl_error *err)
{
	auto_free char *dir_copy = strdup(path);
	auto_free char *name_copy = strdup(path);
	auto_close int dir = -1;
	char text[8];

	if (!dir_copy || !name_copy)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	dir = open(dirname(dir_copy), O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (dir < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "folder of '%s'", path);
	(void)snprintf(text, sizeof(text), "%u\n", (unsigned int)port);
	return tl_file_replace(dir, basename(name_copy), text, strlen(text), 0644, err);
}

/* Whatever is wrong with the files, the verifier goes on with what it has. */
static void reload(struct settings *s, struct verifier *v)
{
	struct tl_error err = { 0 };
	char kid[VERIFIER_KID_MAX];
	int r = s->decision_log ? decisions_open(s, &err) : 0;

	if (r == 0)
		r = verifier_reload(v, &s->verifier, &err);
	verifier_kid(v, kid);
	if (r == 0)
		tl_log_event(LOG_INFO, "verifier.reloaded", "kid='%s'", kid);
	else
		tl_log_event(LOG_ERR, "verifier.reload-failed", "kid='%s' code=%s reason='%s'", kid,
			     tl_catalogue_find(err.code)->id, err.msg);
}

/* The serving threads must not take the signals: they are blocked before those start. */
static int serve(struct settings *s, struct tl_error *err)
{
	auto_verifier_service struct verifier *v = NULL;
	char kid[VERIFIER_KID_MAX];
	sigset_t signals;
	int sig = 0;
	int r;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	s->verifier.decision_lines = s->decision_log != NULL;
	s->verifier.decided_ctx = &s->decisions;
	r = s->decision_log ? decisions_open(s, err) : 0;
	if (r == 0)
		r = verifier_start(&s->verifier, &v, err);
	if (r == 0 && s->port_file)
		r = port_write(s->port_file, verifier_port(v), err);
	if (r < 0)
		return r;
	verifier_kid(v, kid);
	tl_log_event(LOG_INFO, "verifier.serving",
		     "listen='%s' port=%u kid='%s' callers=%s identity=%s references=%zu",
		     s->verifier.listen, (unsigned int)verifier_port(v), kid,
		     s->verifier.callers ? "checked" : "unchecked",
		     s->verifier.identity_jwks ? "checked" : "ignored", s->verifier.references.n);
	while (sigwait(&signals, &sig) != 0 || sig == SIGHUP)
		if (sig == SIGHUP)
			reload(s, v);
	tl_log_event(LOG_INFO, "verifier.ending", "signal=%d", sig);
	return 0;
}

int main(int argc, char **argv)
{
	struct settings s = {
		.verifier = { .listen = LISTEN_DEFAULT,
			      .swname = SWNAME_DEFAULT,
			      .challenge_ttl_s = CHALLENGE_TTL_S_DEFAULT,
			      .token_ttl_s = TOKEN_TTL_S_DEFAULT,
			      .decided = on_decided },
		.log_level = "info",
		.decisions = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 },
	};
	struct tl_error err = { 0 };
	int r;

	/* tss2-mu writes to standard error about each malformed quote; our own message says it. */
	(void)setenv("TSS2_LOG", "all+NONE", 1);
	r = settings_parse(argc, argv, &s, &err);
	if (r == 0 && s.is_help)
		help_print();
	else if (r == 0 && s.is_version)
		(void)printf("teeverifierd %s\n", TL_VERSION);
	else {
		if (r == 0)
			r = settings_check(&s, &err);
		if (r == 0)
			r = serve(&s, &err);
	}
	if (r < 0)
		(void)fprintf(stderr, "teeverifierd: %s: %s\n", tl_catalogue_find(err.code)->id,
			      err.msg);
	tl_strv_done(&s.verifier.token_keys);
	tl_strv_done(&s.verifier.ak_roots);
	tl_strv_done(&s.verifier.ak_intermediates);
	tl_strv_done(&s.verifier.references);
	tl_strv_done(&s.verifier.challenge_keys);
	return r < 0 ? 1 : 0;
}
