/* SPDX-License-Identifier: Apache-2.0 */
#include "api_error.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#define MESSAGE_MAX ((size_t)REFUSALS_MAX * (TL_ERROR_MSG_MAX + 16))

struct status_row {
	enum tl_code code;
	int http;
	const char *status; /* google.rpc.Code */
};

/* The first row that fits; evidence that was refused is the last one. */
static const struct status_row statuses[] = {
	{ TL_E_VERIFY_REQUEST, 400, "INVALID_ARGUMENT" },
	{ TL_E_VERIFY_UNSUPPORTED, 400, "INVALID_ARGUMENT" },
	{ TL_E_VERIFY_TOKEN_OPTIONS, 400, "INVALID_ARGUMENT" },
	{ TL_E_VERIFY_TOO_LARGE, 413, "INVALID_ARGUMENT" },
	{ TL_E_VERIFY_ROUTE, 404, "NOT_FOUND" },
	{ TL_E_VERIFY_CALLER, 401, "UNAUTHENTICATED" },
	/* What helps is a new challenge: google.rpc.Code says ABORTED to those who should begin
	 * anew. A verifier that was started again knows none of those before, if its key is its
	 * own.
	 */
	{ TL_E_VERIFY_CHALLENGE_FORGED, 409, "ABORTED" },
	{ TL_E_VERIFY_CHALLENGE_EXPIRED, 409, "ABORTED" },
	{ TL_E_VERIFY_CHALLENGE_USED, 409, "ABORTED" },
	{ TL_E_VERIFY_SERVER, 503, "UNAVAILABLE" },
	{ TL_E_NO_MEMORY, 503, "UNAVAILABLE" },
	{ TL_E_INTERNAL, 500, "INTERNAL" },
	{ TL_OK, 403, "PERMISSION_DENIED" },
};

static const struct status_row *status_find(enum tl_code code)
{
	const struct status_row *row = statuses;

	while (row->code != TL_OK && row->code != code)
		row++;
	return row;
}

static json_t *detail_json(const struct refusals *r, size_t i, bool is_explained)
{
	const struct tl_error *err = &r->items[i];
	json_t *metadata = json_pack("{s:s}", "message", err->msg);

	if (is_explained) {
		const struct refusal_values *v = &r->values[i];

		(void)json_object_set_new(metadata, "check",
					  json_string(check_name((enum tl_code)err->code)));
		if (*v->expected || *v->found) {
			(void)json_object_set_new(metadata, "expected", json_string(v->expected));
			(void)json_object_set_new(metadata, "found", json_string(v->found));
		}
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "@type",
			 "type.googleapis.com/google.rpc.ErrorInfo", "reason",
			 tl_catalogue_find(err->code)->id, "domain", "teelaunch", "metadata",
			 metadata);
}

/* protobuf's Any of a well-known type: its JSON stands in "value". */
static json_t *checks_detail(const struct refusals *r, const struct checks_made *explain)
{
	return json_pack("{s:s, s:{s:o}}", "@type", "type.googleapis.com/google.protobuf.Struct",
			 "value", "checks", checks_json(r, explain));
}

static int message_build(const struct refusals *r, struct tl_buf *ret)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < refusals_kept(r); i++)
		rc = tl_buf_printf(ret, "%s%s: %s", i ? "; " : "",
				   tl_catalogue_find(r->items[i].code)->id, r->items[i].msg);
	if (rc == 0 && r->n > REFUSALS_MAX)
		rc = tl_buf_printf(ret, "; and %zu more", r->n - REFUSALS_MAX);
	return rc;
}

void api_refuse(const struct refusals *r, const struct checks_made *explain, struct api_reply *ret)
{
	const struct status_row *row = status_find(r->items[0].code);
	auto_buf struct tl_buf message = { .max_bytes = MESSAGE_MAX };
	json_t *details = json_array(), *error;

	ret->status = row->http;
	ret->cache = "no-store";
	for (size_t i = 0; i < refusals_kept(r); i++)
		(void)json_array_append_new(details, detail_json(r, i, explain));
	if (explain)
		(void)json_array_append_new(details, checks_detail(r, explain));
	(void)message_build(r, &message);
	error = json_pack("{s:{s:i, s:s, s:s, s:o}}", "error", "code", row->http, "message",
			  tl_buf_str(&message), "status", row->status, "details", details);
	ret->body = error ? json_dumps(error, JSON_COMPACT) : NULL;
	ret->body_n = ret->body ? strlen(ret->body) : 0;
	json_decref(error);
}

void api_fail(const struct tl_error *err, struct api_reply *ret)
{
	struct refusals r = { 0 };

	refuse_error(&r, err);
	api_refuse(&r, NULL, ret);
}

void api_reply_done(struct api_reply *r)
{
	if (r->body)
		OPENSSL_cleanse(r->body, r->body_n);
	free(r->body);
	*r = (struct api_reply){ 0 };
}
