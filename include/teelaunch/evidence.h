/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence: what a TEE hands to a verifier. Plain bytes as the hardware gave them; the verifier's
 * client turns them into its protocol. By value; owns everything.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/digest.h>
#include <teelaunch/error.h>
#include <teelaunch/event_log.h>

#define TL_PCRS_MAX        32 /* TPM 2.0 part 2, table 4 */
#define TL_NONCE_MAX_BYTES 64 /* TPM2B_DATA, and TDX report data */
#define TL_CHAIN_MAX       4  /* certificates between the AK's and a root */

/* Heap bytes; n is 0 and bytes NULL when there are none. */
struct tl_blob {
	uint8_t *bytes;
	size_t n;
};
int tl_blob_set(struct tl_blob *b, const void *bytes, size_t n); /* copies; 0 or -ENOMEM */
void tl_blob_done(struct tl_blob *b);
#define auto_blob __attribute__((cleanup(tl_blob_done)))

struct tl_pcr_value {
	uint8_t index;
	uint8_t bytes[TL_HASH_SIZE_MAX]; /* tl_hash_size() of the quote's bank count */
};

/* One bank. */
struct tl_quote {
	uint16_t hash; /* enum tl_hash: the bank, not the signature's hash */
	struct tl_pcr_value pcrs[TL_PCRS_MAX]; /* ascending by index */
	size_t n_pcrs;
	struct tl_blob attest; /* TPMS_ATTEST as signed, no size prefix (TPM 2.0 part 2, 10.12.8) */
	struct tl_blob signature; /* TPMT_SIGNATURE (TPM 2.0 part 2, 11.3.4) */
};

/* Intel TDX; all empty on another machine. */
struct tl_tdx {
	struct tl_blob quote;      /* TDX quote over the nonce, padded with zeros, as report data */
	struct tl_blob ccel_table; /* ACPI table CCEL */
	struct tl_blob ccel_data;  /* firmware's CC event log, to the end of its last event */
	struct tl_blob cel;        /* launch log, as extended into RTMR 3 */
};

/* AMD SEV-SNP; all empty on another machine, and where the report couldn't be had. */
struct tl_snp {
	struct tl_blob report; /* over the nonce, padded with zeros, as report data */
	struct tl_blob
		certificates; /* the host's table of them (GHCB 2.03, 4.1.8.1); may be empty */
};

struct tl_evidence {
	struct tl_quote quotes[TL_BANKS_MAX];    /* in the TPM's bank order */
	size_t n_quotes;                         /* with a TDX quote it may be 0 */
	struct tl_blob tcg_event_log;            /* firmware's TCG2 log, as the kernel shows it */
	struct tl_blob cel;                      /* launch log, as extended into PCR 13 */
	struct tl_blob record;                   /* log of PCR 15 (record_log.h); may be empty */
	struct tl_blob ak_public;                /* TPMT_PUBLIC */
	struct tl_blob ak_cert;                  /* X.509, DER */
	struct tl_blob cert_chain[TL_CHAIN_MAX]; /* DER, the AK's issuer first; no root needed */
	size_t n_chain;
	struct tl_tdx tdx;
	struct tl_snp snp;
};

/** Zero is empty too; init is for values that lie on the stack. */
void tl_evidence_init(struct tl_evidence *e);
void tl_evidence_done(struct tl_evidence *e); /* free everything; empty after. NULL is fine */
#define auto_evidence __attribute__((cleanup(tl_evidence_done)))

/**
 * Check one quote: signature (ECDSA P-256/P-384 or RSASSA; SHA-256/384/512) by the key of the
 * certificate, magic and type, extra data equal to @nonce, one selection that is exactly the bank
 * and the indices of @quote->pcrs, PCR digest over their values. Nothing else: the certificate's
 * chain and the values' meaning are the caller's business. Pure; safe on hostile bytes.
 *
 * @cert_der  X.509; borrowed
 * Returns 0, or -EBADMSG with TL_E_QUOTE_INVALID (bytes don't parse, signature, nonce, selection,
 * key) or TL_E_QUOTE_PCRS (everything signed is right, but the values are not the quoted ones).
 */
int tl_quote_check(const struct tl_quote *quote, const struct tl_blob *cert_der, const void *nonce,
		   size_t nonce_len, struct tl_error *err);
