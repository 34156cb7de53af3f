/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/option_table.h>

#include "judge.h"

#define COMMAND "teelaunch verify"

enum { STATUS_GOOD = 0, STATUS_FAILED = 1, STATUS_REFUSED = 2, STATUS_MALFORMED = 3 };

static int set_expect(void *ctx, const struct tl_option *option, const char *value)
{
	struct verify *v = ctx;

	return *value ? tl_strv_add(&v->expect_paths, value) : tl_option_refuse(option, value);
}

static int set_crl(void *ctx, const struct tl_option *option, const char *value)
{
	struct verify *v = ctx;

	return *value ? tl_strv_add(&v->tdx.crls, value) : tl_option_refuse(option, value);
}

static int set_tcb_info(void *ctx, const struct tl_option *option, const char *value)
{
	struct verify *v = ctx;

	return *value ? tl_strv_add(&v->tdx.tcb_infos, value) : tl_option_refuse(option, value);
}

static int set_tcb_accept(void *ctx, const struct tl_option *option, const char *value)
{
	struct verify *v = ctx;

	return *value ? tl_strv_add(&v->tdx.tcb_accepts, value) : tl_option_refuse(option, value);
}

#define FIELD(name) offsetof(struct verify, name)

static const struct tl_option option_rows[] = {
	{ "evidence", "FILE", tl_option_text, FIELD(evidence_path),
	  "what POST /v1/evidence of the token socket returned, or the body of a request to a\n"
	  "verifier; - is stdin" },
	{ "nonce", "HEX", tl_option_text, FIELD(nonce_hex),
	  "the challenge that was sent for it; of a verifier's request, its tpmNonce" },
	{ "ak-roots", "PEM", tl_option_text, FIELD(ak_roots),
	  "the roots that may vouch for the attestation key" },
	{ "ak-intermediates", "PEM", tl_option_text, FIELD(ak_intermediates),
	  "certificates below them, if the evidence brings none along" },
	{ "tdx-root", "PEM", tl_option_text, FIELD(tdx.root),
	  "Intel's root, for evidence of TDX; this and the next are as for teeverifierd(8)" },
	{ "tdx-tcb-signing", "PEM", tl_option_text, FIELD(tdx.tcb_signing),
	  "the certificate that signs Intel's statements" },
	{ "tdx-tcb-info", "FILE", set_tcb_info, 0, "TCB info; may be repeated" },
	{ "tdx-qe-identity", "FILE", tl_option_text, FIELD(tdx.qe_identity),
	  "the identity of the quoting enclave" },
	{ "tdx-tcb-accept", "STATUS", set_tcb_accept, 0,
	  "a TCB status to accept beside UpToDate; may be repeated" },
	{ "tdx-without-tcb", NULL, tl_option_flag, FIELD(tdx.is_without_tcb),
	  "instead of the four above: patch levels are not judged" },
	{ "tdx-crl", "FILE", set_crl, 0, "revocation list, PEM or DER; may be repeated" },
	{ "token", "FILE", tl_option_text, FIELD(token_path), "a token; - is stdin" },
	{ "jwks", "FILE|URL", tl_option_text, FIELD(jwks),
	  "the issuer's key set; a URL must be https, or http on 127.0.0.1 or [::1]" },
	{ "jwks-roots", "PEM", tl_option_text, FIELD(jwks_roots),
	  "the only roots that may vouch for that URL's server" },
	{ "audience", "A", tl_option_text, FIELD(audience), "that the token must be for" },
	{ "expect", "FILE", set_expect, 0,
	  "what it must say: the output of `teelaunch measure --json`; for evidence also an "
	  "image's\n"
	  ".measurements.json; may be repeated" },
	{ "json", NULL, tl_option_flag, FIELD(is_json),
	  "one JSON document, schema teelaunch.verify/1" },
};

const struct tl_options verify_options = {
	.command = COMMAND,
	.rows = option_rows,
	.n = TL_ARRAY_SIZE(option_rows),
	.usage = "teelaunch verify --evidence FILE --nonce HEX --ak-roots PEM [OPTION]...\n"
		 "       teelaunch verify --token FILE --jwks FILE|URL [--audience A] "
		 "[OPTION]...\n\n"
		 "Is this evidence, or this token, good? And if not, why exactly?",
	.exit_status = "Exit status: 0 good, 2 checked and refused, 3 not evidence, not a token, "
		       "not a key set\n"
		       "or not an expectation, 1 the command itself failed.",
};

static int usage_fail(const char *what)
{
	fprintf(stderr, COMMAND ": %s\n", what);
	return -EINVAL;
}

static int options_check(const struct verify *v)
{
	if (!v->evidence_path == !v->token_path)
		return usage_fail("one of --evidence and --token is needed");
	if (v->evidence_path && (!v->nonce_hex || (!v->ak_roots && !v->tdx.root)))
		return usage_fail("--evidence needs --nonce and --ak-roots, or --tdx-root");
	if (v->evidence_path && (v->jwks || v->jwks_roots || v->audience))
		return usage_fail("--jwks, --jwks-roots and --audience are for --token");
	if (v->token_path && !v->jwks)
		return usage_fail("--token needs --jwks");
	if (v->token_path && (v->nonce_hex || v->ak_roots || v->ak_intermediates || v->tdx.root))
		return usage_fail("--nonce, --ak-roots, --ak-intermediates and --tdx-root are for "
				  "--evidence");
	return 0;
}

int verify_file_read(const char *path, size_t max, struct tl_buf *ret, struct tl_error *err)
{
	tl_buf_init(ret, max);
	return tl_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, ret, err);
}

const char *verify_unchecked(const struct verify *v, size_t i)
{
	const struct {
		const char *what;
		bool is_unchecked;
	} checks[] = {
		{ "what was launched: no prediction is given with --expect",
		  !v->expect.prediction },
		{ "what the launch record says: it didn't come with the evidence (fields=...,"
		  "launchRecordLog), and no prediction has its register",
		  v->evidence_path && v->is_record_missing &&
			  !json_is_object(json_object_get(v->expect.prediction, "pcr15")) },
		{ "what the launch record says: a TD has no register of it", v->is_td },
		{ "patch levels of the TDX platform: --tdx-without-tcb",
		  v->is_td && v->tdx.is_without_tcb },
		{ "whether certificates of the TDX platform were revoked: --tdx-crl is not given",
		  v->is_td && !v->tdx.crls.n },
		{ "which machine it is: a certificate without a quote by its key proves none",
		  v->is_td },
		{ "what the launch record says (mounts, capabilities, disk, options of the unit): "
		  "the "
		  "token has none",
		  v->token_path && v->is_record_missing },
		{ "what the prediction leaves open: see its holes",
		  json_array_size(json_object_get(v->expect.prediction, "holes")) > 0 },
		{ "secboot, swname and iss: hold them against what you want yourself",
		  v->token_path },
		{ "which VM image booted: no measurements of one are given with --expect",
		  v->evidence_path && !v->expect.images.n },
		{ "whom the token is for: --audience is not given", v->token_path && !v->audience },
	};

	for (size_t k = 0; k < TL_ARRAY_SIZE(checks); k++)
		if (checks[k].is_unchecked && i-- == 0)
			return checks[k].what;
	return NULL;
}

static bool is_malformed(const struct tl_error *err)
{
	static const enum tl_code codes[] = { TL_E_VERIFY_REQUEST,        TL_E_VERIFY_UNSUPPORTED,
					      TL_E_VERIFY_TOO_LARGE,      TL_E_VERIFY_TOKEN_OPTIONS,
					      TL_E_VERIFY_REFERENCE,      TL_E_VERIFY_KEYS,
					      TL_E_VERIFY_TDX_COLLATERAL, TL_E_TOKEN_MALFORMED };

	for (size_t i = 0; i < TL_ARRAY_SIZE(codes); i++)
		if (err->code == codes[i])
			return true;
	return false;
}

static int verify_run(struct verify *v, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->expect_paths.n; i++)
		r = verify_expect_read(v->expect_paths.items[i], &v->expect, err);
	if (r == 0)
		r = v->evidence_path ? verify_evidence(v, err) : verify_token(v, err);
	if (r == 0)
		r = v->is_json ? verify_print_json(v) : verify_print_text(v);
	return r;
}

static void verify_done(struct verify *v)
{
	tl_strv_done(&v->expect_paths);
	tdx_options_done(&v->tdx);
	verify_expect_done(&v->expect);
	json_decref(v->claims);
}

int verify_main(int argc, char **argv)
{
	struct verify v = { 0 };
	struct tl_error err = { 0 };
	int status, r = tl_options_parse(&verify_options, &v, argc, argv);

	if (r == 0)
		r = options_check(&v);
	if (r) {
		verify_done(&v);
		return r == 1 ? STATUS_GOOD : STATUS_FAILED;
	}
	r = verify_run(&v, &err);
	status = v.refusals.n ? STATUS_REFUSED : STATUS_GOOD;
	verify_done(&v);
	if (r == 0)
		return status;
	judge_failure_print(COMMAND, r, &err);
	return is_malformed(&err) ? STATUS_MALFORMED : STATUS_FAILED;
}
