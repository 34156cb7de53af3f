/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/launch_policy.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/env_names.h>

#include "values.h"

#define LABEL_LEGACY_MONITORING   TL_LABEL_PREFIX "monitoring_memory_allow"
#define LABEL_HARDENED_MONITORING TL_LABEL_PREFIX "hardened_monitoring"
#define LABEL_DEBUG_MONITORING    TL_LABEL_PREFIX "debug_monitoring"

struct label_row;

struct policy_parser {
	struct tl_launch_policy policy;
	const struct tl_kvs *labels;
	struct tl_findings *findings;
};

/* 0 or -ENOMEM; what is wrong becomes a finding. */
typedef int label_parser(struct policy_parser *p, const struct label_row *row, const char *text);

struct label_row {
	struct tl_key_doc doc;
	label_parser *parse;
	size_t offset;        /* of the field in struct tl_launch_policy */
	const char *category; /* when the value is bad */
};

static const struct choice log_policies[] = {
	{ "debugonly", TL_LOG_POLICY_DEBUG_ONLY },
	{ "always", TL_LOG_POLICY_ALWAYS },
	{ "never", TL_LOG_POLICY_NEVER },
	{ NULL, 0 },
};

#define FINDING(code_, category_, is_warning_)                                                     \
	(&(const struct tl_finding_row){ code_, category_, TL_SOURCE_LABELS, is_warning_ })

#define forbid(p, row, category, code, ...)                                                        \
	((p)->policy.labels_bad |= row_bit(row),                                                   \
	 tl_findings_add((p)->findings, FINDING(code, category, false), (row)->doc.name, NULL,     \
			 __VA_ARGS__))

static uint32_t row_bit(const struct label_row *row);

static int parse_bool(struct policy_parser *p, const struct label_row *row, const char *text)
{
	if (bool_parse(text, (bool *)((char *)&p->policy + row->offset)))
		return 0;
	return forbid(p, row, row->category, TL_E_LABEL_VALUE,
		      "image label %s is '%s'; it must be true or false", row->doc.name, text);
}

/* Returns 0, -EINVAL (no such word) or -ENOMEM. */
static int when_read(const char *text, unsigned int *ret)
{
	auto_free char *trimmed = space_trim(text);

	if (!trimmed)
		return -ENOMEM;
	return choice_parse(log_policies, trimmed, true, ret) ? 0 : -EINVAL;
}

static int parse_log_policy(struct policy_parser *p, const struct label_row *row, const char *text)
{
	int r = when_read(text, (unsigned int *)&p->policy.log_policy);

	if (r != -EINVAL)
		return r;
	return forbid(p, row, row->category, TL_E_LABEL_VALUE,
		      "image label %s is '%s'; it must be %s", row->doc.name, text, row->doc.type);
}

static int parse_legacy_monitoring(struct policy_parser *p, const struct label_row *row,
				   const char *text)
{
	static const struct {
		enum tl_monitoring hardened, debug;
	} levels[] = {
		[TL_LOG_POLICY_ALWAYS] = { TL_MONITORING_MEMORY_ONLY, TL_MONITORING_MEMORY_ONLY },
		[TL_LOG_POLICY_NEVER] = { TL_MONITORING_NONE, TL_MONITORING_NONE },
		[TL_LOG_POLICY_DEBUG_ONLY] = { TL_MONITORING_NONE, TL_MONITORING_MEMORY_ONLY },
	};
	unsigned int when;
	int r;

	if (tl_kvs_get(p->labels, LABEL_HARDENED_MONITORING) ||
	    tl_kvs_get(p->labels, LABEL_DEBUG_MONITORING))
		return forbid(p, row, "label-monitoring-both", TL_E_LABEL_MONITORING_BOTH,
			      "image label %s can't stand beside hardened_monitoring or "
			      "debug_monitoring",
			      row->doc.name);
	r = when_read(text, &when);
	if (r == -EINVAL)
		return forbid(p, row, row->category, TL_E_LABEL_VALUE,
			      "image label %s is '%s'; it must be %s", row->doc.name, text,
			      row->doc.type);
	if (r)
		return r;
	p->policy.hardened_monitoring = levels[when].hardened;
	p->policy.debug_monitoring = levels[when].debug;
	return 0;
}

static int parse_monitoring(struct policy_parser *p, const struct label_row *row, const char *text)
{
	unsigned int *field = (unsigned int *)((char *)&p->policy + row->offset);

	/* Beside the old label both are already refused. */
	if (tl_kvs_get(p->labels, LABEL_LEGACY_MONITORING) ||
	    choice_parse(monitoring_levels, text, true, field))
		return 0;
	return forbid(p, row, row->category, TL_E_LABEL_VALUE,
		      "image label %s is '%s'; it must be %s", row->doc.name, text, row->doc.type);
}

static int element_warn(struct policy_parser *p, const struct label_row *row, const char *element,
			const char *why)
{
	return tl_findings_add(p->findings, FINDING(TL_E_LABEL_ELEMENT, row->category, true),
			       row->doc.name, NULL, "image label %s: '%s' never matches: %s",
			       row->doc.name, element, why);
}

static int parse_envs(struct policy_parser *p, const struct label_row *row, const char *text)
{
	/* A label is at most TL_LABEL_BYTES_MAX long, which bounds its elements. */
	struct tl_strv *list = &p->policy.allow_envs;
	int r = list_split(text, ',', true, TL_LABEL_BYTES_MAX, list);

	for (size_t i = 0; !r && i < list->n; i++)
		if (tl_env_check(list->items[i], strlen(list->items[i]), "", 0))
			r = element_warn(p, row, list->items[i],
					 "it is no name of a variable; spaces count, and there "
					 "are no wildcards");
	return r;
}

static int parse_mount_paths(struct policy_parser *p, const struct label_row *row, const char *text)
{
	struct tl_strv *list = &p->policy.allow_mounts;
	int r = list_split(text, ':', true, TL_LABEL_BYTES_MAX, list);

	for (size_t i = 0; !r && i < list->n; i++) {
		char *clean = path_clean(list->items[i]);

		if (!clean)
			return -ENOMEM;
		free(list->items[i]);
		list->items[i] = clean;
		if (*clean != '/')
			r = element_warn(p, row, clean,
					 "it is not absolute, and makes every mount an error");
	}
	return r;
}

/* A label that this release doesn't know would restrict nothing; its image can say what it needs.
 */
static int parse_version(struct policy_parser *p, const struct label_row *row, const char *text)
{
	if (schema_version_is_known(text))
		return 0;
	return forbid(p, row, row->category, TL_E_SCHEMA_VERSION,
		      "image label %s is '%s'; " SCHEMA_VERSION_KNOWN, row->doc.name, text);
}

#define FIELD(name) offsetof(struct tl_launch_policy, name)

/* The label table, in the order in which problems are reported. */
static const struct label_row label_rows[] = {
	{ { TL_LABEL_PREFIX "schema_version", "decimal number", "1",
	    "Version of these labels that the image needs; refused if the release is older.",
	    NULL },
	  parse_version,
	  0,
	  "json-type" },
	{ { TL_LABEL_PREFIX "allow_env_override", "list of names, separated by commas", "(none)",
	    "Variables the operator may set. Exact names, no wildcards; spaces count.", NULL },
	  parse_envs,
	  0,
	  "env" },
	{ { TL_LABEL_PREFIX "allow_cmd_override", "true or false", "false",
	    "May the operator replace the image's CMD? Its ENTRYPOINT stays.", NULL },
	  parse_bool,
	  FIELD(allow_cmd),
	  "label-cmd-bool" },
	{ { TL_LABEL_PREFIX "log_redirect", "always, never or debugonly", "debugonly",
	    "On which machines the operator may see the workload's output.", NULL },
	  parse_log_policy,
	  0,
	  "label-log-policy" },
	{ { LABEL_LEGACY_MONITORING, "always, never or debugonly", "(see the next two)",
	    "Old form of the next two; never set it beside them.", NULL },
	  parse_legacy_monitoring,
	  0,
	  "label-memory-policy" },
	{ { LABEL_HARDENED_MONITORING, "none, memoryOnly or all", "none",
	    "The most monitoring on a production machine.", NULL },
	  parse_monitoring,
	  FIELD(hardened_monitoring),
	  "label-hardened-monitoring" },
	{ { LABEL_DEBUG_MONITORING, "none, memoryOnly or all", "memoryOnly",
	    "The most monitoring on a debug machine.", NULL },
	  parse_monitoring,
	  FIELD(debug_monitoring),
	  "label-debug-monitoring" },
	{ { TL_LABEL_PREFIX "allow_mount_destinations", "absolute paths, separated by colons",
	    "(none)", "The operator may mount tmpfs at these paths and below them.", NULL },
	  parse_mount_paths,
	  0,
	  "mount:allow-entry-not-absolute" },
	{ { TL_LABEL_PREFIX "allow_capabilities", "true or false", "false",
	    "May the operator add Linux capabilities to the workload?", NULL },
	  parse_bool,
	  FIELD(allow_capabilities),
	  "label-caps-bool" },
	{ { TL_LABEL_PREFIX "allow_cgroups", "true or false", "false",
	    "May the operator give the workload its own, writable cgroup?", NULL },
	  parse_bool,
	  FIELD(allow_cgroups),
	  "label-cgroups-bool" },
};

_Static_assert(TL_ARRAY_SIZE(label_rows) <= 32, "labels_bad has a bit a row");

static uint32_t row_bit(const struct label_row *row)
{
	return UINT32_C(1) << (row - label_rows);
}

static const char *label_name(size_t i)
{
	return i < TL_ARRAY_SIZE(label_rows) ? label_rows[i].doc.name : NULL;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(label_rows); i++)
		if (strcmp(label_rows[i].doc.name, name) == 0)
			return true;
	return false;
}

static int unknown_label_warn(struct policy_parser *p, const char *name)
{
	const char *near = nearest_name(name, label_name);
	char oddity[NAME_ODDITY_BYTES];
	auto_free char *fix = NULL;

	if (is_known(name))
		return 0;
	if (!near && !has_prefix_folded(name, TL_LABEL_PREFIX))
		return 0;
	if (near && asprintf(&fix, "did you mean %s?", near) < 0)
		return -ENOMEM;
	name_oddity(name, near, oddity);
	return tl_findings_add(p->findings, FINDING(TL_E_LABEL_UNKNOWN, "env", true), name, fix,
			       "image label %s is none of the launch policy; it has no effect%s",
			       name, oddity);
}

static int row_parse(struct policy_parser *p, const struct label_row *row)
{
	const char *text = tl_kvs_get(p->labels, row->doc.name);

	if (!text)
		return 0;
	if (strlen(text) > TL_LABEL_BYTES_MAX)
		return forbid(p, row, row->category, TL_E_LABEL_LIMIT,
			      "image label %s has %zu bytes; at most %d are allowed", row->doc.name,
			      strlen(text), TL_LABEL_BYTES_MAX);
	return row->parse(p, row, text);
}

int tl_launch_policy_read(const struct tl_kvs *labels, struct tl_launch_policy *ret,
			  struct tl_findings *findings)
{
	struct policy_parser p = {
		.policy = { .origin = "image labels",
			    .debug_monitoring = TL_MONITORING_MEMORY_ONLY },
		.labels = labels,
		.findings = findings,
	};
	int r = 0;

	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(label_rows); i++)
		r = row_parse(&p, &label_rows[i]);
	for (size_t i = 0; !r && i < labels->n; i++)
		r = unknown_label_warn(&p, labels->items[i].key);
	if (r) {
		tl_launch_policy_done(&p.policy);
		return r;
	}
	*ret = p.policy;
	return p.policy.labels_bad ? 1 : 0;
}

int tl_launch_policy_parse(const struct tl_kvs *labels, struct tl_launch_policy *ret,
			   struct tl_findings *findings)
{
	struct tl_launch_policy policy;
	int r = tl_launch_policy_read(labels, &policy, findings);

	if (r == 0)
		*ret = policy;
	if (r != 1)
		return r;
	tl_launch_policy_done(&policy);
	return -EINVAL;
}

void tl_launch_policy_done(struct tl_launch_policy *policy)
{
	if (!policy)
		return;
	tl_strv_done(&policy->allow_envs);
	tl_strv_done(&policy->allow_mounts);
	*policy = (struct tl_launch_policy){ 0 };
}

bool tl_launch_policy_is_bad(const struct tl_launch_policy *policy, const char *suffix)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < TL_ARRAY_SIZE(label_rows); i++)
		if (strcmp(label_rows[i].doc.name + strlen(TL_LABEL_PREFIX), suffix) == 0)
			bits |= row_bit(&label_rows[i]);
	return policy->labels_bad & bits;
}

const char *tl_log_policy_name(enum tl_log_policy policy)
{
	return choice_name(log_policies, policy);
}

const struct tl_key_doc *tl_launch_policy_label(size_t i)
{
	return i < TL_ARRAY_SIZE(label_rows) ? &label_rows[i].doc : NULL;
}
