/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/findings.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/str.h>

#define KEY_BYTES_MAX 256

const char *const *tl_finding_categories(void)
{
	static const char *const categories[] = {
		/* the attributes document */
		"json-syntax", "json-type", "fake-verifier-bool", "image-ref-missing", "image-ref",
		"restart-policy", "monitoring-both", "monitoring-memory-bool", "monitoring-type",
		"cmd-json", "log-redirect", "gca-env", "dev-shm-size", "mount-option-parse",
		"mount-unknown-option", "mount-type", "mount-source", "mount-destination-missing",
		"mount-size", "ita-pair", "caps-json", "cgroup-bool", "disable-gca-refresh-bool",
		/* the machine */
		"post-mount-memory", "post-gpu-not-supported", "post-dev-shm-memory",
		"post-caps-not-effective", "post-disk-space",
		/* the policy */
		"env", "cmd", "log-never", "log-debugonly", "monitoring", "mount:dest-not-absolute",
		"mount:allow-entry-not-absolute", "mount:not-in-allowlist", "caps", "cgroups",
		/* labels */
		"label-cmd-bool", "label-log-policy", "label-monitoring-both",
		"label-memory-policy", "label-hardened-monitoring", "label-debug-monitoring",
		"label-caps-bool", "label-cgroups-bool",
		/* variables and ports */
		"env-name-not-utf8", "env-value-not-utf8", "env-name-malformed", "env-no-equals",
		"port-format", "port-number", "port-protocol", NULL
	};

	return categories;
}

const char *tl_finding_source_name(enum tl_finding_source source)
{
	static const char *const names[] = {
		[TL_SOURCE_ATTRIBUTES] = "attributes",
		[TL_SOURCE_LABELS] = "labels",
		[TL_SOURCE_MACHINE] = "machine",
	};

	return names[source];
}

static void finding_done(struct tl_finding *finding)
{
	free(finding->key);
	free(finding->message);
	free(finding->fix);
	*finding = (struct tl_finding){ 0 };
}

void tl_findings_done(struct tl_findings *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++)
		finding_done(&f->items[i]);
	free(f->items);
	*f = (struct tl_findings){ 0 };
}

bool tl_findings_forbid(const struct tl_findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->items[i].is_warning)
			return true;
	return false;
}

/* Give up the last warning for a finding that forbids. */
static bool warning_drop(struct tl_findings *f)
{
	for (size_t i = f->n; i-- > 0;) {
		if (!f->items[i].is_warning)
			continue;
		finding_done(&f->items[i]);
		memmove(&f->items[i], &f->items[i + 1], (f->n - i - 1) * sizeof(*f->items));
		f->n--;
		return true;
	}
	return false;
}

static int finding_push(struct tl_findings *f, struct tl_finding *consume)
{
	struct tl_finding *items;

	if (f->n >= TL_FINDINGS_MAX) {
		f->dropped++;
		if (consume->is_warning || !warning_drop(f)) {
			finding_done(consume);
			return 0;
		}
	}
	items = reallocarray(f->items, f->n + 1, sizeof(*items));
	if (!items) {
		finding_done(consume);
		return -ENOMEM;
	}
	items[f->n++] = *consume;
	f->items = items;
	return 0;
}

static char *escaped_copy(const char *s, size_t cap_bytes)
{
	char *ret = malloc(cap_bytes), *fit;

	if (!ret)
		return NULL;
	tl_str_escape(s, ret, cap_bytes);
	fit = realloc(ret, strlen(ret) + 1);
	return fit ? fit : ret;
}

int tl_findings_add(struct tl_findings *f, const struct tl_finding_row *row, const char *key,
		    const char *fix, const char *fmt, ...)
{
	char message[TL_FINDING_MSG_BYTES_MAX];
	struct tl_finding finding = {
		.code = row->code,
		.category = row->category,
		.source = row->source,
		.is_warning = row->is_warning,
	};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (!fix)
		fix = tl_catalogue_find(row->code)->action;
	finding.key = escaped_copy(key ? key : "", KEY_BYTES_MAX);
	finding.message = escaped_copy(message, TL_FINDING_MSG_BYTES_MAX);
	finding.fix = escaped_copy(fix, TL_FINDING_MSG_BYTES_MAX);
	if (!finding.key || !finding.message || !finding.fix) {
		finding_done(&finding);
		return -ENOMEM;
	}
	return finding_push(f, &finding);
}

int tl_findings_error(const struct tl_findings *f, struct tl_error *err)
{
	const struct tl_finding *first = NULL;
	size_t more = f->dropped;

	for (size_t i = 0; i < f->n; i++) {
		if (f->items[i].is_warning)
			continue;
		if (first)
			more++;
		else
			first = &f->items[i];
	}
	if (!first)
		return 0;
	/* Already escaped; a backslash is printable, so escaping again changes nothing. */
	if (more)
		return tl_fail(err, first->code, EPERM, "%s (and %zu more)", first->message, more);
	return tl_fail(err, first->code, EPERM, "%s", first->message);
}
