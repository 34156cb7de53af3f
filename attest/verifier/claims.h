/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claims of a token: those of a Confidential Space token (EAT, RFC 9711), made of nothing but
 * checked evidence and the verifier's own options. Pure.
 *
 *   hwmodel    name under which the root that vouches was given (--ak-roots NAME=PEM); with a TDX
 *              quote "GCP_INTEL_TDX" if the AK's certificate names an instance, else "INTEL_TDX"
 *   oemid      11129 (Google) only if the AK's certificate has Google's instance extension
 *   swname     an option: the family of software that the verifier's images belong to
 *   swversion  the version of the image that booted; without reference values an option, or empty
 *   dbgstat    with reference values: of the image; else of GRUB's kernel command line, as a TPM
 *              quoted it
 *   submods.teelaunch_image  the image that booted, or that it isn't known
 *   submods.launch_record    the launch record whole with "known": true, or {"known": false}
 *   submods.tdx  of a TD: registers, TCB statuses, and what was not checked
 *   sub        the instance's URL as on Google Cloud, else "urn:teelaunch:ak:<sha256 of the AK>"
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include <teelaunch/error.h>

#include "evidence_check.h"

#define CLAIMS_TTL_S_DEFAULT   3600
#define CLAIMS_TTL_S_MAX       86400
#define CLAIMS_OEMID_GOOGLE    11129
#define CLAIMS_HWMODEL_GCP_TDX "GCP_INTEL_TDX"
#define CLAIMS_HWMODEL_TDX     "INTEL_TDX"
#define CLAIMS_HWMODEL_GCP_SNP "GCP_AMD_SEV_SNP"
#define CLAIMS_HWMODEL_SNP     "AMD_SEV_SNP"
#define CLAIMS_SWNAME_DEFAULT  "CONFIDENTIAL_SPACE"
#define CLAIMS_PROFILE                                                                             \
	"https://cloud.google.com/confidential-computing/confidential-space/docs/reference/"       \
	"token-claims"

struct claims_options {
	const char *issuer;
	const char *swname;
	const char *swversion; /* NULL: the claim is an empty list */
	uint64_t ttl_s;
};

/**
 * @end_s  a token ends then at the latest
 * @ret    a new reference, set on success only
 * Codes: TL_E_NO_MEMORY, TL_E_INTERNAL, TL_E_VERIFY_TOKEN_OPTIONS (claims_aws.h).
 */
int claims_build(const struct claims_options *opt, const struct token_options *token,
		 const struct checked_evidence *ev, int64_t now_s, int64_t end_s, json_t **ret,
		 struct tl_error *err);

/* Parts of them, each a new reference; NULL on lack of memory. */
/** submods.container: what the launch log says, and which signatures of the image are good. */
json_t *claims_container(const struct launch_claims *l,
			 const struct checked_signatures *signatures);
/** All of submods. */
json_t *claims_submods(const struct checked_evidence *ev);

/** The claim dbgstat (RFC 9711, 4.2.9). */
const char *claims_dbgstat(const struct checked_evidence *ev);

/** The claim hwmodel. Static, or borrowed from @ev. */
const char *claims_hwmodel(const struct checked_evidence *ev);
