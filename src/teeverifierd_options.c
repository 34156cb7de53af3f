/* SPDX-License-Identifier: Apache-2.0 */
#include "teeverifierd_options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#define LISTEN_DEFAULT          "127.0.0.1:8443"
#define SWNAME_DEFAULT          "CONFIDENTIAL_SPACE"
#define CHALLENGE_TTL_S_DEFAULT 300
#define CHALLENGE_TTL_S_MAX     3600
#define TOKEN_TTL_S_DEFAULT     3600
#define TOKEN_TTL_S_MAX         86400
#define THREADS_MAX             64

#define AT(field) offsetof(struct settings, field)

const struct setting_row setting_rows[] = {
	{ "listen", "HOST:PORT", SETTING_TEXT, AT(verifier.listen), 0,
	  "numeric address; port 0 is any free one (" LISTEN_DEFAULT ")" },
	{ "port-file", "FILE", SETTING_TEXT, AT(port_file), 0,
	  "write the port there once the verifier serves" },
	{ "tls-cert", "FILE", SETTING_TEXT, AT(verifier.tls_cert), 0,
	  "PEM: the server's certificate and chain (needed)" },
	{ "tls-key", "FILE", SETTING_TEXT, AT(verifier.tls_key), 0,
	  "PEM: the key of that certificate (needed)" },
	{ "issuer", "URL", SETTING_TEXT, AT(verifier.issuer), 0,
	  "'iss' of tokens, and where clients find the discovery document (https://HOST:PORT)" },
	{ "token-key", "FILE", SETTING_LIST, AT(verifier.token_keys), 0,
	  "PEM, one or more keys, RSA or P-256; the first of all signs, all are published "
	  "(needed)" },
	{ "pki-key", "FILE", SETTING_TEXT, AT(verifier.pki_key), 0,
	  "PEM, RSA or P-256: signs tokens of the PKI kind; without it there are none" },
	{ "pki-chain", "FILE", SETTING_TEXT, AT(verifier.pki_chain), 0,
	  "PEM: the certificate of that key and its issuers in order, sent as x5c" },
	{ "ak-roots", "NAME=FILE", SETTING_LIST, AT(verifier.ak_roots), 0,
	  "PEM: roots of attestation keys; NAME becomes the claim hwmodel (needed)" },
	{ "ak-intermediates", "FILE", SETTING_LIST, AT(verifier.ak_intermediates), 0,
	  "PEM: certificates between attestation keys and roots" },
	{ "reference", "FILE", SETTING_LIST, AT(verifier.references), 0,
	  ".measurements.json of an image that may boot; any other is refused (which image booted "
	  "isn't judged)" },
	{ "tdx-root", "FILE", SETTING_TEXT, AT(verifier.tdx.root), 0,
	  "PEM: Intel's root of TDX platforms; without it TDX evidence is refused" },
	{ "tdx-tcb-signing", "FILE", SETTING_TEXT, AT(verifier.tdx.tcb_signing), 0,
	  "PEM: the certificate below that root that signs the next two" },
	{ "tdx-tcb-info", "FILE", SETTING_LIST, AT(verifier.tdx.tcb_infos), 0,
	  "JSON as Intel served it: TCB info of one kind of platform (FMSPC)" },
	{ "tdx-qe-identity", "FILE", SETTING_TEXT, AT(verifier.tdx.qe_identity), 0,
	  "JSON as Intel served it: the identity of the quoting enclave" },
	{ "tdx-tcb-accept", "STATUS", SETTING_LIST, AT(verifier.tdx.tcb_accepts), 0,
	  "TCB status that is accepted too, of platform, TDX module and quoting enclave (UpToDate "
	  "alone)" },
	{ "tdx-without-tcb", NULL, SETTING_FLAG, AT(verifier.tdx.is_without_tcb), 0,
	  "instead of the four above: patch levels are not judged, and tokens say so" },
	{ "tdx-crl", "FILE", SETTING_LIST, AT(verifier.tdx.crls), 0,
	  "revocation list, PEM or DER; with one, every CA below the root and the root needs one "
	  "(revocation isn't judged, and tokens say so)" },
	{ "snp-root", "FILE", SETTING_LIST, AT(verifier.snp.roots), 0,
	  "PEM: AMD's roots (ARK) of SEV-SNP and what they signed (ASK, ASVK), of each product; "
	  "without it SEV-SNP reports are refused" },
	{ "snp-key", "FILE", SETTING_LIST, AT(verifier.snp.keys), 0,
	  "PEM: certificates of keys that sign reports (VCEK, VLEK), for hosts that hand out "
	  "none" },
	{ "snp-min-tcb", "TCB", SETTING_LIST, AT(verifier.snp.min_tcbs), 0,
	  "PRODUCT:bootloader=N,tee=N,snp=N,microcode=N[,fmc=N]: the least that is accepted of it, "
	  "as "
	  "Milan; other products are refused" },
	{ "snp-without-tcb", NULL, SETTING_FLAG, AT(verifier.snp.is_without_tcb), 0,
	  "instead: patch levels are not judged, and tokens say so" },
	{ "snp-crl", "FILE", SETTING_LIST, AT(verifier.snp.crls), 0,
	  "revocation list of a product's ARK, PEM or DER; with one, every product needs one "
	  "(revocation isn't judged, and tokens say so)" },
	{ "require-tee", "tdx|snp", SETTING_LIST, AT(verifier.required_tees), 0,
	  "evidence must have a processor's report of that kind; given twice, of one of the two "
	  "(no demand)" },
	{ "challenge-key", "FILE", SETTING_LIST, AT(verifier.challenge_keys), 0,
	  "32 bytes or more that all replicas share; the first makes challenges, all are accepted "
	  "(random, for this process alone)" },
	{ "challenge-ttl-s", "N", SETTING_NUMBER, AT(verifier.challenge_ttl_s), CHALLENGE_TTL_S_MAX,
	  "life of a challenge (300)" },
	{ "token-ttl-s", "N", SETTING_NUMBER, AT(verifier.token_ttl_s), TOKEN_TTL_S_MAX,
	  "life of a token (3600)" },
	{ "threads", "N", SETTING_NUMBER, AT(verifier.threads), THREADS_MAX,
	  "that serve (as many as processors)" },
	{ "swname", "TEXT", SETTING_TEXT, AT(verifier.swname), 0,
	  "claim swname; the family of software that the images belong to (" SWNAME_DEFAULT ")" },
	{ "swversion", "TEXT", SETTING_TEXT, AT(verifier.swversion), 0,
	  "claim swversion, unless --reference gives it (empty)" },
	{ "identity-jwks", "FILE", SETTING_TEXT, AT(verifier.identity_jwks), 0,
	  "keys that sign identity tokens; without it they are not looked at and "
	  "google_service_accounts is empty" },
	{ "identity-issuer", "TEXT", SETTING_TEXT, AT(verifier.identity_issuer), 0,
	  "'iss' that identity tokens must have" },
	{ "callers", "FILE", SETTING_TEXT, AT(verifier.callers), 0,
	  "bearer tokens that may call, one a line; without it callers are not checked" },
	{ "explain", NULL, SETTING_FLAG, AT(verifier.explain), 0,
	  "answers to refused evidence say of each check what it expected and found" },
	{ "decision-log", "FILE", SETTING_TEXT, AT(decision_log), 0,
	  "append one line of JSON a verification ('-': standard output)" },
	{ "log-claims", NULL, SETTING_FLAG, AT(verifier.log_claims), 0,
	  "decision lines have the claims of the token, variables of the workload included" },
	{ "log-level", "err|warning|info|debug", SETTING_TEXT, AT(log_level), 0,
	  "what is logged, from there up (info)" },
	{ "help", NULL, SETTING_FLAG, AT(is_help), 0, "this text" },
	{ "version", NULL, SETTING_FLAG, AT(is_version), 0, "the version" },
};
#define ROWS_N TL_ARRAY_SIZE(setting_rows)
const size_t setting_rows_n = ROWS_N;

void settings_help(void)
{
	(void)printf("Usage: teeverifierd --tls-cert FILE --tls-key FILE --token-key FILE "
		     "--ak-roots NAME=FILE [options]\n\n"
		     "Checks evidence of confidential machines and issues OIDC tokens.\n\n");
	for (size_t i = 0; i < ROWS_N; i++)
		(void)printf("  --%s%s%s\n        %s\n", setting_rows[i].name,
			     setting_rows[i].value ? " " : "",
			     setting_rows[i].value ? setting_rows[i].value : "",
			     setting_rows[i].help);
}

static int option_set(struct settings *s, const struct setting_row *row, const char *value,
		      struct tl_error *err)
{
	void *field = (char *)s + row->offset;

	switch (row->kind) {
	case SETTING_TEXT:
		*(const char **)field = value;
		return 0;
	case SETTING_FLAG:
		*(bool *)field = true;
		return 0;
	case SETTING_LIST:
		if (tl_strv_add(field, value) == 0)
			return 0;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for options");
	case SETTING_NUMBER:
		if (tl_str_parse_u64(value, row->max, field) == 0 && *(uint64_t *)field > 0)
			return 0;
		return tl_fail(err, TL_E_USAGE, EINVAL, "--%s '%s' must be 1 to %" PRIu64,
			       row->name, value, row->max);
	}
	return tl_fail(err, TL_E_INTERNAL, EINVAL, "option '%s' has no kind", row->name);
}

int settings_parse(int argc, char **argv, struct settings *s, struct tl_error *err)
{
	struct option longs[ROWS_N + 1] = { 0 };
	int at = 0;

	for (size_t i = 0; i < ROWS_N; i++)
		longs[i] = (struct option){ setting_rows[i].name,
					    setting_rows[i].value ? required_argument : no_argument,
					    NULL, 'v' };
	for (int c; (c = getopt_long(argc, argv, "", longs, &at)) != -1;) {
		int r;

		if (c == '?')
			return tl_fail(err, TL_E_USAGE, EINVAL, "see teeverifierd --help");
		r = option_set(s, &setting_rows[at], optarg, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return tl_fail(err, TL_E_USAGE, EINVAL, "'%s' is no option", argv[optind]);
	return 0;
}

int settings_check(const struct settings *s, struct tl_error *err)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "err", LOG_ERR },
		{ "warning", LOG_WARNING },
		{ "info", LOG_INFO },
		{ "debug", LOG_DEBUG },
	};

	if (!s->verifier.tls_cert || !s->verifier.tls_key)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--tls-cert and --tls-key are needed");
	for (size_t i = 0; i < TL_ARRAY_SIZE(levels); i++) {
		if (strcmp(levels[i].name, s->log_level) == 0) {
			tl_log_set_level(levels[i].level);
			return 0;
		}
	}
	return tl_fail(err, TL_E_USAGE, EINVAL,
		       "--log-level '%s' must be err, warning, info or debug", s->log_level);
}

struct settings settings_defaults(void)
{
	return (struct settings){
		.verifier = { .listen = LISTEN_DEFAULT,
			      .swname = SWNAME_DEFAULT,
			      .challenge_ttl_s = CHALLENGE_TTL_S_DEFAULT,
			      .token_ttl_s = TOKEN_TTL_S_DEFAULT },
		.log_level = "info",
		.decisions = DECISIONS_NOWHERE,
	};
}

void settings_done(struct settings *s)
{
	decisions_done(&s->decisions);
	tl_strv_done(&s->verifier.token_keys);
	tl_strv_done(&s->verifier.ak_roots);
	tl_strv_done(&s->verifier.ak_intermediates);
	tl_strv_done(&s->verifier.references);
	tdx_options_done(&s->verifier.tdx);
	snp_options_done(&s->verifier.snp);
	tl_strv_done(&s->verifier.required_tees);
	tl_strv_done(&s->verifier.challenge_keys);
}
