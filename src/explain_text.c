/* SPDX-License-Identifier: Apache-2.0 */
/* The same for people: the verdict, every reason, and a table of each key. */
#include "explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/image_ref.h>

#define VALUE_COLUMNS   36
#define VALUE_BYTES_MAX (64 * 1024)

#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define BOLD   "\033[1m"

static bool has_colour(void)
{
	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

static void colour_print(const char *colour, const char *text)
{
	bool is_on = has_colour();

	printf("%s%s%s", is_on ? colour : "", text, is_on ? "\033[0m" : "");
}

static void strings_show(struct tl_buf *b, const struct tl_strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		(void)tl_buf_printf(b, "%s%s", i ? "," : "", v->items[i]);
}

static void show_cmd(struct tl_buf *b, const struct tl_launch_spec *s)
{
	for (size_t i = 0; i < s->cmd.n; i++)
		(void)tl_buf_printf(b, "%s\"%s\"", i ? "," : "", s->cmd.items[i]);
}

/* Names only: a value may be a secret. */
static void show_envs(struct tl_buf *b, const struct tl_launch_spec *s)
{
	for (size_t i = 0; i < s->envs.n; i++)
		(void)tl_buf_printf(b, "%s%s", i ? "," : "", s->envs.items[i].key);
}

static void show_mounts(struct tl_buf *b, const struct tl_launch_spec *s)
{
	for (size_t i = 0; i < s->mounts.n; i++)
		(void)tl_buf_printf(b, "%s%s", i ? "," : "", s->mounts.items[i].destination);
}

static void show_shm(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_printf(b, "%" PRIu64, s->dev_shm_size_kb);
}

static void show_image(struct tl_buf *b, const struct tl_launch_spec *s)
{
	auto_free char *shown = tl_image_ref_shown(s->image_ref);

	(void)tl_buf_append_str(b, shown ? shown : "");
}

static void show_restart(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, tl_restart_policy_name(s->restart_policy));
}

static void show_redirect(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, tl_log_redirect_name(s->log_redirect));
}

static void show_monitoring(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, tl_monitoring_name(s->monitoring));
}

static void show_accounts(struct tl_buf *b, const struct tl_launch_spec *s)
{
	strings_show(b, &s->impersonate_service_accounts);
}

static void show_repos(struct tl_buf *b, const struct tl_launch_spec *s)
{
	for (size_t i = 0; i < s->signed_image_repos.n; i++) {
		auto_free char *shown = tl_image_ref_shown(s->signed_image_repos.items[i]);

		(void)tl_buf_printf(b, "%s%s", i ? "," : "", shown ? shown : "");
	}
}

static void show_capabilities(struct tl_buf *b, const struct tl_launch_spec *s)
{
	strings_show(b, &s->added_capabilities);
}

static void show_region(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, s->ita_region ? s->ita_region : "");
}

static void show_gca(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, s->gca_address);
}

static void show_cgroup(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, s->is_cgroup_ns ? "true" : "false");
}

static void show_refresh(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, s->is_gca_refresh_disabled ? "true" : "false");
}

static void show_gpu(struct tl_buf *b, const struct tl_launch_spec *s)
{
	(void)tl_buf_append_str(b, s->is_gpu_driver_wanted ? "true" : "false");
}

/* A key without a row here is shown as set, without its value. */
static const struct {
	const char *key;
	void (*show)(struct tl_buf *b, const struct tl_launch_spec *s);
} shows[] = {
	{ "tee-image-reference", show_image },
	{ "tee-cmd", show_cmd },
	{ "tee-env-", show_envs },
	{ "tee-restart-policy", show_restart },
	{ "tee-container-log-redirect", show_redirect },
	{ "tee-monitoring-enable", show_monitoring },
	{ "tee-monitoring-memory-enable", show_monitoring },
	{ "tee-impersonate-service-accounts", show_accounts },
	{ "tee-signed-image-repos", show_repos },
	{ "tee-added-capabilities", show_capabilities },
	{ "tee-mount", show_mounts },
	{ "tee-dev-shm-size-kb", show_shm },
	{ "ita-region", show_region },
	{ "gca-service-env", show_gca },
	{ "tee-cgroup-ns", show_cgroup },
	{ "tee-disable-gca-refresh", show_refresh },
	{ "tee-install-gpu-driver", show_gpu },
};

static void value_print(const struct explain *e, const struct tl_key_doc *doc)
{
	char cell[VALUE_COLUMNS + 1];
	auto_buf struct tl_buf text = { 0 };

	tl_buf_init(&text, VALUE_BYTES_MAX);
	for (size_t i = 0; i < TL_ARRAY_SIZE(shows); i++)
		if (strcmp(shows[i].key, doc->name) == 0)
			shows[i].show(&text, &e->judge.spec);
	tl_str_escape(text.len_bytes ? tl_buf_str(&text) : "(set)", cell, sizeof(cell));
	printf("%-*s", VALUE_COLUMNS, cell);
}

/* Whether it is the image's label that forbids, and nothing else would be gained by another value.
 */
static bool is_by_label(const struct tl_finding *f)
{
	static const enum tl_code codes[] = {
		TL_E_DENIED_ENV,        TL_E_DENIED_CMD,   TL_E_DENIED_LOG,
		TL_E_DENIED_MONITORING, TL_E_DENIED_MOUNT, TL_E_DENIED_CAPABILITIES,
		TL_E_DENIED_CGROUPS,
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(codes); i++)
		if (f->code == codes[i])
			return true;
	return false;
}

/* What forbids the key, a label before anything else; NULL: nothing does. */
static const struct tl_finding *denial_of(const struct explain *e, const char *key)
{
	bool is_prefix = strcmp(key, "tee-env-") == 0;
	const struct tl_finding *found = NULL;

	for (size_t i = 0; i < e->judge.findings.n; i++) {
		const struct tl_finding *x = &e->judge.findings.items[i];

		if (x->is_warning ||
		    (is_prefix ? !tl_str_starts_with(x->key, key) : strcmp(x->key, key) != 0))
			continue;
		if (!found || (is_by_label(x) && !is_by_label(found)))
			found = x;
	}
	return found;
}

static void verdict_print(const struct explain *e, const struct tl_key_doc *doc,
			  const struct tl_finding *denial)
{
	if (denial) {
		colour_print(RED, "denied");
		if (is_by_label(denial) && doc->governed_by)
			printf(" by label %s", doc->governed_by);
		else
			printf(" by %s, %s",
			       denial->source == TL_SOURCE_MACHINE ? "the machine" : "its value",
			       tl_catalogue_find(denial->code)->id);
		return;
	}
	colour_print(GREEN, e->judge.has_policy || !doc->governed_by ? "allowed" : "unjudged");
	if (doc->governed_by)
		printf(" by label %s", doc->governed_by);
}

static void row_print(const struct explain *e, const struct tl_key_doc *doc, bool is_set)
{
	const struct tl_finding *denial = denial_of(e, doc->name);

	if (!is_set && !denial)
		return;
	printf("  %-34s ", doc->name);
	value_print(e, doc);
	printf(" %-9s ", is_set ? "metadata" : "default");
	verdict_print(e, doc, denial);
	putchar('\n');
}

static void table_print(const struct explain *e)
{
	if (!e->judge.has_spec)
		return;
	puts("\nkeys");
	for (size_t i = 0; tl_launch_spec_key(i); i++)
		row_print(e, tl_launch_spec_key(i), e->judge.spec.keys_set & (UINT32_C(1) << i));
}

void explain_print_findings(const struct tl_findings *f, bool are_warnings)
{
	const char *title = are_warnings ? "\nwarnings\n" : "\nreasons\n";

	for (size_t i = 0; i < f->n; i++) {
		const struct tl_finding *x = &f->items[i];

		if (x->is_warning != are_warnings)
			continue;
		fputs(title, stdout);
		title = "";
		fputs("  ", stdout);
		colour_print(are_warnings ? YELLOW : RED, tl_catalogue_find(x->code)->id);
		printf(" %s\n         -> %s\n", x->message, x->fix);
	}
}

int explain_print_text(const struct explain *e)
{
	const char *colour = e->judge.verdict == JUDGE_ALLOW ? GREEN : RED;

	colour_print(BOLD, "verdict: ");
	colour_print(colour, judge_verdict_name(e->judge.verdict));
	printf(" (%s machine)\n", e->judge.is_debug ? "debug" : "hardened");
	explain_print_findings(&e->judge.findings, false);
	explain_print_findings(&e->judge.findings, true);
	if (e->judge.findings.dropped)
		printf("\n  and %zu more\n", e->judge.findings.dropped);
	table_print(e);
	for (size_t i = 0; explain_unchecked(e, i); i++)
		printf("%s%s",
		       i ? ", " : "\nnot checked, because not given: ", explain_unchecked(e, i));
	if (explain_unchecked(e, 0))
		putchar('\n');
	return fflush(stdout) == 0 ? 0 : -EIO;
}
