/* SPDX-License-Identifier: Apache-2.0 */
#include "claims_aws.h"

#include <errno.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

/* A tag that has nothing to say is left out: AWS takes no empty lists. */
static int tag_put(json_t *tags, const char *name, const char *value)
{
	if (tl_str_is_empty(value))
		return 0;
	return json_object_set_new(tags, name, json_pack("[s]", value)) < 0 ? -ENOMEM : 0;
}

static bool is_wanted(const struct tl_strv *key_ids, const char *id)
{
	for (size_t i = 0; i < key_ids->n; i++)
		if (strcmp(key_ids->items[i], id) == 0)
			return true;
	return false;
}

/* Good signatures are sorted by key already; one key may have signed more than once. */
static int key_ids_put(json_t *tags, const struct tl_strv *key_ids,
		       const struct checked_signatures *signatures, struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = TOKEN_TAG_MAX };
	const char *last = "";
	int r = 0;

	for (size_t i = 0; r == 0 && i < signatures->n; i++) {
		const char *id = signatures->items[i].key_id;

		if (strcmp(id, last) == 0 || !is_wanted(key_ids, id))
			continue;
		r = tl_buf_printf(&text, "%s%s", *last ? "=" : "", id);
		last = id;
	}
	if (r == -ENOBUFS)
		return tl_fail(err, TL_E_VERIFY_TOKEN_OPTIONS, EINVAL,
			       "'containerImageSignatures.keyIds' names more good signatures than "
			       "fit the %d characters of a principal tag",
			       TOKEN_TAG_MAX);
	if (r == 0)
		r = tag_put(tags, "container.signatures.key_ids",
			    text.len_bytes ? tl_buf_str(&text) : NULL);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for tags") : 0;
}

int claims_aws_build(const struct claims_options *opt, const struct tl_strv *key_ids,
		     const struct checked_evidence *ev, json_t **ret, struct tl_error *err)
{
	const struct gce_instance *gce = ev->ak.has_instance ? &ev->ak.instance : NULL;
	const struct {
		const char *name;
		const char *value;
	} rows[] = {
		{ "hwmodel", claims_hwmodel(ev) },
		{ "swname", opt->swname },
		{ "swversion", ev->image ? ev->image->version : opt->swversion },
		{ "dbgstat", claims_dbgstat(ev) },
		{ "gce.project_id", gce ? gce->project_id : NULL },
		{ "gce.zone", gce ? gce->zone : NULL },
		{ "teelaunch_image.root_hash", ev->image ? ev->image->roothash : NULL },
		{ "container.image_digest", key_ids->n ? NULL : ev->launch.image_digest },
	};
	json_t *tags = json_object(), *claim = NULL;
	int r = tags ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(rows); i++)
		r = tag_put(tags, rows[i].name, rows[i].value);
	if (r < 0)
		(void)tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for tags");
	if (r == 0 && key_ids->n)
		r = key_ids_put(tags, key_ids, &ev->signatures, err);
	if (r == 0) {
		claim = json_pack("{s:O}", "principal_tags", tags);
		r = claim ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for tags");
	}
	json_decref(tags);
	if (r == 0)
		*ret = claim;
	return r;
}
