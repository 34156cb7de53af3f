/* SPDX-License-Identifier: Apache-2.0 */
#include "ak_chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>

#include "cert_path.h"
#include "gce_instance.h"

struct anchor {
	char name[AK_TEXT_MAX];
	X509_STORE *store;
};

struct ak_anchors {
	struct anchor items[AK_ANCHORS_MAX];
	size_t n;
	STACK_OF(X509) * intermediates;
};

void ak_identity_done(struct ak_identity *id)
{
	EVP_PKEY_free(id->key);
	*id = (struct ak_identity){ 0 };
}

struct ak_anchors *ak_anchors_new(void)
{
	struct ak_anchors *a = calloc(1, sizeof(*a));

	if (a)
		a->intermediates = sk_X509_new_null();
	return a && a->intermediates ? a : ak_anchors_free(a);
}

struct ak_anchors *ak_anchors_free(struct ak_anchors *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->n; i++)
		X509_STORE_free(a->items[i].store);
	sk_X509_pop_free(a->intermediates, X509_free);
	free(a);
	return NULL;
}

size_t ak_anchors_count(const struct ak_anchors *a)
{
	return a->n;
}

/* The set of that name, made if it isn't there; NULL when there is no room. */
static struct anchor *anchor_get(struct ak_anchors *a, const char *name)
{
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i].name, name) == 0)
			return &a->items[i];
	if (a->n == AK_ANCHORS_MAX)
		return NULL;
	a->items[a->n].store = X509_STORE_new();
	if (!a->items[a->n].store)
		return NULL;
	(void)snprintf(a->items[a->n].name, AK_TEXT_MAX, "%s", name);
	return &a->items[a->n++];
}

static bool name_is_plain(const char *name)
{
	size_t n =
		strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n && !name[n] && n < AK_TEXT_MAX;
}

int ak_anchors_add(struct ak_anchors *a, const char *name, const char *pem, size_t n,
		   struct tl_error *err)
{
	auto_x509_stack STACK_OF(X509) *certs = sk_X509_new_null();
	struct anchor *anchor;
	int r;

	if (!certs)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	if (!name_is_plain(name))
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "'%s' can't name a root set; use letters, digits, '.', '_' and '-'",
			       name);
	r = cert_pem_read(pem, n, certs, err);
	if (r < 0)
		return r;
	anchor = anchor_get(a, name);
	if (!anchor)
		return tl_fail(err, TL_E_VERIFY_KEYS, ENOMEM, "more than %d root sets",
			       AK_ANCHORS_MAX);
	for (int i = 0; i < sk_X509_num(certs); i++)
		if (X509_STORE_add_cert(anchor->store, sk_X509_value(certs, i)) != 1)
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
				       "certificate %d of root set '%s' can't be used", i, name);
	return 0;
}

int ak_anchors_add_intermediates(struct ak_anchors *a, const char *pem, size_t n,
				 struct tl_error *err)
{
	return cert_pem_read(pem, n, a->intermediates, err);
}

static bool key_is_accepted(EVP_PKEY *key)
{
	char group[32] = "";

	if (!key)
		return false;
	if (EVP_PKEY_is_a(key, "RSA"))
		return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 4096;
	if (!EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
		return false;
	return strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0;
}

static int leaf_check(X509 *leaf, struct tl_error *err)
{
	if (!key_is_accepted(X509_get0_pubkey(leaf)))
		return tl_fail(err, TL_E_VERIFY_AK_CERT, EACCES,
			       "the AK certificate is for a key that is neither P-256, P-384 nor "
			       "RSA of 2048 to 4096 bits");
	if (X509_check_ca(leaf) != 0)
		return tl_fail(err, TL_E_VERIFY_AK_CERT, EACCES,
			       "the AK certificate is a CA's certificate");
	/* X509_get_key_usage() gives all bits when the extension is absent. */
	if (!(X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE))
		return tl_fail(err, TL_E_VERIFY_AK_CERT, EACCES,
			       "the AK certificate's key usage doesn't allow digital signatures");
	return 0;
}

/* Intermediates of the request and of the options together. */
static int untrusted_collect(const struct ak_anchors *a, const struct tl_buf *chain, size_t chain_n,
			     STACK_OF(X509) * ret, struct tl_error *err)
{
	for (size_t i = 0; i < chain_n; i++) {
		X509 *x = cert_der_read(chain[i].data, chain[i].len_bytes);

		if (!x)
			return tl_fail(err, TL_E_VERIFY_AK_CERT, EACCES,
				       "certificate %zu of the AK's chain is no DER certificate",
				       i);
		if (sk_X509_push(ret, x) <= 0) {
			X509_free(x);
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
		}
	}
	for (int i = 0; i < sk_X509_num(a->intermediates); i++) {
		X509 *x = sk_X509_value(a->intermediates, i);

		if (X509_up_ref(x) != 1 || sk_X509_push(ret, x) <= 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	}
	return 0;
}

static bool is_no_path(int result)
{
	return result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       result == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
	       result == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
	       result == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
	       result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
}

/* The first root set that vouches; else the failure that says most. */
static int anchor_find(const struct ak_anchors *a, X509 *leaf, STACK_OF(X509) * untrusted,
		       int64_t now_s, const char **ret_name, struct tl_error *err)
{
	int told = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, told_depth = 0;

	for (size_t i = 0; i < a->n; i++) {
		int depth;
		int result = cert_path_check(a->items[i].store, leaf, untrusted, now_s,
					     AK_CHAIN_DEPTH, 0, NULL, &depth);

		if (result == X509_V_OK) {
			*ret_name = a->items[i].name;
			return 0;
		}
		if (is_no_path(told)) {
			told = result;
			told_depth = depth;
		}
	}
	return tl_fail(err, TL_E_VERIFY_AK_CHAIN, EACCES,
		       "the AK certificate is vouched for by none of %zu root sets: certificate %d "
		       "of the path: %s",
		       a->n, told_depth, X509_verify_cert_error_string(told));
}

static int key_fingerprint(X509 *leaf, char ret[65])
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &der);
	uint8_t digest[TL_HASH_SIZE_MAX];
	int r;

	if (n <= 0)
		return -ENOMEM;
	r = tl_digest(TL_SHA256, der, (size_t)n, digest);
	OPENSSL_free(der);
	if (r == 0)
		tl_hex_encode(digest, 32, ret);
	return r;
}

int ak_chain_verify(const struct ak_anchors *a, const struct tl_buf *cert,
		    const struct tl_buf *chain, size_t chain_n, int64_t now_s,
		    struct ak_identity *ret, struct tl_error *err)
{
	auto_x509 X509 *leaf = cert_der_read(cert->data, cert->len_bytes);
	auto_x509_stack STACK_OF(X509) *untrusted = sk_X509_new_null();
	auto_ak_identity struct ak_identity id = { 0 };
	const char *name = NULL;
	int r;

	if (!untrusted)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	if (!leaf)
		return tl_fail(err, TL_E_VERIFY_AK_CERT, EACCES,
			       "the AK certificate is not one whole DER certificate (%zu bytes)",
			       cert->len_bytes);
	r = leaf_check(leaf, err);
	if (r == 0)
		r = untrusted_collect(a, chain, chain_n, untrusted, err);
	if (r == 0)
		r = anchor_find(a, leaf, untrusted, now_s, &name, err);
	if (r == 0)
		r = gce_instance_read(leaf, &id.has_instance, &id.instance, err);
	if (r < 0)
		return r;
	(void)snprintf(id.anchor, sizeof(id.anchor), "%s", name);
	id.key = X509_get_pubkey(leaf);
	if (!id.key || key_fingerprint(leaf, id.key_sha256) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the AK");
	*ret = id;
	id = (struct ak_identity){ 0 };
	return 0;
}
