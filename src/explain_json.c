/* SPDX-License-Identifier: Apache-2.0 */
/* The document teelaunch.explain/1; its fields are an interface (docs/, teelaunch(1)). */
#include "explain.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_ref.h>

#define REDACTED "[REDACTED]"

static json_t *strings(const struct tl_strv *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list, json_string(v->items[i]));
	return list;
}

/* As text: a reader with doubles would round numbers above 2^53. */
static json_t *number(uint64_t value)
{
	return json_sprintf("%" PRIu64, value);
}

static json_t *envs(const struct tl_kvs *v, bool are_values_shown)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list,
				      json_pack("{ssss}", "name", v->items[i].key, "value",
						are_values_shown ? v->items[i].value : REDACTED));
	return list;
}

static json_t *mounts(const struct tl_mounts *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(list,
				      json_pack("{ssso}", "destination", v->items[i].destination,
						"size", number(v->items[i].size_bytes)));
	return list;
}

static const char *ita_key(const struct explain *e)
{
	if (tl_secret_is_empty(&e->judge.spec.ita_api_key))
		return "";
	return e->are_values_shown ? e->judge.spec.ita_api_key.bytes : REDACTED;
}

static json_t *repos(const struct tl_strv *v, bool are_values_shown)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n; i++) {
		auto_free char *shown =
			are_values_shown ? strdup(v->items[i]) : tl_image_ref_shown(v->items[i]);

		json_array_append_new(list, json_string(shown ? shown : ""));
	}
	return list;
}

static json_t *spec_json(const struct explain *e)
{
	const struct tl_launch_spec *s = &e->judge.spec;
	auto_free char *shown =
		e->are_values_shown ? strdup(s->image_ref) : tl_image_ref_shown(s->image_ref);

	return json_pack("{sb sb ss ss so so ss so so ss ss so so ss ss so sb sb}", "fake_verifier",
			 false, "install_gpu_driver", s->is_gpu_driver_wanted, "image_ref", shown,
			 "restart_policy", tl_restart_policy_name(s->restart_policy),
			 "impersonate_service_accounts", strings(&s->impersonate_service_accounts),
			 "signed_image_repos", repos(&s->signed_image_repos, e->are_values_shown),
			 "monitoring", tl_monitoring_name(s->monitoring), "cmd", strings(&s->cmd),
			 "envs", envs(&s->envs, e->are_values_shown), "log_redirect",
			 tl_log_redirect_name(s->log_redirect), "gca_address", s->gca_address,
			 "dev_shm_size_kb", number(s->dev_shm_size_kb), "mounts",
			 mounts(&s->mounts), "ita_region", s->ita_region ? s->ita_region : "",
			 "ita_key", ita_key(e), "added_capabilities",
			 strings(&s->added_capabilities), "cgroup_namespace", s->is_cgroup_ns,
			 "disable_gca_refresh", s->is_gca_refresh_disabled);
}

static json_t *policy_json(const struct tl_launch_policy *p)
{
	return json_pack("{so sb ss so ss ss sb sb}", "env", strings(&p->allow_envs), "cmd",
			 p->allow_cmd, "log", tl_log_policy_name(p->log_policy), "mounts",
			 strings(&p->allow_mounts), "debug_mon",
			 tl_monitoring_name(p->debug_monitoring), "hardened_mon",
			 tl_monitoring_name(p->hardened_monitoring), "caps", p->allow_capabilities,
			 "cgroups", p->allow_cgroups);
}

json_t *explain_findings(const struct tl_findings *f, bool are_warnings)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n; i++) {
		const struct tl_finding *x = &f->items[i];

		if (x->is_warning != are_warnings)
			continue;
		json_array_append_new(
			list, json_pack("{ss ss ss ss ss ss}", "code",
					tl_catalogue_find(x->code)->id, "category", x->category,
					"source", tl_finding_source_name(x->source), "key", x->key,
					"message", x->message, "fix", x->fix));
	}
	return list;
}

static json_t *unchecked_json(const struct explain *e)
{
	json_t *list = json_array();

	for (size_t i = 0; explain_unchecked(e, i); i++)
		json_array_append_new(list, json_string(explain_unchecked(e, i)));
	return list;
}

static int document_print(const json_t *document)
{
	if (!document || json_dumpf(document, stdout, JSON_INDENT(1)) < 0)
		return -ENOMEM;
	putchar('\n');
	return fflush(stdout) == 0 ? 0 : -EIO;
}

int explain_print_json(const struct explain *e)
{
	json_auto_t *document =
		json_pack("{ss ss sb so so}", "schema", "teelaunch.explain/1", "verdict",
			  judge_verdict_name(e->judge.verdict), "hardened", !e->judge.is_debug,
			  "findings", explain_findings(&e->judge.findings, false), "warnings",
			  explain_findings(&e->judge.findings, true));

	if (e->judge.findings.dropped)
		json_object_set_new(document, "dropped",
				    json_integer((json_int_t)e->judge.findings.dropped));
	if (e->judge.has_spec)
		json_object_set_new(document, "spec", spec_json(e));
	if (e->judge.has_policy)
		json_object_set_new(document, "policy", policy_json(&e->judge.policy));
	json_object_set_new(document, "unchecked", unchecked_json(e));
	return document_print(document);
}

static json_t *table_json(const struct tl_key_doc *(*get)(size_t i))
{
	json_t *list = json_array();

	for (size_t i = 0; get(i); i++)
		json_array_append_new(
			list, json_pack("{ss ss ss ss ss*}", "name", get(i)->name, "type",
					get(i)->type, "default", get(i)->fallback, "description",
					get(i)->description, "governed_by", get(i)->governed_by));
	return list;
}

static void table_print(const char *title, const struct tl_key_doc *(*get)(size_t i))
{
	printf("%s\n", title);
	for (size_t i = 0; get(i); i++) {
		printf("\n%s\n  %s\n  type: %s\n  default: %s\n", get(i)->name, get(i)->description,
		       get(i)->type, get(i)->fallback);
		if (get(i)->governed_by)
			printf("  allowed by: label " TL_LABEL_PREFIX "%s\n", get(i)->governed_by);
	}
}

int explain_print_schema(bool is_json)
{
	json_auto_t *document = NULL;

	if (!is_json) {
		table_print("METADATA KEYS", tl_launch_spec_key);
		table_print("\nIMAGE LABELS", tl_launch_policy_label);
		return fflush(stdout) == 0 ? 0 : -EIO;
	}
	document = json_pack("{ss so so}", "schema", "teelaunch.schema/1", "keys",
			     table_json(tl_launch_spec_key), "labels",
			     table_json(tl_launch_policy_label));
	return document_print(document);
}
