/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/image_signature.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/json_scan.h>

#define TYPE          "cosign container image signature"
#define KEY_NAME      "dev.sigstore.cosign/pub"
#define KEY_MAX_BYTES 4096
#define ALG_NAME      "dev.sigstore.cosign/sigalg"
#define ALG_MAX_BYTES 64

static bool blob_equal(const struct tl_blob *a, const struct tl_blob *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->bytes, b->bytes, a->n) == 0);
}

int tl_image_signatures_add(struct tl_image_signatures *v, const struct tl_blob *payload,
			    const struct tl_blob *signature)
{
	struct tl_image_signature item = { 0 };
	struct tl_image_signature *items;

	for (size_t i = 0; i < v->n; i++)
		if (blob_equal(&v->items[i].payload, payload) &&
		    blob_equal(&v->items[i].signature, signature))
			return 1;
	if (v->n == TL_SIGNATURES_MAX || payload->n > TL_SIGNATURE_PAYLOAD_MAX_BYTES ||
	    signature->n > TL_SIGNATURE_MAX_BYTES ||
	    payload->n + signature->n > TL_SIGNATURES_MAX_BYTES - v->bytes)
		return -ENOBUFS;
	items = reallocarray(v->items, v->n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	v->items = items;
	if (tl_blob_set(&item.payload, payload->bytes, payload->n) < 0 ||
	    tl_blob_set(&item.signature, signature->bytes, signature->n) < 0) {
		tl_blob_done(&item.payload);
		return -ENOMEM;
	}
	v->items[v->n++] = item;
	v->bytes += payload->n + signature->n;
	return 0;
}

int tl_image_signatures_copy(const struct tl_image_signatures *from,
			     struct tl_image_signatures *ret)
{
	auto_image_signatures struct tl_image_signatures copy = { 0 };

	for (size_t i = 0; i < from->n; i++)
		if (tl_image_signatures_add(&copy, &from->items[i].payload,
					    &from->items[i].signature) < 0)
			return -ENOMEM;
	*ret = copy;
	copy = (struct tl_image_signatures){ 0 };
	return 0;
}

void tl_image_signatures_done(struct tl_image_signatures *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++) {
		tl_blob_done(&v->items[i].payload);
		tl_blob_done(&v->items[i].signature);
	}
	free(v->items);
	*v = (struct tl_image_signatures){ 0 };
}

/* --- the payload --------------------------------------------------------------------------- */

void tl_signature_payload_done(struct tl_signature_payload *p)
{
	if (!p)
		return;
	free(p->digest);
	free(p->key);
	free(p->algorithm);
	*p = (struct tl_signature_payload){ 0 };
}

static int bad(struct tl_error *err, const char *why)
{
	return tl_fail(err, TL_E_IMAGE_SIGNATURE, EINVAL, "its payload %s", why);
}

/* Absent is fine; another type than a string, or too long a one, is not. */
static int optional_read(const json_t *optional, const char *name, size_t max, char **ret,
			 struct tl_error *err)
{
	const json_t *value = json_object_get(optional, name);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || json_string_length(value) > max)
		return tl_fail(err, TL_E_IMAGE_SIGNATURE, EINVAL,
			       "its payload's '%s' is not a string of at most %zu bytes", name,
			       max);
	*ret = strdup(json_string_value(value));
	return *ret ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signature");
}

static int payload_read(const json_t *doc, struct tl_signature_payload *p, struct tl_error *err)
{
	const json_t *critical = json_object_get(doc, "critical");
	const json_t *optional = json_object_get(doc, "optional");
	const char *type = json_string_value(json_object_get(critical, "type"));
	const char *digest = json_string_value(
		json_object_get(json_object_get(critical, "image"), "docker-manifest-digest"));
	int r;

	if (!type || strcmp(type, TYPE) != 0)
		return bad(err, "is not of the type '" TYPE "'");
	if (!digest || !tl_digest_text_is_valid(digest))
		return bad(err, "has no 'docker-manifest-digest'");
	if (optional && !json_is_object(optional) && !json_is_null(optional))
		return bad(err, "has an 'optional' that is no object");
	p->digest = strdup(digest);
	if (!p->digest)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signature");
	r = optional_read(optional, KEY_NAME, KEY_MAX_BYTES, &p->key, err);
	return r < 0 ? r : optional_read(optional, ALG_NAME, ALG_MAX_BYTES, &p->algorithm, err);
}

int tl_signature_payload_read(const void *bytes, size_t n, struct tl_signature_payload *ret,
			      struct tl_error *err)
{
	auto_signature_payload struct tl_signature_payload p = { 0 };
	json_auto_t *doc = NULL;
	int r;

	if (n > TL_SIGNATURE_PAYLOAD_MAX_BYTES)
		return bad(err, "is too large");
	if (!n || tl_json_scan(bytes, n, NULL))
		return bad(err, "is not JSON");
	doc = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(doc))
		return bad(err, "is not a JSON object");
	r = payload_read(doc, &p, err);
	if (r < 0)
		return r;
	*ret = p;
	p = (struct tl_signature_payload){ 0 };
	return 0;
}
