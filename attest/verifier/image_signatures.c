/* SPDX-License-Identifier: Apache-2.0 */
#include "image_signatures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>

#include "../openssl_auto.h"

#define P256         "prime256v1"
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096

static const struct algorithm {
	const char *name;
	const char *key_type; /* as OpenSSL has it */
	int padding;          /* of RSA */
} algorithms[] = {
	{ "ECDSA_P256_SHA256", "EC", 0 },
	{ "RSASSA_PSS_SHA256", "RSA", RSA_PKCS1_PSS_PADDING },
	{ "RSASSA_PKCS1V15_SHA256", "RSA", RSA_PKCS1_PADDING },
};

void checked_signatures_done(struct checked_signatures *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i].signature);
	free(s->items);
	tl_strv_done(&s->problems);
	*s = (struct checked_signatures){ 0 };
}

static int bad(struct tl_error *err, const char *why)
{
	return tl_fail(err, TL_E_IMAGE_SIGNATURE, EBADMSG, "%s", why);
}

/* Cosign's command line can't take "=", so the padding is left out as a rule. */
static int key_text_decode(const char *text, uint8_t **ret, size_t *ret_n, struct tl_error *err)
{
	size_t n = strcspn(text, "=");
	char padded[4096 + 4];

	if (strlen(text) - n > 2 || n > sizeof(padded) - 4)
		return bad(err, "its public key is not base64");
	memcpy(padded, text, n);
	for (; n % 4; n++)
		padded[n] = '=';
	return tl_base64_decode(TL_BASE64_STD, padded, n, ret, ret_n) < 0
		       ? bad(err, "its public key is not base64")
		       : 0;
}

/* Nobody is asked for a password: OpenSSL's own default would open the terminal. */
static int no_password(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)ctx;
	return -1;
}

static int key_read(const char *text, EVP_PKEY **ret, struct tl_error *err)
{
	auto_free uint8_t *pem = NULL;
	auto_bio BIO *bio = NULL;
	size_t n = 0;
	int r;

	if (!text)
		return bad(err, "its payload has no public key (dev.sigstore.cosign/pub)");
	r = key_text_decode(text, &pem, &n, err);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(pem, (int)n);
	*ret = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;
	ERR_clear_error();
	return *ret ? 0 : bad(err, "its public key is not one in PEM");
}

static bool key_is_fit(const EVP_PKEY *key, const struct algorithm *a)
{
	char group[32] = "";
	int bits = EVP_PKEY_get_bits(key);

	if (!EVP_PKEY_is_a(key, a->key_type))
		return false;
	if (a->padding)
		return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
	return EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, P256) == 0;
}

static int algorithm_find(const char *name, const EVP_PKEY *key, const struct algorithm **ret,
			  struct tl_error *err)
{
	if (!name)
		return bad(err, "its payload has no algorithm (dev.sigstore.cosign/sigalg)");
	for (size_t i = 0; i < TL_ARRAY_SIZE(algorithms); i++) {
		if (strcmp(algorithms[i].name, name) != 0)
			continue;
		*ret = &algorithms[i];
		return key_is_fit(key, *ret) ? 0 : bad(err, "its key is not one for its algorithm");
	}
	return bad(err, "its algorithm is unknown");
}

static bool signature_is_good(EVP_PKEY *key, const struct algorithm *a,
			      const struct tl_image_signature *s)
{
	auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how = NULL; /* borrowed from @ctx */
	bool is_good;

	is_good = ctx && EVP_DigestVerifyInit(ctx, &how, EVP_sha256(), NULL, key) == 1 &&
		  (!a->padding || EVP_PKEY_CTX_set_rsa_padding(how, a->padding) == 1) &&
		  EVP_DigestVerify(ctx, s->signature.bytes, s->signature.n, s->payload.bytes,
				   s->payload.n) == 1;
	ERR_clear_error();
	return is_good;
}

static int key_id_of(const EVP_PKEY *key, char ret[65], struct tl_error *err)
{
	auto_openssl unsigned char *der = NULL;
	uint8_t digest[TL_HASH_SIZE_MAX];
	int n = i2d_PUBKEY(key, &der);

	if (n <= 0 || tl_digest(TL_SHA256, der, (size_t)n, digest) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signature");
	tl_hex_encode(digest, 32, ret);
	return 0;
}

static int signature_check(const struct tl_image_signature *s, const char *digest,
			   struct checked_signature *ret, struct tl_error *err)
{
	auto_signature_payload struct tl_signature_payload p = { 0 };
	auto_pkey EVP_PKEY *key = NULL;
	const struct algorithm *a = NULL;
	int r = tl_signature_payload_read(s->payload.bytes, s->payload.n, &p, err);

	if (r < 0)
		return r;
	if (strcmp(p.digest, digest) != 0)
		return bad(err, "it signs another image");
	r = key_read(p.key, &key, err);
	if (r == 0)
		r = algorithm_find(p.algorithm, key, &a, err);
	if (r < 0)
		return r;
	if (!signature_is_good(key, a, s))
		return bad(err, "it doesn't fit its payload and key");
	r = key_id_of(key, ret->key_id, err);
	if (r < 0)
		return r;
	ret->algorithm = a->name;
	ret->signature = tl_base64_encode(TL_BASE64_STD, s->signature.bytes, s->signature.n);
	return ret->signature ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image signature");
}

static int by_key(const void *a, const void *b)
{
	const struct checked_signature *x = a, *y = b;
	int d = strcmp(x->key_id, y->key_id);

	if (d == 0)
		d = strcmp(x->algorithm, y->algorithm);
	return d ? d : strcmp(x->signature, y->signature);
}

static int problem_add(struct checked_signatures *ret, size_t i, const char *why)
{
	int r = 0;

	if (ret->dropped < SIGNATURE_PROBLEMS_MAX)
		r = tl_strv_printf(&ret->problems, "image signature %zu is dropped: %s", i + 1,
				   why);
	ret->dropped++;
	return r;
}

int image_signatures_check(const struct tl_image_signatures *signatures, const char *digest,
			   struct checked_signatures *ret)
{
	int r = 0;

	ret->items = calloc(signatures->n ? signatures->n : 1, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < signatures->n && r == 0; i++) {
		struct tl_error err = { 0 };

		r = signature_check(&signatures->items[i], digest, &ret->items[ret->n], &err);
		if (r == 0)
			ret->n++;
		else if (r != -ENOMEM)
			r = problem_add(ret, i, err.msg);
	}
	qsort(ret->items, ret->n, sizeof(*ret->items), by_key);
	if (r == 0 && ret->dropped > SIGNATURE_PROBLEMS_MAX)
		r = tl_strv_printf(&ret->problems, "and %zu more image signatures are dropped",
				   ret->dropped - SIGNATURE_PROBLEMS_MAX);
	return r;
}
