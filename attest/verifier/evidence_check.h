/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All checks of one machine's evidence, in one place. Pure but for OpenSSL: time and nonce are
 * values, so evidence can be judged offline, and again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/str.h>

#include "ak_chain.h"
#include "boot_claims.h"
#include "identity.h"
#include "image_check.h"
#include "image_signatures.h"
#include "launch_log.h"
#include "quote.h"
#include "record_check.h"
#include "refusals.h"
#include "request.h"
#include "snp_check.h"
#include "tdx_check.h"

/* Kinds of processors' reports. */
enum evidence_tee {
	EVIDENCE_TDX = 1,
	EVIDENCE_SNP = 2,
};

/* What the evidence is held against; borrowed. */
struct evidence_rules {
	const struct ak_anchors *anchors;
	const struct identity_keys *identity;  /* NULL: identity tokens are not looked at */
	const struct image_references *images; /* none: which image booted isn't judged */
	const struct tdx_rules *tdx; /* NULL: requests with TDX evidence are refused before */
	const struct snp_rules *snp; /* NULL: requests with SEV-SNP reports are refused before */
	unsigned int tees_required;  /* enum evidence_tee: one of these must be there; 0: none */
	/* Evidence of a form that has the launch record for who asks (VmAttestation): without one,
	 * PCR 15 says nothing, and neither do the claims. */
	bool is_record_apart;
};

/* What was checked, and nothing else. */
struct checked_evidence {
	struct ak_identity ak;
	struct boot_claims boot;
	const struct image_reference *image; /* borrowed from the rules; NULL: not judged */
	struct launch_claims launch;
	struct tdx_claims tdx;
	struct snp_claims snp;
	struct checked_signatures signatures; /* of the measured image; others are dropped */
	json_t *record;                       /* the launch record; NULL: there is none */
	struct tl_strv service_accounts;      /* empty without identity rules */
};
void checked_evidence_done(struct checked_evidence *e);
#define auto_checked_evidence __attribute__((cleanup(checked_evidence_done)))

/**
 * A TPM's quotes, a TD's quote, or both: then both must be good and tell of one launch of one
 * image, and the weaker of two claims counts. Of evidence without the AK's certificate (the token
 * socket's of a TD) nobody knows the machine.
 *
 * @nonce     that the quotes must carry
 * @audience  that identity tokens must be for: the challenge's name
 * @ret       owned by the caller in any case; means something only if nothing was refused
 * @refusals  gets every check that failed
 */
void evidence_check(const struct evidence_rules *rules, const struct verify_request *req,
		    const uint8_t *nonce, size_t nonce_n, const char *audience, int64_t now_s,
		    struct checked_evidence *ret, struct refusals *refusals);
