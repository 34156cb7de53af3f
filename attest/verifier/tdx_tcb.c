/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_tcb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/str.h>

#define MEMBER_NAME_MAX 32

static const char *const status_names[TDX_TCB_STATUSES] = {
	[TDX_TCB_UP_TO_DATE] = "UpToDate",
	[TDX_TCB_SW_HARDENING] = "SWHardeningNeeded",
	[TDX_TCB_CONFIGURATION] = "ConfigurationNeeded",
	[TDX_TCB_CONFIGURATION_AND_SW_HARDENING] = "ConfigurationAndSWHardeningNeeded",
	[TDX_TCB_OUT_OF_DATE] = "OutOfDate",
	[TDX_TCB_OUT_OF_DATE_CONFIGURATION] = "OutOfDateConfigurationNeeded",
	[TDX_TCB_REVOKED] = "Revoked",
};

const char *tdx_tcb_status_name(enum tdx_tcb_status status)
{
	return status_names[status];
}

enum tdx_tcb_status tdx_tcb_status_find(const char *name)
{
	enum tdx_tcb_status s = TDX_TCB_UP_TO_DATE;

	while (s < TDX_TCB_STATUSES && (!name || strcmp(status_names[s], name) != 0))
		s++;
	return s;
}

static int bad(struct tl_error *err, const char *name, const char *what)
{
	return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "'%s' %s", name, what);
}

/* The signed bytes, found without a parser: it couldn't give them back as they were. */

/* Behind the object that starts at @at; 0 if it doesn't end. */
static size_t object_end(const char *text, size_t n, size_t at)
{
	bool is_string = false;
	size_t depth = 0;

	for (size_t i = at; i < n; i++) {
		char c = text[i];

		if (is_string && c == '\\')
			i++;
		else if (c == '"')
			is_string = !is_string;
		else if (!is_string && c == '{')
			depth++;
		else if (!is_string && c == '}' && --depth == 0)
			return i + 1;
	}
	return 0;
}

struct text_reader {
	const char *text;
	size_t n;
	size_t at;
};

static void space_skip(struct text_reader *r)
{
	while (r->at < r->n && memchr(" \t\r\n", r->text[r->at], 4))
		r->at++;
}

/* A token, with white space (RFC 8259, 2) around it. */
static bool token_take(struct text_reader *r, const char *token)
{
	size_t n = strlen(token);

	space_skip(r);
	if (n > r->n - r->at || memcmp(r->text + r->at, token, n) != 0)
		return false;
	r->at += n;
	space_skip(r);
	return true;
}

static bool member_take(struct text_reader *r, const char *name)
{
	char quoted[MEMBER_NAME_MAX];

	(void)snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	return token_take(r, quoted) && token_take(r, ":");
}

int tdx_signed_json_read(const char *text, size_t n, const char *name, struct tdx_signed_json *ret,
			 struct tl_error *err)
{
	struct text_reader r = { text, n, 0 };
	char hex[2 * TDX_SIGNATURE + 1] = "";
	struct tdx_signed_json s = { 0 };

	if (n > TDX_COLLATERAL_MAX)
		return bad(err, name, "is too large");
	if (!token_take(&r, "{") || !member_take(&r, name) || r.at == n || text[r.at] != '{')
		return bad(err, name, "isn't the first member of the file");
	s.text = text + r.at;
	s.n = object_end(text, n, r.at);
	if (!s.n)
		return bad(err, name, "doesn't end");
	s.n -= r.at;
	r.at += s.n;
	if (!token_take(&r, ",") || !member_take(&r, "signature") || !token_take(&r, "\"") ||
	    n - r.at < 2 * TDX_SIGNATURE)
		return bad(err, "signature", "isn't the second member of the file");
	memcpy(hex, text + r.at, 2 * TDX_SIGNATURE);
	r.at += 2 * TDX_SIGNATURE;
	if (tl_hex_decode(hex, s.signature, TDX_SIGNATURE) < 0 || !token_take(&r, "\"") ||
	    !token_take(&r, "}") || r.at != n)
		return bad(err, "signature", "isn't 128 hex digits, at the end of the file");
	*ret = s;
	return 0;
}

/* Members. */

static int hex_read(const json_t *object, const char *name, uint8_t *ret, size_t n,
		    struct tl_error *err)
{
	const char *hex = json_string_value(json_object_get(object, name));

	if (!hex || strlen(hex) != 2 * n || tl_hex_decode(hex, ret, n) < 0)
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
			       "'%s' must be %zu hex digits", name, 2 * n);
	return 0;
}

static int number_read(const json_t *object, const char *name, json_int_t max, uint16_t *ret,
		       struct tl_error *err)
{
	const json_t *v = json_object_get(object, name);

	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
			       "'%s' must be a number from 0 to %d", name, (int)max);
	*ret = (uint16_t)json_integer_value(v);
	return 0;
}

static int text_expect(const json_t *object, const char *name, const char *due,
		       struct tl_error *err)
{
	const char *s = json_string_value(json_object_get(object, name));

	if (s && strcmp(s, due) == 0)
		return 0;
	return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "'%s' must be \"%s\"", name, due);
}

static int version_expect(const json_t *object, json_int_t due, struct tl_error *err)
{
	const json_t *v = json_object_get(object, "version");

	if (json_is_integer(v) && json_integer_value(v) == due)
		return 0;
	return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "'version' must be %d", (int)due);
}

static int time_read(const json_t *object, const char *name, int64_t *ret, struct tl_error *err)
{
	const char *s = json_string_value(json_object_get(object, name));
	struct tm tm = { 0 };
	const char *end = s ? strptime(s, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;

	if (!end || *end)
		return bad(err, name, "must be a time in UTC, as 2026-01-31T00:00:00Z");
	*ret = timegm(&tm);
	return 0;
}

static int times_read(const json_t *object, int64_t *ret_issued, int64_t *ret_next,
		      struct tl_error *err)
{
	int r = time_read(object, "issueDate", ret_issued, err);

	return r < 0 ? r : time_read(object, "nextUpdate", ret_next, err);
}

/* Levels. */

static int components_read(const json_t *tcb, const char *name, uint8_t ret[TDX_SVN_BYTES],
			   struct tl_error *err)
{
	const json_t *list = json_object_get(tcb, name);

	if (!json_is_array(list) || json_array_size(list) != TDX_SVN_BYTES)
		return bad(err, name, "must be a list of 16");
	for (size_t i = 0; i < TDX_SVN_BYTES; i++) {
		uint16_t svn = 0;
		int r = number_read(json_array_get(list, i), "svn", UINT8_MAX, &svn, err);

		if (r < 0)
			return tl_wrap(err, r, "%s[%zu]", name, i);
		ret[i] = (uint8_t)svn;
	}
	return 0;
}

static int platform_tcb_read(const json_t *tcb, struct tdx_tcb_level *ret, struct tl_error *err)
{
	int r = components_read(tcb, "sgxtcbcomponents", ret->sgx, err);

	if (r == 0)
		r = components_read(tcb, "tdxtcbcomponents", ret->tdx, err);
	return r < 0 ? r : number_read(tcb, "pcesvn", UINT16_MAX, &ret->pce_svn, err);
}

static int isv_tcb_read(const json_t *tcb, struct tdx_tcb_level *ret, struct tl_error *err)
{
	return number_read(tcb, "isvsvn", UINT16_MAX, &ret->isv_svn, err);
}

typedef int (*tcb_reader)(const json_t *tcb, struct tdx_tcb_level *ret, struct tl_error *err);

static int level_read(const json_t *item, tcb_reader read, struct tdx_tcb_level *ret,
		      struct tl_error *err)
{
	const char *date = json_string_value(json_object_get(item, "tcbDate"));
	int64_t ignored;
	int r = read(json_object_get(item, "tcb"), ret, err);

	if (r == 0)
		r = time_read(item, "tcbDate", &ignored, err);
	if (r < 0)
		return r;
	if (strlen(date) >= sizeof(ret->date))
		return bad(err, "tcbDate", "is too long");
	memcpy(ret->date, date, strlen(date) + 1);
	ret->status = tdx_tcb_status_find(json_string_value(json_object_get(item, "tcbStatus")));
	return ret->status < TDX_TCB_STATUSES ? 0 : bad(err, "tcbStatus", "is none that is known");
}

static int levels_read(const json_t *object, tcb_reader read, struct tdx_tcb_levels *ret,
		       struct tl_error *err)
{
	const json_t *list = json_object_get(object, "tcbLevels");
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n == 0 || n > TDX_TCB_LEVELS_MAX)
		return bad(err, "tcbLevels", "must be a list of 1 to 256");
	ret->items = calloc(n, sizeof(*ret->items));
	if (!ret->items)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for TCB levels");
	ret->n = n;
	for (size_t i = 0; i < n; i++) {
		int r = level_read(json_array_get(list, i), read, &ret->items[i], err);

		if (r < 0)
			return tl_wrap(err, r, "tcbLevels[%zu]", i);
	}
	return 0;
}

/* Modules. */

static int module_read(const json_t *object, struct tdx_module *ret, struct tl_error *err)
{
	int r = hex_read(object, "mrsigner", ret->mr_signer, sizeof(ret->mr_signer), err);

	if (r == 0)
		r = hex_read(object, "attributes", ret->attributes, sizeof(ret->attributes), err);
	if (r == 0)
		r = hex_read(object, "attributesMask", ret->attributes_mask,
			     sizeof(ret->attributes_mask), err);
	return r;
}

/* "TDX_01": TEE_TCB_SVN[1] in two hex digits. */
static int module_identity_read(const json_t *object, struct tdx_module *ret, struct tl_error *err)
{
	const char *id = json_string_value(json_object_get(object, "id"));
	uint8_t version = 0;

	if (!id || strlen(id) != 6 || !tl_str_starts_with(id, "TDX_") ||
	    tl_hex_decode(id + 4, &version, 1) < 0 || version == 0)
		return bad(err, "id", "must be TDX_01 to TDX_FF");
	ret->version = version;
	return levels_read(object, isv_tcb_read, &ret->levels, err);
}

static int modules_read(const json_t *root, struct tdx_tcb_info *info, struct tl_error *err)
{
	const json_t *list = json_object_get(root, "tdxModuleIdentities");
	int r = tl_wrap(err, module_read(json_object_get(root, "tdxModule"), info->modules, err),
			"tdxModule");

	if (r < 0)
		return r;
	info->modules_n = 1;
	if (list && (!json_is_array(list) || json_array_size(list) >= TDX_MODULES_MAX))
		return bad(err, "tdxModuleIdentities", "must be a list of at most 15");
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct tdx_module *m = &info->modules[info->modules_n++];

		r = module_read(json_array_get(list, i), m, err);
		if (r == 0)
			r = module_identity_read(json_array_get(list, i), m, err);
		if (r < 0)
			return tl_wrap(err, r, "tdxModuleIdentities[%zu]", i);
	}
	return 0;
}

static int tcb_info_read(const json_t *root, struct tdx_tcb_info *info, struct tl_error *err)
{
	int r = text_expect(root, "id", "TDX", err);

	if (r == 0)
		r = version_expect(root, 3, err);
	if (r == 0)
		r = times_read(root, &info->issued_s, &info->next_s, err);
	if (r == 0)
		r = hex_read(root, "fmspc", info->fmspc, sizeof(info->fmspc), err);
	if (r == 0)
		r = hex_read(root, "pceId", info->pce_id, sizeof(info->pce_id), err);
	if (r == 0)
		r = modules_read(root, info, err);
	return r < 0 ? r : levels_read(root, platform_tcb_read, &info->levels, err);
}

static int u32_read(const json_t *object, const char *name, uint32_t *ret, struct tl_error *err)
{
	uint8_t b[4] = { 0 };
	int r = hex_read(object, name, b, sizeof(b), err);

	/* As the bytes lie in a report. */
	*ret = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
	return r;
}

static int qe_identity_read(const json_t *root, struct tdx_qe_identity *q, struct tl_error *err)
{
	int r = text_expect(root, "id", "TD_QE", err);

	if (r == 0)
		r = version_expect(root, 2, err);
	if (r == 0)
		r = times_read(root, &q->issued_s, &q->next_s, err);
	if (r == 0)
		r = u32_read(root, "miscselect", &q->miscselect, err);
	if (r == 0)
		r = u32_read(root, "miscselectMask", &q->miscselect_mask, err);
	if (r == 0)
		r = hex_read(root, "attributes", q->attributes, sizeof(q->attributes), err);
	if (r == 0)
		r = hex_read(root, "attributesMask", q->attributes_mask, sizeof(q->attributes_mask),
			     err);
	if (r == 0)
		r = hex_read(root, "mrsigner", q->mr_signer, sizeof(q->mr_signer), err);
	if (r == 0)
		r = number_read(root, "isvprodid", UINT16_MAX, &q->isv_prod_id, err);
	return r < 0 ? r : levels_read(root, isv_tcb_read, &q->levels, err);
}

static int document_load(const char *text, size_t n, json_t **ret, struct tl_error *err)
{
	const char *too_much = tl_json_scan(text, n, NULL);
	json_error_t where = { 0 };

	if (n > TDX_COLLATERAL_MAX)
		too_much = "too large";
	if (too_much)
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "the document is %s",
			       too_much);
	*ret = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
	if (json_is_object(*ret))
		return 0;
	return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "no JSON object: %s (byte %d)",
		       where.text, where.position);
}

int tdx_tcb_info_parse(const char *text, size_t n, struct tdx_tcb_info *ret, struct tl_error *err)
{
	auto_tdx_tcb_info struct tdx_tcb_info info = { 0 };
	json_auto_t *root = NULL;
	int r = document_load(text, n, &root, err);

	if (r == 0)
		r = tcb_info_read(root, &info, err);
	if (r < 0)
		return r;
	*ret = info;
	info = (struct tdx_tcb_info){ 0 };
	return 0;
}

int tdx_qe_identity_parse(const char *text, size_t n, struct tdx_qe_identity *ret,
			  struct tl_error *err)
{
	auto_tdx_qe_identity struct tdx_qe_identity q = { 0 };
	json_auto_t *root = NULL;
	int r = document_load(text, n, &root, err);

	if (r == 0)
		r = qe_identity_read(root, &q, err);
	if (r < 0)
		return r;
	*ret = q;
	q = (struct tdx_qe_identity){ 0 };
	return 0;
}

void tdx_tcb_info_done(struct tdx_tcb_info *i)
{
	for (size_t k = 0; k < TDX_MODULES_MAX; k++)
		free(i->modules[k].levels.items);
	free(i->levels.items);
	*i = (struct tdx_tcb_info){ 0 };
}

void tdx_qe_identity_done(struct tdx_qe_identity *i)
{
	free(i->levels.items);
	*i = (struct tdx_qe_identity){ 0 };
}

/* Which level is reached. */

static bool reaches(const uint8_t *svn, const uint8_t *due, size_t from)
{
	for (size_t i = from; i < TDX_SVN_BYTES; i++)
		if (svn[i] < due[i])
			return false;
	return true;
}

const struct tdx_tcb_level *tdx_platform_level(const struct tdx_tcb_info *info,
					       const struct tdx_pck *pck,
					       const struct tdx_report *td)
{
	/* A module with a version has its own levels; its two SVNs are judged there. */
	size_t from = td->tee_tcb_svn[1] ? 2 : 0;

	for (size_t i = 0; i < info->levels.n; i++) {
		const struct tdx_tcb_level *l = &info->levels.items[i];

		if (reaches(pck->svn, l->sgx, 0) && pck->pce_svn >= l->pce_svn &&
		    reaches(td->tee_tcb_svn, l->tdx, from))
			return l;
	}
	return NULL;
}

const struct tdx_tcb_level *tdx_isv_level(const struct tdx_tcb_levels *levels, unsigned int svn)
{
	for (size_t i = 0; i < levels->n; i++)
		if (svn >= levels->items[i].isv_svn)
			return &levels->items[i];
	return NULL;
}

const struct tdx_module *tdx_module_find(const struct tdx_tcb_info *info,
					 const struct tdx_report *td)
{
	for (size_t i = 0; i < info->modules_n; i++)
		if (info->modules[i].version == td->tee_tcb_svn[1])
			return &info->modules[i];
	return NULL;
}
