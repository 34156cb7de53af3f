/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SEV-SNP reports are held against, all of it given offline: AMD's roots (ARK) and what is
 * between them and the keys (ASK, ASVK), certificates of keys that hosts don't hand out, revocation
 * lists, and the least patch level of each product. Nothing is ever fetched. Read-only once filled.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/str.h>

#include "snp_key.h"

#define SNP_LEASTS_MAX     16
#define SNP_COLLATERAL_MAX (1024 * 1024) /* bytes of one file */

/* As given on the command line; borrowed texts, files are read by snp_rules_load(). */
struct snp_options {
	struct tl_strv roots;    /* PEM: ARKs, and ASKs and ASVKs; none: there are no rules */
	struct tl_strv keys;     /* PEM: VCEKs and VLEKs */
	struct tl_strv crls;     /* PEM or DER; none: revocation isn't judged */
	struct tl_strv min_tcbs; /* as snp_least_parse() has it */
	bool is_without_tcb;     /* patch levels aren't judged */
};
void snp_options_done(struct snp_options *o);

struct snp_rules {
	X509_STORE *store;
	STACK_OF(X509) * between;
	STACK_OF(X509) * keys;
	STACK_OF(X509_CRL) * crls; /* those of the store; none: revocation isn't judged */
	struct snp_least leasts[SNP_LEASTS_MAX];
	size_t leasts_n; /* 0: patch levels aren't judged */
};

/**
 * @ret  NULL without roots; else owned by the caller
 * Codes: TL_E_USAGE (options that need or exclude each other), TL_E_VERIFY_KEYS, TL_E_IO. Reads
 * files.
 */
int snp_rules_load(const struct snp_options *o, struct snp_rules **ret, struct tl_error *err);
struct snp_rules *snp_rules_free(struct snp_rules *r);
static inline void snp_rules_freep(struct snp_rules **r)
{
	*r = snp_rules_free(*r);
}
#define auto_snp_rules __attribute__((cleanup(snp_rules_freep)))
