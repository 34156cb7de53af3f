/* SPDX-License-Identifier: Apache-2.0 */
#include "snp_key.h"

#include <errno.h>
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>

#define OID(suffix) "1.3.6.1.4.1.3704.1." suffix

#define CHIP_ID_SHORT 8 /* Turin's */

static int bad(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_VERIFY_SNP_CHAIN, EACCES,
		       "the certificate of the key that signs SEV-SNP reports %s", what);
}

/* The value of an extension that is there once; NULL otherwise. */
static const ASN1_OCTET_STRING *extension_of(const X509 *cert, const char *oid)
{
	ASN1_OBJECT *name = OBJ_txt2obj(oid, 1);
	int at = name ? X509_get_ext_by_OBJ(cert, name, -1) : -1;
	const ASN1_OCTET_STRING *value = NULL;

	if (at >= 0 && X509_get_ext_by_OBJ(cert, name, at) < 0)
		value = X509_EXTENSION_get_data(X509_get_ext(cert, at));
	ASN1_OBJECT_free(name);
	return value;
}

static ASN1_TYPE *asn1_of(const ASN1_OCTET_STRING *value)
{
	const unsigned char *p = ASN1_STRING_get0_data(value);
	const unsigned char *end = p + ASN1_STRING_length(value);
	ASN1_TYPE *t = d2i_ASN1_TYPE(NULL, &p, ASN1_STRING_length(value));

	ERR_clear_error();
	if (t && p != end) {
		ASN1_TYPE_free(t);
		return NULL;
	}
	return t;
}

static bool level_read(const X509 *cert, const char *oid, uint8_t *ret)
{
	const ASN1_OCTET_STRING *value = extension_of(cert, oid);
	ASN1_TYPE *t = value ? asn1_of(value) : NULL;
	int64_t n = -1;
	bool is_good = t && t->type == V_ASN1_INTEGER &&
		       ASN1_INTEGER_get_int64(&n, t->value.integer) == 1 && n >= 0 &&
		       n <= UINT8_MAX;

	if (is_good)
		*ret = (uint8_t)n;
	ASN1_TYPE_free(t);
	return is_good;
}

/* "Milan-B0" is a Milan. */
static bool product_read(const X509 *cert, char ret[SNP_PRODUCT_MAX])
{
	const ASN1_OCTET_STRING *value = extension_of(cert, OID("2"));
	ASN1_TYPE *t = value ? asn1_of(value) : NULL;
	size_t n = 0;

	if (t && t->type == V_ASN1_IA5STRING) {
		const char *text = (const char *)ASN1_STRING_get0_data(t->value.ia5string);
		size_t whole = (size_t)ASN1_STRING_length(t->value.ia5string);

		while (n < whole && text[n] && text[n] != '-')
			n++;
		if (n < SNP_PRODUCT_MAX)
			memcpy(ret, text, n);
	}
	ASN1_TYPE_free(t);
	return n > 0 && n < SNP_PRODUCT_MAX;
}

/* The bytes themselves, as AMD issues it, or a string of them. */
static bool chip_id_read(const ASN1_OCTET_STRING *value, bool is_short, uint8_t ret[SNP_CHIP_ID])
{
	int due = is_short ? CHIP_ID_SHORT : SNP_CHIP_ID;
	ASN1_TYPE *t = NULL;
	bool is_good;

	if (ASN1_STRING_length(value) != due) {
		t = asn1_of(value);
		value = t && t->type == V_ASN1_OCTET_STRING ? t->value.octet_string : NULL;
	}
	is_good = value && ASN1_STRING_length(value) == due;
	if (is_good)
		memcpy(ret, ASN1_STRING_get0_data(value), (size_t)due);
	ASN1_TYPE_free(t);
	return is_good;
}

static bool key_is_p384(const X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	char group[32] = "";

	return key && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, "secp384r1") == 0;
}

int snp_key_read(const X509 *cert, struct snp_key *ret, struct tl_error *err)
{
	const ASN1_OCTET_STRING *chip = extension_of(cert, OID("4"));
	bool is_vlek = extension_of(cert, OID("5")) != NULL;
	struct snp_key k = { .kind = is_vlek ? SNP_KEY_VLEK : SNP_KEY_VCEK };

	if (!key_is_p384(cert))
		return bad(err, "is not for a P-384 key");
	if (X509_check_ca((X509 *)(uintptr_t)cert) != 0)
		return bad(err, "is a CA's");
	if (!product_read(cert, k.product))
		return bad(err, "names no product (" OID("2") ")");
	k.has_fmc = level_read(cert, OID("3.9"), &k.tcb.fmc);
	if (!level_read(cert, OID("3.1"), &k.tcb.bootloader) ||
	    !level_read(cert, OID("3.2"), &k.tcb.tee) ||
	    !level_read(cert, OID("3.3"), &k.tcb.snp) ||
	    !level_read(cert, OID("3.8"), &k.tcb.microcode))
		return bad(err, "doesn't say its patch levels (" OID("3") ")");
	if (is_vlek ? chip != NULL : !chip || !chip_id_read(chip, k.has_fmc, k.chip_id))
		return bad(err,
			   is_vlek ? "is both a chip's and a cloud's (" OID("4") ", " OID("5") ")"
				   : "doesn't say its chip (" OID("4") ")");
	k.key = X509_get_pubkey((X509 *)(uintptr_t)cert);
	if (!k.key)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a key");
	*ret = k;
	return 0;
}

void snp_key_done(struct snp_key *k)
{
	EVP_PKEY_free(k->key);
	*k = (struct snp_key){ 0 };
}
