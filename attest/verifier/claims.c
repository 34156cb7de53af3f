/* SPDX-License-Identifier: Apache-2.0 */
#include "claims.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "claims_aws.h"

/* Takes over @consume_value; remembers failure in @r, so that a chain of these reads as a list. */
static void put(json_t *object, const char *name, json_t *consume_value, int *r)
{
	if (!consume_value || json_object_set_new(object, name, consume_value) < 0)
		*r = -ENOMEM;
}

static json_t *strings_json(const struct tl_strv *v)
{
	json_t *array = json_array();

	for (size_t i = 0; i < v->n; i++) {
		if (json_array_append_new(array, json_string(v->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *variables_json(const struct tl_kvs *v)
{
	json_t *object = json_object();

	for (size_t i = 0; i < v->n; i++) {
		if (json_object_set_new(object, v->items[i].key, json_string(v->items[i].value)) <
		    0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* The service's form: token-claims, "container_image_signatures". */
static json_t *signatures_json(const struct checked_signatures *s)
{
	json_t *array = json_array();

	for (size_t i = 0; i < s->n; i++) {
		const struct checked_signature *item = &s->items[i];
		json_t *object = json_pack("{s:s, s:s, s:s}", "key_id", item->key_id, "signature",
					   item->signature, "signature_algorithm", item->algorithm);

		if (json_array_append_new(array, object) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

json_t *claims_container(const struct launch_claims *l, const struct checked_signatures *signatures)
{
	json_t *c = json_object();
	int r = 0;

	put(c, "image_reference", json_string(l->image_ref), &r);
	put(c, "image_digest", json_string(l->image_digest), &r);
	put(c, "image_id", json_string(l->image_id), &r);
	put(c, "restart_policy", json_string(l->restart_policy), &r);
	put(c, "args", strings_json(&l->args), &r);
	put(c, "env", variables_json(&l->env), &r);
	put(c, "cmd_override", strings_json(&l->override_args), &r);
	put(c, "env_override", variables_json(&l->override_env), &r);
	if (signatures->n)
		put(c, "image_signatures", signatures_json(signatures), &r);
	if (r == 0)
		return c;
	json_decref(c);
	return NULL;
}

static json_t *gce_json(const struct gce_instance *g)
{
	char number[24], id[24];

	(void)snprintf(number, sizeof(number), "%" PRIu64, g->project_number);
	(void)snprintf(id, sizeof(id), "%" PRIu64, g->instance_id);
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "zone", g->zone, "project_id", g->project_id,
			 "project_number", number, "instance_name", g->name, "instance_id", id);
}

static json_t *image_json(const struct image_reference *image)
{
	if (!image)
		return json_pack("{s:b}", "known", 0);
	return json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s}", "known", 1, "name", image->name,
			 "version", image->version, "commit", image->commit, "flavour",
			 image->flavour, "root_hash", image->roothash, "uki_authenticode_sha256",
			 image->uki);
}

/* All of it, and that it is there. Never half of it. */
static json_t *record_json(const json_t *record)
{
	json_t *known = record ? json_copy((json_t *)(uintptr_t)record) : json_object();

	if (json_object_set_new(known, "known", json_boolean(record)) == 0)
		return known;
	json_decref(known);
	return NULL;
}

static json_t *hex_json(const uint8_t *bytes, size_t n)
{
	char hex[2 * TDX_REGISTER_BYTES + 1];

	tl_hex_encode(bytes, n, hex);
	return json_string(hex);
}

static json_t *tcb_json(const struct tdx_claims *t)
{
	if (!t->has_tcb)
		return json_pack("{s:b}", "known", 0);
	return json_pack("{s:b, s:s, s:s, s:s, s:s}", "known", 1, "status",
			 tdx_tcb_status_name(t->platform), "date", t->tcb_date, "module_status",
			 tdx_tcb_status_name(t->module), "qe_status", tdx_tcb_status_name(t->qe));
}

static json_t *tdx_json(const struct tdx_claims *t)
{
	json_t *c = json_object();
	int r = 0;

	put(c, "mrtd", hex_json(t->td.mrtd, TDX_REGISTER_BYTES), &r);
	put(c, "rtmr0", hex_json(t->td.rtmr[0], TDX_REGISTER_BYTES), &r);
	put(c, "rtmr1", hex_json(t->td.rtmr[1], TDX_REGISTER_BYTES), &r);
	put(c, "rtmr2", hex_json(t->td.rtmr[2], TDX_REGISTER_BYTES), &r);
	put(c, "tcb", tcb_json(t), &r);
	put(c, "revocation_checked", json_boolean(t->is_revocation_checked), &r);
	put(c, "ak_quoted", json_boolean(t->is_ak_quoted), &r);
	if (r == 0)
		return c;
	json_decref(c);
	return NULL;
}

static json_t *snp_tcb_json(const struct snp_tcb *t)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i}", "bootloader", t->bootloader, "tee", t->tee,
			 "snp", t->snp, "microcode", t->microcode, "fmc", t->fmc);
}

static json_t *snp_json(const struct snp_claims *s)
{
	json_t *c = json_object();
	int r = 0;

	put(c, "measurement", hex_json(s->report.measurement, SNP_MEASUREMENT), &r);
	put(c, "measurement_known", json_boolean(s->is_measurement_known), &r);
	put(c, "product", json_string(s->product), &r);
	put(c, "signing_key", json_string(s->report.signing_key == SNP_KEY_VLEK ? "VLEK" : "VCEK"),
	    &r);
	put(c, "vmpl", json_integer(s->report.vmpl), &r);
	put(c, "tcb", snp_tcb_json(&s->tcb), &r);
	put(c, "tcb_judged", json_boolean(s->is_tcb_judged), &r);
	put(c, "revocation_checked", json_boolean(s->is_revocation_checked), &r);
	if (r == 0)
		return c;
	json_decref(c);
	return NULL;
}

json_t *claims_submods(const struct checked_evidence *ev)
{
	json_t *s = json_object();
	int r = 0;

	put(s, "container", claims_container(&ev->launch, &ev->signatures), &r);
	put(s, "confidential_space",
	    json_pack("{s:{s:b}}", "monitoring_enabled", "memory", ev->launch.is_memory_monitored),
	    &r);
	put(s, "teelaunch_image", image_json(ev->image), &r);
	put(s, "launch_record", record_json(ev->record), &r);
	if (ev->ak.has_instance)
		put(s, "gce", gce_json(&ev->ak.instance), &r);
	if (ev->tdx.is_checked)
		put(s, "tdx", tdx_json(&ev->tdx), &r);
	if (ev->snp.is_checked)
		put(s, "sev_snp", snp_json(&ev->snp), &r);
	if (r == 0)
		return s;
	json_decref(s);
	return NULL;
}

static json_t *subject_json(const struct ak_identity *ak)
{
	const struct gce_instance *g = &ak->instance;

	if (ak->has_instance)
		return json_sprintf("https://www.googleapis.com/compute/v1/projects/%s/zones/%s/"
				    "instances/%s",
				    g->project_id, g->zone, g->name);
	return json_sprintf("urn:teelaunch:ak:%s", ak->key_sha256);
}

/* One nonce is a string, several are a list: RFC 9711, 4.1. */
static json_t *nonce_json(const struct tl_strv *nonces)
{
	return nonces->n == 1 ? json_string(nonces->items[0]) : strings_json(nonces);
}

const char *claims_dbgstat(const struct checked_evidence *ev)
{
	return ev->boot.is_debug_disabled ? "disabled-since-boot" : "enabled";
}

const char *claims_hwmodel(const struct checked_evidence *ev)
{
	if (ev->snp.is_checked)
		return ev->ak.has_instance ? CLAIMS_HWMODEL_GCP_SNP : CLAIMS_HWMODEL_SNP;
	if (!ev->tdx.is_checked)
		return ev->ak.anchor;
	return ev->ak.has_instance ? CLAIMS_HWMODEL_GCP_TDX : CLAIMS_HWMODEL_TDX;
}

static void put_evidence(json_t *c, const struct claims_options *opt,
			 const struct checked_evidence *ev, int *r)
{
	const char *version = ev->image ? ev->image->version : opt->swversion;

	put(c, "eat_profile", json_string(CLAIMS_PROFILE), r);
	put(c, "secboot", json_boolean(ev->boot.is_secure_boot), r);
	if (ev->ak.has_instance)
		put(c, "oemid", json_integer(CLAIMS_OEMID_GOOGLE), r);
	put(c, "hwmodel", json_string(claims_hwmodel(ev)), r);
	put(c, "swname", json_string(opt->swname), r);
	put(c, "swversion", version ? json_pack("[s]", version) : json_array(), r);
	put(c, "dbgstat", json_string(claims_dbgstat(ev)), r);
	put(c, "google_service_accounts", strings_json(&ev->service_accounts), r);
}

static int put_form(json_t *c, const struct claims_options *opt, const struct token_options *token,
		    const struct checked_evidence *ev, struct tl_error *err)
{
	json_t *tags = NULL;
	int r = 0;

	if (token->claims == TOKEN_CLAIMS_ALL)
		put(c, "submods", claims_submods(ev), &r);
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for claims");
	if (token->claims != TOKEN_CLAIMS_AWS_TAGS)
		return 0;
	r = claims_aws_build(opt, &token->key_ids, ev, &tags, err);
	if (r < 0)
		return r;
	put(c, CLAIMS_AWS, tags, &r);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for claims") : 0;
}

int claims_build(const struct claims_options *opt, const struct token_options *token,
		 const struct checked_evidence *ev, int64_t now_s, int64_t end_s, json_t **ret,
		 struct tl_error *err)
{
	int64_t expires = now_s + (int64_t)opt->ttl_s;
	json_t *c = json_object();
	int r = 0;

	put(c, "iss", json_string(opt->issuer), &r);
	put(c, "sub", subject_json(&ev->ak), &r);
	if (!tl_str_is_empty(token->audience))
		put(c, "aud", json_string(token->audience), &r);
	put(c, "iat", json_integer(now_s), &r);
	put(c, "nbf", json_integer(now_s), &r);
	put(c, "exp", json_integer(expires < end_s ? expires : end_s), &r);
	if (token->nonces.n)
		put(c, "eat_nonce", nonce_json(&token->nonces), &r);
	put_evidence(c, opt, ev, &r);
	r = r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for claims")
		  : put_form(c, opt, token, ev, err);
	if (r == 0)
		*ret = c;
	else
		json_decref(c);
	return r;
}
