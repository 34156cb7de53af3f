/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_options.h"

#include <errno.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "tdx_rules.h"

void tdx_options_done(struct tdx_options *o)
{
	tl_strv_done(&o->crls);
	tl_strv_done(&o->tcb_infos);
	tl_strv_done(&o->tcb_accepts);
}

static int combination_check(const struct tdx_options *o, struct tl_error *err)
{
	unsigned int tcb =
		(o->tcb_signing != NULL) + (o->tcb_infos.n > 0) + (o->qe_identity != NULL);

	if (!o->root)
		return tcb || o->crls.n || o->tcb_accepts.n || o->is_without_tcb
			       ? tl_fail(err, TL_E_USAGE, EINVAL,
					 "the options of TDX need --tdx-root")
			       : 0;
	if (o->is_without_tcb ? tcb || o->tcb_accepts.n : tcb != 3)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--tdx-root needs --tdx-tcb-signing, --tdx-tcb-info and "
			       "--tdx-qe-identity, all three; or --tdx-without-tcb instead of them "
			       "and of --tdx-tcb-accept: then a platform may have any known hole");
	return 0;
}

/* What a load fills. */
struct load {
	struct tdx_rules *rules;
	int64_t now_s;
};

typedef int (*file_user)(struct load *l, const char *bytes, size_t n, struct tl_error *err);

static int use_root(struct load *l, const char *bytes, size_t n, struct tl_error *err)
{
	return tdx_rules_new(bytes, n, &l->rules, err);
}

static int use_crl(struct load *l, const char *bytes, size_t n, struct tl_error *err)
{
	return tdx_rules_add_crl(l->rules, bytes, n, err);
}

static int use_signing(struct load *l, const char *bytes, size_t n, struct tl_error *err)
{
	return tdx_rules_set_signer(l->rules, bytes, n, l->now_s, err);
}

static int use_tcb_info(struct load *l, const char *bytes, size_t n, struct tl_error *err)
{
	return tdx_rules_add_tcb_info(l->rules, bytes, n, err);
}

static int use_qe_identity(struct load *l, const char *bytes, size_t n, struct tl_error *err)
{
	return tdx_rules_set_qe_identity(l->rules, bytes, n, err);
}

static int file_use(struct load *l, const char *option, const char *file, file_user use,
		    struct tl_error *err)
{
	auto_buf struct tl_buf bytes = { .max_bytes = TDX_COLLATERAL_MAX };
	int r = tl_file_read(file, &bytes, err);

	if (r == 0)
		r = use(l, tl_buf_str(&bytes), bytes.len_bytes, err);
	return tl_wrap(err, r, "%s '%s'", option, file);
}

static int files_use(struct load *l, const char *option, const struct tl_strv *files, file_user use,
		     struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < files->n; i++)
		r = file_use(l, option, files->items[i], use, err);
	return r;
}

static int tcb_load(struct load *l, const struct tdx_options *o, struct tl_error *err)
{
	int r = file_use(l, "--tdx-tcb-signing", o->tcb_signing, use_signing, err);

	if (r == 0)
		r = files_use(l, "--tdx-tcb-info", &o->tcb_infos, use_tcb_info, err);
	if (r == 0)
		r = file_use(l, "--tdx-qe-identity", o->qe_identity, use_qe_identity, err);
	for (size_t i = 0; r == 0 && i < o->tcb_accepts.n; i++)
		r = tl_wrap(err, tdx_rules_accept(l->rules, o->tcb_accepts.items[i], err),
			    "--tdx-tcb-accept");
	return r;
}

int tdx_rules_load(const struct tdx_options *o, int64_t now_s, struct tdx_rules **ret,
		   struct tl_error *err)
{
	struct load l = { .now_s = now_s };
	int r = combination_check(o, err);

	*ret = NULL;
	if (r < 0 || !o->root)
		return r;
	r = file_use(&l, "--tdx-root", o->root, use_root, err);
	if (r == 0)
		r = files_use(&l, "--tdx-crl", &o->crls, use_crl, err);
	if (r == 0 && !o->is_without_tcb)
		r = tcb_load(&l, o, err);
	if (r == 0)
		*ret = take_ptr(l.rules);
	(void)tdx_rules_free(l.rules);
	return r;
}
