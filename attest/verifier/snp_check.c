/* SPDX-License-Identifier: Apache-2.0 */
#include "snp_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include <teelaunch/cleanup.h>

/* OpenSSL wants signatures in DER. */
static int der_make(const struct snp_report *report, unsigned char **ret)
{
	auto_ecdsa ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_lebin2bn(report->r, SNP_SIGNATURE_PART, NULL);
	BIGNUM *s = BN_lebin2bn(report->s, SNP_SIGNATURE_PART, NULL);

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1)
		return i2d_ECDSA_SIG(sig, ret);
	BN_free(r);
	BN_free(s);
	return -1;
}

static void signature_check(const struct snp_report *report, EVP_PKEY *key,
			    struct refusals *refusals)
{
	auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	auto_openssl unsigned char *der = NULL;
	int n = der_make(report, &der);
	bool is_good =
		ctx && n > 0 &&
		EVP_DigestVerifyInit_ex(ctx, NULL, "SHA384", NULL, NULL, key, NULL) == 1 &&
		EVP_DigestVerify(ctx, der, (size_t)n, report->signed_part, SNP_SIGNED_BYTES) == 1;

	ERR_clear_error();
	if (!is_good)
		refuse(refusals, TL_E_VERIFY_SNP_SIGNATURE,
		       "the SEV-SNP report is not signed by the key of its certificate");
}

static void nonce_check(const struct snp_report *report, const uint8_t *nonce, size_t nonce_n,
			struct refusals *refusals)
{
	uint8_t due[SNP_REPORT_DATA] = { 0 };

	memcpy(due, nonce, nonce_n < sizeof(due) ? nonce_n : sizeof(due));
	if (nonce_n <= sizeof(due) && CRYPTO_memcmp(due, report->report_data, sizeof(due)) == 0)
		return;
	refuse(refusals, TL_E_VERIFY_NONCE,
	       "the SEV-SNP report carries another nonce than this challenge's, with zeros behind "
	       "it");
	refuse_bytes(refusals, due, sizeof(due), report->report_data, sizeof(due));
}

static const char *policy_fault(const struct snp_report *report)
{
	if (report->policy & (SNP_POLICY_DEBUG | SNP_POLICY_MIGRATION))
		return "may be debugged or migrated by its host";
	if (!(report->policy & SNP_POLICY_ONE) || (report->policy & ~SNP_POLICY_KNOWN))
		return "has a policy with bits that are not known here";
	if ((report->policy & SNP_POLICY_ABI) > report->abi)
		return "asks for a newer ABI than the firmware says it has";
	return NULL;
}

static void guest_check(const struct snp_report *report, struct refusals *refusals)
{
	const char *fault = policy_fault(report);
	char found[40];

	if (!fault)
		return;
	(void)snprintf(found, sizeof(found), "%016" PRIx64 ", ABI %04x", report->policy,
		       report->abi);
	refuse(refusals, TL_E_VERIFY_SNP_GUEST, "the guest %s (policy %s)", fault, found);
	refuse_values(refusals, "none of the bits fffffffffc0c0000, and 20000", found);
}

/* What the host handed out, or else what the verifier was given for this chip and patch level. */
static X509 *certificate_find(const struct snp_rules *rules, const struct snp_report *report,
			      const struct snp_span *span)
{
	for (int i = 0; !span->n && i < sk_X509_num(rules->keys); i++) {
		auto_snp_key struct snp_key key = { 0 };
		X509 *cert = sk_X509_value(rules->keys, i);
		struct snp_tcb reported;

		if (snp_key_read(cert, &key, NULL) < 0 || key.kind != report->signing_key)
			continue;
		reported = snp_tcb_of(report->reported_tcb, key.has_fmc);
		if (snp_tcb_is_equal(&key.tcb, &reported) &&
		    (key.kind == SNP_KEY_VLEK ||
		     memcmp(key.chip_id, report->chip_id, SNP_CHIP_ID) == 0) &&
		    X509_up_ref(cert) == 1)
			return cert;
	}
	return cert_any_read(span->data, span->n);
}

static int path_refuse(struct refusals *refusals, int at, const char *what)
{
	refuse(refusals, TL_E_VERIFY_SNP_CHAIN,
	       "the certificate of the key that signs SEV-SNP reports doesn't lead to the root: "
	       "certificate %d of the path: %s",
	       at, what);
	return -1;
}

static bool is_listed_by(const struct snp_rules *rules, const X509_NAME *issuer)
{
	for (int i = 0; i < sk_X509_CRL_num(rules->crls); i++)
		if (X509_NAME_cmp(X509_CRL_get_issuer(sk_X509_CRL_value(rules->crls, i)), issuer) ==
		    0)
			return true;
	return false;
}

/*
 * AMD's lists are the roots', of what is between (AMD 57230, "crl"). Nobody lists keys: they end
 * with their patch level. So a list is demanded for the former alone, and heeded for both.
 */
static int revocation_check(const struct snp_rules *rules, STACK_OF(X509) * path, int64_t now_s,
			    struct refusals *refusals)
{
	for (int i = 0; sk_X509_CRL_num(rules->crls) && i < sk_X509_num(path) - 1; i++) {
		X509 *cert = sk_X509_value(path, i);
		int depth, result;

		if (i == 0 && !is_listed_by(rules, X509_get_issuer_name(cert)))
			continue;
		result = cert_path_check(rules->store, cert, path, now_s, SNP_CHAIN_DEPTH,
					 X509_V_FLAG_CRL_CHECK, NULL, &depth);
		if (result != X509_V_OK)
			return path_refuse(refusals, i, X509_verify_cert_error_string(result));
	}
	return 0;
}

/* AMD 57230: of keys and of what is between. The root signs itself, which proves nothing. */
static bool is_signed_as_due(X509 *cert)
{
	int digest = NID_undef, algorithm = NID_undef;

	return X509_get_signature_info(cert, &digest, &algorithm, NULL, NULL) == 1 &&
	       digest == NID_sha384 && algorithm == NID_rsassaPss;
}

static int path_check(const struct snp_rules *rules, const struct snp_certs *certs, X509 *leaf,
		      int64_t now_s, struct refusals *refusals)
{
	auto_x509_stack STACK_OF(X509) *between = X509_chain_up_ref(rules->between);
	auto_x509_stack STACK_OF(X509) *path = NULL;
	auto_x509 X509 *ask = cert_any_read(certs->ask.data, certs->ask.n);
	int depth = 0, result = X509_V_ERR_OUT_OF_MEM;

	if (between && (!ask || X509_add_cert(between, ask, X509_ADD_FLAG_UP_REF) == 1))
		result = cert_path_check(rules->store, leaf, between, now_s, SNP_CHAIN_DEPTH, 0,
					 &path, &depth);
	if (result != X509_V_OK)
		return path_refuse(refusals, depth, X509_verify_cert_error_string(result));
	for (int i = 0; i < sk_X509_num(path) - 1; i++)
		if (!is_signed_as_due(sk_X509_value(path, i)))
			return path_refuse(refusals, i,
					   "it isn't signed with RSASSA-PSS and SHA-384");
	return revocation_check(rules, path, now_s, refusals);
}

/* Whose key it is, and of which patch level. */
static void key_check(const struct snp_report *report, const struct snp_key *key,
		      struct refusals *refusals)
{
	struct snp_tcb reported = snp_tcb_of(report->reported_tcb, key->has_fmc);
	char due[SNP_TCB_TEXT_MAX], found[SNP_TCB_TEXT_MAX];

	if (key->kind != report->signing_key)
		refuse(refusals, TL_E_VERIFY_SNP_CHAIN,
		       "the SEV-SNP report is by a %s, the certificate is a %s's",
		       report->signing_key == SNP_KEY_VLEK ? "VLEK" : "VCEK",
		       key->kind == SNP_KEY_VLEK ? "VLEK" : "VCEK");
	if (key->kind == SNP_KEY_VCEK && memcmp(key->chip_id, report->chip_id, SNP_CHIP_ID) != 0) {
		refuse(refusals, TL_E_VERIFY_SNP_CHAIN,
		       "the SEV-SNP report is of another chip than the certificate");
		refuse_bytes(refusals, key->chip_id, SNP_CHIP_ID, report->chip_id, SNP_CHIP_ID);
	}
	if (snp_tcb_is_equal(&key->tcb, &reported))
		return;
	snp_tcb_text(&key->tcb, due);
	snp_tcb_text(&reported, found);
	refuse(refusals, TL_E_VERIFY_SNP_CHAIN, "the SEV-SNP report says %s, the certificate %s",
	       found, due);
	refuse_values(refusals, due, found);
}

static void least_check(const struct snp_least *least, const struct snp_tcb *found,
			const char *when, struct refusals *refusals)
{
	char due_text[SNP_TCB_TEXT_MAX], found_text[SNP_TCB_TEXT_MAX];

	if (snp_tcb_is_at_least(found, &least->tcb))
		return;
	snp_tcb_text(&least->tcb, due_text);
	snp_tcb_text(found, found_text);
	refuse(refusals, TL_E_VERIFY_SNP_TCB, "the platform%s is at %s, which is below %s of %s",
	       when, found_text, due_text, least->product);
	refuse_values(refusals, due_text, found_text);
}

static void tcb_check(const struct snp_rules *rules, const struct snp_report *report,
		      const struct snp_key *key, struct refusals *refusals)
{
	struct snp_tcb launch = snp_tcb_of(report->launch_tcb, key->has_fmc);

	for (size_t i = 0; i < rules->leasts_n; i++) {
		if (strcmp(rules->leasts[i].product, key->product) != 0)
			continue;
		least_check(&rules->leasts[i], &key->tcb, "", refusals);
		least_check(&rules->leasts[i], &launch, ", when the guest was started,", refusals);
		return;
	}
	if (rules->leasts_n)
		refuse(refusals, TL_E_VERIFY_SNP_TCB,
		       "there is no --snp-min-tcb for the product '%s'", key->product);
}

static void signer_check(const struct snp_rules *rules, const struct snp_report *report,
			 const struct snp_certs *certs, int64_t now_s, struct snp_claims *ret,
			 struct refusals *refusals)
{
	const struct snp_span *span =
		report->signing_key == SNP_KEY_VLEK ? &certs->vlek : &certs->vcek;
	auto_x509 X509 *leaf = certificate_find(rules, report, span);
	auto_snp_key struct snp_key key = { 0 };
	struct tl_error err = { 0 };

	if (!leaf) {
		refuse(refusals, TL_E_VERIFY_SNP_CHAIN,
		       "there is no %s of this chip and patch level, neither beside the SEV-SNP "
		       "report nor with --snp-key",
		       report->signing_key == SNP_KEY_VLEK ? "VLEK" : "VCEK");
		return;
	}
	if (path_check(rules, certs, leaf, now_s, refusals) < 0)
		return;
	if (snp_key_read(leaf, &key, &err) < 0) {
		refuse_error(refusals, &err);
		return;
	}
	memcpy(ret->product, key.product, sizeof(ret->product));
	ret->tcb = key.tcb;
	signature_check(report, key.key, refusals);
	key_check(report, &key, refusals);
	tcb_check(rules, report, &key, refusals);
}

void snp_evidence_check(const struct snp_rules *rules, const struct snp_evidence *evidence,
			const uint8_t *nonce, size_t nonce_n, int64_t now_s, struct snp_claims *ret,
			struct refusals *refusals)
{
	struct snp_report report;
	struct snp_certs certs = { 0 };
	struct tl_error err = { 0 };

	if (snp_report_parse(evidence->report.data, evidence->report.len_bytes, &report, &err) <
		    0 ||
	    snp_certs_parse(evidence->certs.data, evidence->certs.len_bytes, &certs, &err) < 0) {
		refuse_error(refusals, &err);
		return;
	}
	signer_check(rules, &report, &certs, now_s, ret, refusals);
	nonce_check(&report, nonce, nonce_n, refusals);
	guest_check(&report, refusals);
	ret->is_checked = true;
	ret->is_tcb_judged = rules->leasts_n > 0;
	ret->is_revocation_checked = sk_X509_CRL_num(rules->crls) > 0;
	ret->report = report;
	ret->report.signed_part = ret->report.r = ret->report.s = NULL;
}
