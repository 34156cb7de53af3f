/* SPDX-License-Identifier: Apache-2.0 */
#include "gce_instance.h"

#include <errno.h>
#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#define INSTANCE_OID "1.3.6.1.4.1.11129.2.1.21"

struct security_der {
	ASN1_INTEGER *version;
	ASN1_BOOLEAN is_production;
};

struct instance_der {
	ASN1_UTF8STRING *zone;
	ASN1_INTEGER *project_number;
	ASN1_UTF8STRING *project_id;
	ASN1_INTEGER *instance_id;
	ASN1_UTF8STRING *name;
	struct security_der *security;
};

/* clang-format off */
ASN1_SEQUENCE(SECURITY_DER) = {
	ASN1_EXP_OPT(struct security_der, version, ASN1_INTEGER, 0),
	ASN1_EXP_OPT(struct security_der, is_production, ASN1_BOOLEAN, 1),
} static_ASN1_SEQUENCE_END_name(struct security_der, SECURITY_DER)

ASN1_SEQUENCE(INSTANCE_DER) = {
	ASN1_SIMPLE(struct instance_der, zone, ASN1_UTF8STRING),
	ASN1_SIMPLE(struct instance_der, project_number, ASN1_INTEGER),
	ASN1_SIMPLE(struct instance_der, project_id, ASN1_UTF8STRING),
	ASN1_SIMPLE(struct instance_der, instance_id, ASN1_INTEGER),
	ASN1_SIMPLE(struct instance_der, name, ASN1_UTF8STRING),
	ASN1_EXP_OPT(struct instance_der, security, SECURITY_DER, 0),
} static_ASN1_SEQUENCE_END_name(struct instance_der, INSTANCE_DER)
/* clang-format on */

static bool text_copy(const ASN1_UTF8STRING *s, char ret[AK_TEXT_MAX])
{
	int n = ASN1_STRING_length(s);

	if (n <= 0 || n >= AK_TEXT_MAX)
		return false;
	memcpy(ret, ASN1_STRING_get0_data(s), (size_t)n);
	ret[n] = '\0';
	/* Names of zones, projects and instances are plain; anything else never came from there. */
	return strspn(ret, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-") ==
	       (size_t)n;
}

static bool instance_copy(const struct instance_der *der, struct gce_instance *ret)
{
	return text_copy(der->zone, ret->zone) && text_copy(der->project_id, ret->project_id) &&
	       text_copy(der->name, ret->name) &&
	       ASN1_INTEGER_get_uint64(&ret->project_number, der->project_number) == 1 &&
	       ASN1_INTEGER_get_uint64(&ret->instance_id, der->instance_id) == 1;
}

/* The extension's bytes, NULL with @ret_n -1 if it isn't there, -2 if it is there twice. */
static const unsigned char *extension_find(const X509 *cert, int *ret_n)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(INSTANCE_OID, 1);
	int at = oid ? X509_get_ext_by_OBJ(cert, oid, -1) : -1;
	bool is_doubled = at >= 0 && X509_get_ext_by_OBJ(cert, oid, at) >= 0;
	const ASN1_OCTET_STRING *value;

	ASN1_OBJECT_free(oid);
	*ret_n = is_doubled ? -2 : -1;
	if (at < 0 || is_doubled)
		return NULL;
	value = X509_EXTENSION_get_data(X509_get_ext(cert, at));
	*ret_n = ASN1_STRING_length(value);
	return ASN1_STRING_get0_data(value);
}

int gce_instance_read(const X509 *cert, bool *ret_has, struct gce_instance *ret,
		      struct tl_error *err)
{
	int n;
	const unsigned char *start = extension_find(cert, &n), *p = start;
	struct gce_instance inst = { 0 };
	struct instance_der *der;
	bool is_good, is_production;

	if (n == -1) {
		*ret_has = false;
		return 0;
	}
	if (n < 0)
		return tl_fail(err, TL_E_VERIFY_INSTANCE, EACCES,
			       "the AK certificate has the instance extension twice");
	der = (struct instance_der *)ASN1_item_d2i(NULL, &p, n, ASN1_ITEM_rptr(INSTANCE_DER));
	ERR_clear_error();
	is_good = der && p == start + n && instance_copy(der, &inst);
	/* ASN1_BOOLEAN is -1 when absent. */
	is_production = is_good && der->security && der->security->is_production > 0;
	ASN1_item_free((ASN1_VALUE *)der, ASN1_ITEM_rptr(INSTANCE_DER));
	if (!is_good)
		return tl_fail(err, TL_E_VERIFY_INSTANCE, EACCES,
			       "the instance extension of the AK certificate can't be read");
	if (!is_production)
		return tl_fail(err, TL_E_VERIFY_INSTANCE, EACCES,
			       "instance '%s' in the AK certificate is not marked IsProduction",
			       inst.name);
	*ret = inst;
	*ret_has = true;
	return 0;
}
