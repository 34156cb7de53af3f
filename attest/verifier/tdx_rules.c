/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>

#include "p256.h"

#define TCB_INFO_NAME    "tcbInfo"
#define QE_IDENTITY_NAME "enclaveIdentity"

int tdx_rules_new(const char *root_pem, size_t n, struct tdx_rules **ret, struct tl_error *err)
{
	auto_tdx_rules struct tdx_rules *r = calloc(1, sizeof(*r));
	auto_x509_stack STACK_OF(X509) *roots = sk_X509_new_null();
	int e;

	if (r)
		r->store = X509_STORE_new();
	if (!r || !r->store || !roots)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for TDX rules");
	e = cert_pem_read(root_pem, n, roots, err);
	if (e < 0)
		return e;
	for (int i = 0; i < sk_X509_num(roots); i++)
		if (X509_STORE_add_cert(r->store, sk_X509_value(roots, i)) != 1)
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
				       "certificate %d of the TDX root can't be used", i);
	r->accepts[TDX_TCB_UP_TO_DATE] = true;
	*ret = take_ptr(r);
	return 0;
}

struct tdx_rules *tdx_rules_free(struct tdx_rules *r)
{
	if (!r)
		return NULL;
	X509_STORE_free(r->store);
	X509_free(r->signer);
	for (size_t i = 0; i < r->infos_n; i++)
		tdx_tcb_info_done(&r->infos[i]);
	tdx_qe_identity_done(&r->qe);
	free(r);
	return NULL;
}

int tdx_rules_add_crl(struct tdx_rules *r, const void *bytes, size_t n, struct tl_error *err)
{
	X509_CRL *crl = n <= TDX_COLLATERAL_MAX ? cert_crl_read(bytes, n) : NULL;
	int added;

	if (!crl)
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
			       "it is no revocation list, in PEM or DER, of at most %d bytes",
			       TDX_COLLATERAL_MAX);
	added = X509_STORE_add_crl(r->store, crl);
	X509_CRL_free(crl);
	if (added != 1)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a revocation list");
	r->flags = X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	return 0;
}

int tdx_rules_set_signer(struct tdx_rules *r, const char *pem, size_t n, int64_t now_s,
			 struct tl_error *err)
{
	auto_x509_stack STACK_OF(X509) *chain = sk_X509_new_null();
	struct tl_error why = { 0 };
	X509 *leaf;
	int depth = 0, result;

	if (!chain)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	if (cert_pem_read(pem, n, chain, &why) < 0)
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "%s", why.msg);
	leaf = sk_X509_value(chain, 0);
	result = cert_path_check(r->store, leaf, NULL, now_s, 0, r->flags, NULL, &depth);
	if (result != X509_V_OK)
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
			       "the certificate isn't directly below the root: %s",
			       X509_verify_cert_error_string(result));
	/* The root vouches for others too, and a platform's key is anybody's. */
	if (X509_check_ca(leaf) != 0 || tdx_pck_is_one(leaf) ||
	    !EVP_PKEY_is_a(X509_get0_pubkey(leaf), "EC"))
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
			       "the certificate is a CA's or a platform's, not one for signing "
			       "statements on TCBs");
	(void)X509_up_ref(leaf);
	r->signer = leaf;
	return 0;
}

static int signed_read(const struct tdx_rules *r, const char *text, size_t n, const char *name,
		       struct tdx_signed_json *ret, struct tl_error *err)
{
	int e = tdx_signed_json_read(text, n, name, ret, err);

	if (e < 0)
		return e;
	if (!p256_signature_is_good(X509_get0_pubkey(r->signer), ret->signature, ret->text, ret->n))
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
			       "the signature over '%s' isn't by the TCB signing certificate, or "
			       "the file isn't as it was served",
			       name);
	return 0;
}

int tdx_rules_add_tcb_info(struct tdx_rules *r, const char *text, size_t n, struct tl_error *err)
{
	struct tdx_signed_json json;
	struct tdx_tcb_info info;
	int e = signed_read(r, text, n, TCB_INFO_NAME, &json, err);

	if (e == 0)
		e = tdx_tcb_info_parse(json.text, json.n, &info, err);
	if (e < 0)
		return e;
	for (size_t i = 0; i < r->infos_n; i++)
		if (memcmp(r->infos[i].fmspc, info.fmspc, TDX_FMSPC) == 0) {
			tdx_tcb_info_done(&info);
			return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL,
				       "there is one for this FMSPC already");
		}
	if (r->infos_n == TDX_TCB_INFOS_MAX) {
		tdx_tcb_info_done(&info);
		return tl_fail(err, TL_E_VERIFY_TDX_COLLATERAL, EINVAL, "more than %d TCB infos",
			       TDX_TCB_INFOS_MAX);
	}
	r->infos[r->infos_n++] = info;
	return 0;
}

int tdx_rules_set_qe_identity(struct tdx_rules *r, const char *text, size_t n, struct tl_error *err)
{
	struct tdx_signed_json json;
	int e = signed_read(r, text, n, QE_IDENTITY_NAME, &json, err);

	if (e == 0)
		e = tdx_qe_identity_parse(json.text, json.n, &r->qe, err);
	if (e == 0)
		r->has_tcb = true;
	return e;
}

int tdx_rules_accept(struct tdx_rules *r, const char *status, struct tl_error *err)
{
	enum tdx_tcb_status s = tdx_tcb_status_find(status);

	if (s >= TDX_TCB_REVOKED)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "'%s' is no TCB status that can be accepted; see teeverifierd(8)",
			       status);
	r->accepts[s] = true;
	return 0;
}
