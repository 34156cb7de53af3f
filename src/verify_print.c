/* SPDX-License-Identifier: Apache-2.0 */
/* The document teelaunch.verify/1, and the same for people. */
#include "verify.h"

#include <errno.h>
#include <stdio.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>

#define SCHEMA "teelaunch.verify/1"

static const char *verdict_name(const struct verify *v)
{
	return v->refusals.n ? "refused" : "good";
}

/* A message may quote what came from outside. */
static json_t *message_json(const char *text)
{
	char shown[2 * TL_ERROR_MSG_MAX];

	tl_str_escape(text, shown, sizeof(shown));
	return json_string(shown);
}

static json_t *reasons_json(const struct refusals *refusals)
{
	json_t *list = json_array();

	for (size_t i = 0; i < refusals_kept(refusals); i++)
		json_array_append_new(list,
				      json_pack("{ss so}", "code",
						tl_catalogue_find(refusals->items[i].code)->id,
						"message", message_json(refusals->items[i].msg)));
	return list;
}

int verify_print_json(const struct verify *v)
{
	json_auto_t *o =
		json_pack("{ss ss ss so s[]}", "schema", SCHEMA, "subject",
			  v->evidence_path ? "evidence" : "token", "verdict", verdict_name(v),
			  "reasons", reasons_json(&v->refusals), "unchecked");
	json_t *unchecked = json_object_get(o, "unchecked");

	if (v->refusals.n > REFUSALS_MAX)
		json_object_set_new(o, "dropped",
				    json_integer((json_int_t)(v->refusals.n - REFUSALS_MAX)));
	for (size_t i = 0; verify_unchecked(v, i); i++)
		json_array_append_new(unchecked, json_string(verify_unchecked(v, i)));
	/* Another name for what nobody vouches for, so that no script takes it for claims. */
	if (v->claims)
		json_object_set(o, v->refusals.n ? "refused_claims" : "claims", v->claims);
	if (!o || json_dumpf(o, stdout, JSON_INDENT(1)) < 0)
		return -ENOMEM;
	putchar('\n');
	return fflush(stdout) == 0 ? 0 : -EIO;
}

int verify_print_text(const struct verify *v)
{
	printf("verdict: %s (%s)\n", verdict_name(v), v->evidence_path ? "evidence" : "token");
	for (size_t i = 0; i < refusals_kept(&v->refusals); i++) {
		const struct tl_error *x = &v->refusals.items[i];
		char shown[2 * TL_ERROR_MSG_MAX];

		tl_str_escape(x->msg, shown, sizeof(shown));
		printf("%s  %s %s\n         -> %s\n", i ? "" : "\nreasons\n",
		       tl_catalogue_find(x->code)->id, shown, tl_catalogue_find(x->code)->action);
	}
	if (v->refusals.n > REFUSALS_MAX)
		printf("  and %zu more\n", v->refusals.n - REFUSALS_MAX);
	for (size_t i = 0; verify_unchecked(v, i); i++)
		printf("%s  %s\n", i ? "" : "\nnot checked\n", verify_unchecked(v, i));
	if (v->claims) {
		puts(v->refusals.n ? "\nit claims, but nobody vouches for it:" : "\nclaims");
		/* ASCII alone: nothing that a terminal obeys. */
		if (json_dumpf(v->claims, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII) < 0)
			return -ENOMEM;
		putchar('\n');
	}
	return fflush(stdout) == 0 ? 0 : -EIO;
}
