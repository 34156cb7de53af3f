/* SPDX-License-Identifier: Apache-2.0 */
#include "predict.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_ref.h>

#include "../attest/verifier/claims.h"
#include "../attest/verifier/launch_log.h"
#include "../launcher/launch_facts.h"
#include "../launcher/workload/oci_spec.h"
#include "explain.h"

#define HOSTNAME_VARIABLE "HOSTNAME="

/* --- events ------------------------------------------------------------------------------- */

/*
 * What a launch measures as the image's digest: of the reference, if it names one. 1: it is no
 * reference.
 */
static int image_name_find(const struct judge *j, struct launch_image_names *ret,
			   struct tl_error *err)
{
	auto_image_ref struct tl_image_ref ref = { 0 };
	int r = tl_image_ref_parse(j->spec.image_ref, &ref, err);

	if (r == -EINVAL)
		return 1; /* the verdict names it */
	if (r < 0)
		return r;
	*ret = (struct launch_image_names){ .digest = j->image_digest, .id = j->image_id };
	if (!ref.digest || strcmp(ref.digest, j->image_digest) == 0)
		return 0;
	/* The reference may name one platform's manifest of an index. */
	ret->digest = j->manifest_digest;
	if (strcmp(ref.digest, j->manifest_digest) == 0)
		return 0;
	return tl_fail(err, TL_E_USAGE, EINVAL,
		       "tee-image-reference names the digest %.80s, but --image is %.80s",
		       ref.digest, j->image_digest);
}

/* The launch's own HOSTNAME is the last of that name: the image may list others. */
static void hostname_event_find(struct measure *m)
{
	const size_t n = strlen(HOSTNAME_VARIABLE);

	m->open_event = SIZE_MAX;
	for (size_t i = 0; !m->hostname && i < m->events.n; i++) {
		const struct tl_event *e = &m->events.items[i];

		if (e->type == TL_EVENT_ENV && e->content_len >= n &&
		    memcmp(e->content, HOSTNAME_VARIABLE, n) == 0)
			m->open_event = i;
	}
}

/* What ends a launch when its process or its record is made. 1, or @r. */
static int launch_fault_add(struct judge *j, int r, const struct tl_error *err)
{
	const struct tl_finding_row row = { err->code, "container", TL_SOURCE_LABELS, false };

	if (err->code != TL_E_CONTAINER_ARGS && err->code != TL_E_CONTAINER_INPUT &&
	    err->code != TL_E_LAUNCH_RECORD)
		return r;
	if (j->verdict == JUDGE_ALLOW)
		j->verdict = JUDGE_DENY;
	r = tl_findings_add(&j->findings, &row, "", NULL, "%s", err->msg);
	return r < 0 ? r : 1;
}

int predict_events(struct measure *m, struct tl_error *err)
{
	auto_strv struct tl_strv args = { 0 };
	auto_strv struct tl_strv env = { 0 };
	struct judge *j = &m->judge;
	struct launch_image_names image;
	struct tl_launch_facts facts;
	int r;

	if (!j->has_spec || !j->has_image)
		return 1;
	r = image_name_find(j, &image, err);
	if (r)
		return r;
	r = oci_process(&j->image_config, &j->spec, m->hostname ? m->hostname : "", &args, &env,
			err);
	if (r < 0)
		return launch_fault_add(j, r, err);
	facts = launch_facts_of(&j->spec, &image, &args, &env);
	r = tl_launch_events_build(&facts, &m->events, err);
	if (r == 0)
		hostname_event_find(m);
	return r;
}

/* --- the document ------------------------------------------------------------------------- */

/* What a verifier would read out of the log; it refuses what it can't read. */
static int claims_read(const struct measure *m, struct launch_claims *ret,
		       struct refusals *refusals, struct tl_error *err)
{
	struct verify_request request = { 0 };
	int r;

	tl_buf_init(&request.launch_log, TL_CEL_MAX_BYTES);
	r = tl_cel_encode(&m->events, TL_CEL_TPM, &m->banks, &request.launch_log, err);
	if (r == 0)
		launch_log_check(&request, ret, refusals);
	tl_buf_done(&request.launch_log);
	return r;
}

static void hole_add(json_t *document, json_t *consume_text)
{
	json_array_append_new(json_object_get(document, "holes"), consume_text);
}

static int claims_add(const struct measure *m, json_t *document, struct tl_error *err)
{
	static const struct checked_signatures no_signatures = { 0 };
	auto_launch_claims struct launch_claims claims = { 0 };
	auto_free char *condition = NULL;
	struct refusals refusals = { 0 };
	json_t *container;
	int r = claims_read(m, &claims, &refusals, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < refusals_kept(&refusals); i++)
		hole_add(document, json_sprintf("no token: a verifier refuses it: %s",
						refusals.items[i].msg));
	if (refusals.n)
		return 0;
	container = claims_container(&claims, &no_signatures);
	if (m->open_event != SIZE_MAX)
		json_object_del(json_object_get(container, "env"), "HOSTNAME");
	if (predict_condition(container, m->judge.is_debug, &condition) < 0) {
		json_decref(container);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "document");
	}
	json_object_set_new(document, "claims",
			    json_pack("{s:{s:o}}", "submods", "container", container));
	json_object_set_new(document, "condition", json_string(condition));
	return 0;
}

int predict_document(struct measure *m, json_t *document, struct tl_error *err)
{
	struct judge *j = &m->judge;
	int r = m->events.n ? predict_record(m, document, err) : 0;

	if (r < 0)
		r = launch_fault_add(j, r, err);
	if (r < 0)
		return r;
	json_object_set_new(document, "verdict", json_string(judge_verdict_name(j->verdict)));
	json_object_set_new(document, "findings", explain_findings(&j->findings, false));
	if (m->events.n == 0) {
		hole_add(document, json_string("this launch ends before it measures anything"));
		return 0;
	}
	if (m->open_event != SIZE_MAX)
		hole_add(document,
			 json_string("HOSTNAME is only known in the VM; pass --hostname"));
	if (j->spec.signed_image_repos.n)
		hole_add(document, json_string("image_signatures: the repositories of "
					       "tee-signed-image-repos are asked at the launch"));
	return claims_add(m, document, err);
}

/* --- the condition ------------------------------------------------------------------------ */

/* A string literal of CEL (language definition, "String and Bytes Values"). */
static int literal_add(struct tl_buf *b, const char *text)
{
	int r = tl_buf_append_str(b, "'");

	for (const char *c = text; r == 0 && *c; c++) {
		if (*c == '\'' || *c == '\\')
			r = tl_buf_printf(b, "\\%c", *c);
		else if ((unsigned char)*c < 0x20 || *c == 0x7f)
			r = tl_buf_printf(b, "\\u%04x", (unsigned int)(unsigned char)*c);
		else
			r = tl_buf_append(b, c, 1);
	}
	return r < 0 ? r : tl_buf_append_str(b, "'");
}

static int list_add(struct tl_buf *b, const json_t *list)
{
	int r = tl_buf_append_str(b, "[");

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		if (i)
			r = tl_buf_append_str(b, ", ");
		if (r == 0)
			r = literal_add(b, json_string_value(json_array_get(list, i)));
	}
	return r < 0 ? r : tl_buf_append_str(b, "]");
}

static int map_add(struct tl_buf *b, json_t *map)
{
	const char *name, *comma = "";
	json_t *value;
	int r = tl_buf_append_str(b, "{");

	json_object_foreach(map, name, value)
	{
		if (r == 0)
			r = tl_buf_append_str(b, comma);
		if (r == 0)
			r = literal_add(b, name);
		if (r == 0)
			r = tl_buf_append_str(b, ": ");
		if (r == 0)
			r = literal_add(b, json_string_value(value));
		comma = ", ";
	}
	return r < 0 ? r : tl_buf_append_str(b, "}");
}

/* The image's own arguments and variables follow from its digest. */
static const char *const conditions[] = { "image_digest", "restart_policy", "cmd_override",
					  "env_override" };

static int condition_write(struct tl_buf *b, const json_t *container, bool is_debug)
{
	int r = tl_buf_printf(b,
			      "assertion.swname == '" CLAIMS_SWNAME_DEFAULT "'\n"
			      "&& assertion.dbgstat == '%s'",
			      is_debug ? "enabled" : "disabled-since-boot");

	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(conditions); i++) {
		json_t *value = json_object_get(container, conditions[i]);

		r = tl_buf_printf(b, "\n&& assertion.submods.container.%s == ", conditions[i]);
		if (r == 0 && json_is_array(value))
			r = list_add(b, value);
		else if (r == 0 && json_is_object(value))
			r = map_add(b, value);
		else if (r == 0)
			r = literal_add(b, json_string_value(value));
	}
	return r;
}

int predict_condition(const json_t *container, bool is_debug, char **ret)
{
	auto_buf struct tl_buf b = { 0 };
	char *text;

	tl_buf_init(&b, 8 * TL_CEL_MAX_BYTES); /* a byte of the log has six here at most */
	if (condition_write(&b, container, is_debug) < 0)
		return -ENOMEM;
	text = strdup(tl_buf_str(&b));
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

/* --- for people --------------------------------------------------------------------------- */

/* Google's limit for an attribute condition. */
#define CONDITION_BYTES_MAX 4096

void predict_print(const struct measure *m, const json_t *document)
{
	const char *condition = json_string_value(json_object_get(document, "condition"));
	const json_t *holes = json_object_get(document, "holes");

	for (size_t i = 0; i < json_array_size(holes); i++)
		printf("%s  %s\n", i ? "" : "\nnot known\n",
		       json_string_value(json_array_get(holes, i)));
	printf("\nverdict: %s (%s machine)\n", judge_verdict_name(m->judge.verdict),
	       m->judge.is_debug ? "debug" : "hardened");
	explain_print_findings(&m->judge.findings, false);
	if (!condition)
		return;
	printf("\ncondition for a workload identity provider, on the claims of a token\n%s\n",
	       condition);
	if (strlen(condition) > CONDITION_BYTES_MAX)
		printf("(longer than the %d bytes that an attribute condition may have)\n",
		       CONDITION_BYTES_MAX);
}
