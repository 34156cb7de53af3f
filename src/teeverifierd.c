/* SPDX-License-Identifier: Apache-2.0 */
/* teeverifierd: parse arguments, start the verifier, wait for a signal. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "teeverifierd_options.h"

static void on_decided(void *ctx, const struct verifier_decision *d)
{
	struct decisions *log = ctx;
	struct tl_error err = { 0 };

	tl_log_event(
		d->is_accepted ? LOG_INFO : LOG_WARNING, "verifier.decided",
		"verdict=%s codes='%s' hwmodel='%s' instance='%s' image='%s' machine_image='%s' "
		"signatures=%zu signatures_dropped=%zu signature_problem='%s' took_ms=%" PRIu64
		" reason='%s'",
		d->is_accepted ? "accepted" : "refused", d->codes, d->anchor, d->instance, d->image,
		d->machine_image, d->signatures, d->signatures_dropped, d->signature_problem,
		d->took_ms, d->reason);
	if (decisions_write(log, d->line, &err) < 0)
		tl_log_event(LOG_ERR, "verifier.decision-lost", "code=%s reason='%s'",
			     tl_catalogue_find(err.code)->id, err.msg);
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

/* Whatever is wrong with the files, the verifier goes on with what it has, the log of decisions
 * among it: all are ready before anything changes. */
static void reload(struct settings *s, struct verifier *v)
{
	struct tl_error err = { 0 };
	char kid[VERIFIER_KID_MAX];
	auto_close int fd = -1;
	int r = s->decision_log ? decisions_open(s->decision_log, &fd, &err) : 0;

	if (r == 0)
		r = verifier_reload(v, &s->verifier, &err);
	if (r == 0 && s->decision_log)
		decisions_use(&s->decisions, take_fd(fd));
	verifier_kid(v, kid);
	if (r == 0)
		tl_log_event(LOG_INFO, "verifier.reloaded", "kid='%s'", kid);
	else
		tl_log_event(LOG_ERR, "verifier.reload-failed", "kid='%s' code=%s reason='%s'", kid,
			     tl_catalogue_find(err.code)->id, err.msg);
}

/* Taken one by one, and by this thread alone: a reload that comes while files are read for the
 * first time must wait, not end the process, so they are blocked before anything else. */
static void signals_block(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGTERM);
	(void)sigaddset(ret, SIGINT);
	(void)sigaddset(ret, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, ret, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a write beyond a limit fails: one line, not all */
}

static int serve(struct settings *s, const sigset_t *signals, struct tl_error *err)
{
	auto_verifier_service struct verifier *v = NULL;
	char kid[VERIFIER_KID_MAX];
	int sig = 0, fd = -1;
	int r;

	s->verifier.decision_lines = s->decision_log != NULL;
	s->verifier.decided_ctx = &s->decisions;
	r = s->decision_log ? decisions_open(s->decision_log, &fd, err) : 0;
	if (fd >= 0)
		decisions_use(&s->decisions, fd);
	if (r == 0)
		r = verifier_start(&s->verifier, &v, err);
	if (r == 0 && s->port_file)
		r = port_write(s->port_file, verifier_port(v), err);
	if (r < 0)
		return r;
	verifier_kid(v, kid);
	tl_log_event(LOG_INFO, "verifier.serving",
		     "listen='%s' port=%u kid='%s' callers=%s identity=%s references=%zu "
		     "tdx=%s snp=%s",
		     s->verifier.listen, (unsigned int)verifier_port(v), kid,
		     s->verifier.callers ? "checked" : "unchecked",
		     s->verifier.identity_jwks ? "checked" : "ignored", s->verifier.references.n,
		     s->verifier.tdx.root ? "checked" : "refused",
		     s->verifier.snp.roots.n ? "checked" : "refused");
	while (sigwait(signals, &sig) != 0 || sig == SIGHUP)
		if (sig == SIGHUP)
			reload(s, v);
	tl_log_event(LOG_INFO, "verifier.ending", "signal=%d", sig);
	return 0;
}

int main(int argc, char **argv)
{
	struct settings s = settings_defaults();
	struct tl_error err = { 0 };
	sigset_t signals;
	int r;

	signals_block(&signals);
	/* tss2-mu writes to standard error about each malformed quote; our own message says it. */
	(void)setenv("TSS2_LOG", "all+NONE", 1);
	s.verifier.decided = on_decided;
	r = settings_parse(argc, argv, &s, &err);
	if (r == 0 && s.is_help)
		settings_help();
	else if (r == 0 && s.is_version)
		(void)printf("teeverifierd %s\n", TL_VERSION);
	else {
		if (r == 0)
			r = settings_check(&s, &err);
		if (r == 0)
			r = serve(&s, &signals, &err);
	}
	if (r < 0)
		(void)fprintf(stderr, "teeverifierd: %s: %s\n", tl_catalogue_find(err.code)->id,
			      err.msg);
	settings_done(&s);
	return r < 0 ? 1 : 0;
}
