/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_pck.h"

#include <errno.h>
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>

#define SGX_OID "1.2.840.113741.1.13.1"
#define OID_MAX 64

typedef STACK_OF(ASN1_TYPE) asn1_list;

static void asn1_list_freep(asn1_list **l)
{
	sk_ASN1_TYPE_pop_free(*l, ASN1_TYPE_free);
}
#define auto_asn1_list __attribute__((cleanup(asn1_list_freep)))

/* One row per member; a SEQUENCE of members is walked down. */
enum member_kind { MEMBER_NUMBER, MEMBER_BYTES, MEMBER_LIST };

struct member {
	const char *oid; /* below SGX_OID */
	enum member_kind kind;
	size_t offset; /* in struct members */
	size_t n;      /* bytes; of a number: 1 or 2 */
};

/* As read, in an order in which the sixteen components are one array. */
struct members {
	uint8_t svn[TDX_SVN_BYTES];
	uint16_t pce_svn;
	uint8_t pce_id[TDX_PCE_ID];
	uint8_t fmspc[TDX_FMSPC];
	uint32_t seen;
};

#define SVN(i)                                                                                     \
	{                                                                                          \
		".2." #i, MEMBER_NUMBER, offsetof(struct members, svn) + (i)-1, 1                  \
	}

static const struct member rows[] = {
	{ ".2", MEMBER_LIST, 0, 0 },
	SVN(1),
	SVN(2),
	SVN(3),
	SVN(4),
	SVN(5),
	SVN(6),
	SVN(7),
	SVN(8),
	SVN(9),
	SVN(10),
	SVN(11),
	SVN(12),
	SVN(13),
	SVN(14),
	SVN(15),
	SVN(16),
	{ ".2.17", MEMBER_NUMBER, offsetof(struct members, pce_svn), 2 },
	{ ".3", MEMBER_BYTES, offsetof(struct members, pce_id), TDX_PCE_ID },
	{ ".4", MEMBER_BYTES, offsetof(struct members, fmspc), TDX_FMSPC },
};
#define ROWS_N   TL_ARRAY_SIZE(rows)
#define ROWS_ALL ((UINT32_C(1) << ROWS_N) - 1)

static bool list_read(const unsigned char *der, int n, struct members *ret, int depth);

static bool number_read(const ASN1_TYPE *v, size_t n, uint8_t *ret)
{
	uint16_t two;
	int64_t number = 0;

	if (v->type != V_ASN1_INTEGER || ASN1_INTEGER_get_int64(&number, v->value.integer) != 1 ||
	    number < 0 || number > (n == 1 ? UINT8_MAX : UINT16_MAX))
		return false;
	two = (uint16_t)number;
	if (n == 1)
		*ret = (uint8_t)number;
	else
		memcpy(ret, &two, sizeof(two));
	return true;
}

static bool value_read(const struct member *row, const ASN1_TYPE *v, struct members *ret, int depth)
{
	uint8_t *field = (uint8_t *)ret + row->offset;

	switch (row->kind) {
	case MEMBER_NUMBER:
		return number_read(v, row->n, field);
	case MEMBER_BYTES:
		if (v->type != V_ASN1_OCTET_STRING ||
		    ASN1_STRING_length(v->value.octet_string) != (int)row->n)
			return false;
		memcpy(field, ASN1_STRING_get0_data(v->value.octet_string), row->n);
		return true;
	case MEMBER_LIST:
		return v->type == V_ASN1_SEQUENCE &&
		       list_read(ASN1_STRING_get0_data(v->value.sequence),
				 ASN1_STRING_length(v->value.sequence), ret, depth + 1);
	}
	return false;
}

/* { OID, value }; members that no row knows are nobody's business here. */
static bool pair_read(const ASN1_TYPE *pair, struct members *ret, int depth)
{
	const unsigned char *p;
	auto_asn1_list asn1_list *both = NULL;
	const ASN1_TYPE *name;
	char oid[OID_MAX] = "";

	if (pair->type != V_ASN1_SEQUENCE)
		return false;
	p = ASN1_STRING_get0_data(pair->value.sequence);
	both = d2i_ASN1_SEQUENCE_ANY(NULL, &p, ASN1_STRING_length(pair->value.sequence));
	if (!both || sk_ASN1_TYPE_num(both) != 2)
		return false;
	name = sk_ASN1_TYPE_value(both, 0);
	if (name->type != V_ASN1_OBJECT ||
	    OBJ_obj2txt(oid, sizeof(oid), name->value.object, 1) >= (int)sizeof(oid))
		return false;
	for (size_t i = 0; i < ROWS_N; i++) {
		if (strncmp(oid, SGX_OID, strlen(SGX_OID)) != 0 ||
		    strcmp(oid + strlen(SGX_OID), rows[i].oid) != 0)
			continue;
		if (ret->seen >> i & 1)
			return false;
		ret->seen |= UINT32_C(1) << i;
		return value_read(&rows[i], sk_ASN1_TYPE_value(both, 1), ret, depth);
	}
	return true;
}

static bool list_read(const unsigned char *der, int n, struct members *ret, int depth)
{
	const unsigned char *p = der;
	auto_asn1_list asn1_list *list = depth > 1 ? NULL : d2i_ASN1_SEQUENCE_ANY(NULL, &p, n);

	if (!list || p != der + n)
		return false;
	for (int i = 0; i < sk_ASN1_TYPE_num(list); i++)
		if (!pair_read(sk_ASN1_TYPE_value(list, i), ret, depth))
			return false;
	return true;
}

/* How often the extension is there, and the first one's value. */
static int extension_find(const X509 *cert, const ASN1_OCTET_STRING **ret)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(SGX_OID, 1);
	int count = 0;

	for (int at = oid ? X509_get_ext_by_OBJ(cert, oid, -1) : -1; at >= 0;
	     at = X509_get_ext_by_OBJ(cert, oid, at))
		if (count++ == 0)
			*ret = X509_EXTENSION_get_data(X509_get_ext(cert, at));
	ASN1_OBJECT_free(oid);
	return count;
}

bool tdx_pck_is_one(const X509 *cert)
{
	const ASN1_OCTET_STRING *value;

	return extension_find(cert, &value) > 0;
}

static bool extension_read(const X509 *cert, struct tdx_pck *ret)
{
	const ASN1_OCTET_STRING *value = NULL;
	struct members m = { 0 };
	bool is_good = extension_find(cert, &value) == 1 &&
		       list_read(ASN1_STRING_get0_data(value), ASN1_STRING_length(value), &m, 0) &&
		       m.seen == ROWS_ALL;

	ERR_clear_error();
	if (!is_good)
		return false;
	memcpy(ret->svn, m.svn, sizeof(ret->svn));
	memcpy(ret->pce_id, m.pce_id, sizeof(ret->pce_id));
	memcpy(ret->fmspc, m.fmspc, sizeof(ret->fmspc));
	ret->pce_svn = m.pce_svn;
	return true;
}

static bool key_is_p256(const X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	char group[32] = "";

	return key && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, "prime256v1") == 0;
}

static int leaf_read(X509 *leaf, struct tdx_pck *ret, struct tl_error *err)
{
	if (!key_is_p256(leaf))
		return tl_fail(err, TL_E_VERIFY_TDX_CHAIN, EACCES,
			       "the PCK certificate is not for a P-256 key");
	if (X509_check_ca(leaf) != 0 || !(X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE))
		return tl_fail(err, TL_E_VERIFY_TDX_CHAIN, EACCES,
			       "the PCK certificate is a CA's, or may not sign");
	if (!extension_read(leaf, ret))
		return tl_fail(err, TL_E_VERIFY_TDX_CHAIN, EACCES,
			       "the PCK certificate's SGX extension (" SGX_OID ") is missing, "
			       "doubled, or has no FMSPC, PCE-ID and SVNs of a platform");
	ret->key = X509_get_pubkey(leaf);
	return ret->key ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the PCK");
}

/* What a quote brings along beside its path was looked at by nobody. */
static int path_is_all_check(STACK_OF(X509) * chain, STACK_OF(X509) * path, struct tl_error *err)
{
	for (int i = 0; i < sk_X509_num(chain); i++) {
		bool is_part = false;

		for (int k = 0; k < sk_X509_num(path); k++)
			is_part |= X509_cmp(sk_X509_value(chain, i), sk_X509_value(path, k)) == 0;
		if (!is_part)
			return tl_fail(err, TL_E_VERIFY_TDX_CHAIN, EACCES,
				       "certificate %d of the PCK's chain is no part of the path "
				       "to the root",
				       i);
	}
	return 0;
}

int tdx_pck_verify(X509_STORE *store, unsigned long flags, const struct tdx_span *pem,
		   int64_t now_s, struct tdx_pck *ret, struct tl_error *err)
{
	auto_x509_stack STACK_OF(X509) *chain = sk_X509_new_null();
	auto_x509_stack STACK_OF(X509) *path = NULL;
	auto_tdx_pck struct tdx_pck pck = { 0 };
	struct tl_error why = { 0 };
	int depth = 0, result, r;

	if (!chain)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	if (cert_pem_read((const char *)pem->data, pem->n, chain, &why) < 0)
		return tl_fail(err, TL_E_VERIFY_TDX_CHAIN, EACCES, "the PCK's chain: %s", why.msg);
	result = cert_path_check(store, sk_X509_value(chain, 0), chain, now_s, TDX_CHAIN_DEPTH,
				 flags, &path, &depth);
	if (result != X509_V_OK)
		return tl_fail(err, TL_E_VERIFY_TDX_CHAIN, EACCES,
			       "the PCK certificate doesn't lead to the root: certificate %d of "
			       "the path: %s",
			       depth, X509_verify_cert_error_string(result));
	r = path_is_all_check(chain, path, err);
	if (r == 0)
		r = leaf_read(sk_X509_value(chain, 0), &pck, err);
	if (r < 0)
		return r;
	*ret = pck;
	pck = (struct tdx_pck){ 0 };
	return 0;
}

void tdx_pck_done(struct tdx_pck *p)
{
	EVP_PKEY_free(p->key);
	*p = (struct tdx_pck){ 0 };
}
