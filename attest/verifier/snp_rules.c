/* SPDX-License-Identifier: Apache-2.0 */
#include "snp_rules.h"

#include <errno.h>
#include <stdlib.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

void snp_options_done(struct snp_options *o)
{
	tl_strv_done(&o->roots);
	tl_strv_done(&o->keys);
	tl_strv_done(&o->crls);
	tl_strv_done(&o->min_tcbs);
}

static int combination_check(const struct snp_options *o, struct tl_error *err)
{
	if (!o->roots.n)
		return o->keys.n || o->crls.n || o->min_tcbs.n || o->is_without_tcb
			       ? tl_fail(err, TL_E_USAGE, EINVAL,
					 "the options of SEV-SNP need --snp-root")
			       : 0;
	if (o->is_without_tcb == (o->min_tcbs.n > 0))
		return tl_fail(
			err, TL_E_USAGE, EINVAL,
			"--snp-root needs --snp-min-tcb, or --snp-without-tcb instead of it: "
			"then a platform may have any known hole");
	return o->min_tcbs.n <= SNP_LEASTS_MAX
		       ? 0
		       : tl_fail(err, TL_E_USAGE, EINVAL, "more than %d --snp-min-tcb",
				 SNP_LEASTS_MAX);
}

static int file_read(const char *option, const char *file, struct tl_buf *ret, struct tl_error *err)
{
	*ret = (struct tl_buf){ .max_bytes = SNP_COLLATERAL_MAX };
	return tl_wrap(err, tl_file_read(file, ret, err), "%s '%s'", option, file);
}

static int pem_files_read(const char *option, const struct tl_strv *files, STACK_OF(X509) * ret,
			  struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < files->n; i++) {
		auto_buf struct tl_buf bytes = { 0 };

		r = file_read(option, files->items[i], &bytes, err);
		if (r == 0)
			r = tl_wrap(err,
				    cert_pem_read(tl_buf_str(&bytes), bytes.len_bytes, ret, err),
				    "%s '%s'", option, files->items[i]);
	}
	return r;
}

/* Who signed himself is a root; the others need one. */
static int roots_load(struct snp_rules *r, const struct snp_options *o, struct tl_error *err)
{
	auto_x509_stack STACK_OF(X509) *all = sk_X509_new_null();
	int n_roots = 0, e = all ? pem_files_read("--snp-root", &o->roots, all, err) : -ENOMEM;

	if (!all)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	for (int i = 0; e == 0 && i < sk_X509_num(all); i++) {
		X509 *cert = sk_X509_value(all, i);
		bool is_root = X509_self_signed(cert, 1) == 1, is_done;

		n_roots += is_root;
		is_done = is_root ? X509_STORE_add_cert(r->store, cert) == 1
				  : X509_add_cert(r->between, cert, X509_ADD_FLAG_UP_REF) == 1;
		if (!is_done)
			e = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	}
	if (e == 0 && !n_roots)
		e = tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			    "--snp-root: none of the certificates is a root (ARK)");
	return e;
}

static int keys_load(struct snp_rules *r, const struct snp_options *o, struct tl_error *err)
{
	int e = pem_files_read("--snp-key", &o->keys, r->keys, err);

	for (int i = 0; e == 0 && i < sk_X509_num(r->keys); i++) {
		auto_snp_key struct snp_key key = { 0 };
		struct tl_error why = { 0 };

		if (snp_key_read(sk_X509_value(r->keys, i), &key, &why) < 0)
			e = tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "--snp-key, certificate %d: %s",
				    i, why.msg);
	}
	return e;
}

static int crls_load(struct snp_rules *r, const struct snp_options *o, struct tl_error *err)
{
	for (size_t i = 0; i < o->crls.n; i++) {
		auto_buf struct tl_buf bytes = { 0 };
		X509_CRL *crl;
		int e = file_read("--snp-crl", o->crls.items[i], &bytes, err);

		if (e < 0)
			return e;
		crl = cert_crl_read(bytes.data, bytes.len_bytes);
		if (!crl)
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
				       "--snp-crl '%s': it is no revocation list, in PEM or DER",
				       o->crls.items[i]);
		if (sk_X509_CRL_push(r->crls, crl) <= 0) {
			X509_CRL_free(crl);
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for revocation lists");
		}
		if (X509_STORE_add_crl(r->store, crl) != 1)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for revocation lists");
	}
	return 0;
}

static int leasts_load(struct snp_rules *r, const struct snp_options *o, struct tl_error *err)
{
	for (size_t i = 0; i < o->min_tcbs.n; i++) {
		int e = snp_least_parse(o->min_tcbs.items[i], &r->leasts[i], err);

		if (e < 0)
			return tl_wrap(err, e, "--snp-min-tcb");
		r->leasts_n = i + 1;
	}
	return 0;
}

int snp_rules_load(const struct snp_options *o, struct snp_rules **ret, struct tl_error *err)
{
	auto_snp_rules struct snp_rules *r = NULL;
	int e = combination_check(o, err);

	*ret = NULL;
	if (e < 0 || !o->roots.n)
		return e;
	r = calloc(1, sizeof(*r));
	if (r) {
		r->store = X509_STORE_new();
		r->between = sk_X509_new_null();
		r->keys = sk_X509_new_null();
		r->crls = sk_X509_CRL_new_null();
	}
	if (!r || !r->store || !r->between || !r->keys || !r->crls)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for rules of SEV-SNP");
	e = roots_load(r, o, err);
	if (e == 0)
		e = keys_load(r, o, err);
	if (e == 0)
		e = crls_load(r, o, err);
	if (e == 0)
		e = leasts_load(r, o, err);
	if (e == 0)
		*ret = take_ptr(r);
	return e;
}

struct snp_rules *snp_rules_free(struct snp_rules *r)
{
	if (!r)
		return NULL;
	X509_STORE_free(r->store);
	sk_X509_pop_free(r->between, X509_free);
	sk_X509_pop_free(r->keys, X509_free);
	sk_X509_CRL_pop_free(r->crls, X509_CRL_free);
	free(r);
	return NULL;
}
