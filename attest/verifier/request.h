/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of :verifyConfidentialSpace and :verifyAttestation (Confidential Computing REST API,
 * v1; proto3 JSON with standard, padded base64). Hostile bytes: every list and blob has a maximum,
 * unknown fields are refused by name, and so is evidence of a kind that isn't checked. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/digest.h>
#include <teelaunch/error.h>
#include <teelaunch/image_signature.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

#include "token_options.h"

#define REQUEST_BODY_MAX         (8 * 1024 * 1024)
#define REQUEST_BANKS_MAX        4
#define REQUEST_CHAIN_MAX        8
#define REQUEST_ID_TOKENS_MAX    16
#define REQUEST_ID_TOKEN_MAX     (16 * 1024)
#define REQUEST_ENTITIES_MAX     16
#define REQUEST_CERT_MAX         (16 * 1024)
#define REQUEST_QUOTE_MAX        1024 /* a TPMS_ATTEST over all banks has some 200 bytes */
#define REQUEST_SIGNATURE_MAX    1024 /* RSA 4096: 520 bytes */
#define REQUEST_FIRMWARE_LOG_MAX (4 * 1024 * 1024)
#define REQUEST_LAUNCH_LOG_MAX   (2 * 1024 * 1024)
#define REQUEST_RECORD_LOG_MAX   (256 * 1024) /* one record of 128 KiB, and its digests */
#define REQUEST_CHALLENGE_MAX    512
#define REQUEST_TDX_QUOTE_MAX    (16 * 1024)
#define REQUEST_ACPI_TABLE_MAX   4096 /* CCEL: 56 bytes */
#define REQUEST_SNP_REPORT_MAX   4096
#define REQUEST_SNP_CERTS_MAX    (64 * 1024)

#define PCRS_MAX 24

/* Values of some PCRs of one bank. */
struct pcr_values {
	uint32_t mask; /* bit i: value[i] is given */
	uint8_t value[PCRS_MAX][TL_HASH_SIZE_MAX];
};

struct bank_evidence {
	uint16_t hash; /* enum tl_hash; the values have its size */
	struct pcr_values pcrs;
	struct tl_buf quote;     /* TPMS_ATTEST */
	struct tl_buf signature; /* TPMT_SIGNATURE */
};

/* Of a TD; beside a TPM's quotes, or alone. */
struct tdx_evidence {
	struct tl_buf quote;
	struct tl_buf
		ccel_table; /* the ACPI table CCEL: where the log lay; nothing follows from it */
	struct tl_buf ccel; /* the firmware's log of RTMRs 0 to 2 */
	struct tl_buf launch_log; /* CEL of RTMR 3 */
};

/* Of a SEV-SNP guest; beside a TPM's quotes. */
struct snp_evidence {
	struct tl_buf report;
	struct tl_buf certs; /* the host's certificate table; may be empty */
};

struct verify_request {
	char *challenge;                        /* its name; NULL if the body has none */
	struct tl_secret *id_tokens;            /* compact JWTs */
	size_t id_tokens_n;                     /* at most REQUEST_ID_TOKENS_MAX */
	struct tl_image_signatures signatures;  /* of the container image; none twice */
	struct bank_evidence *banks;            /* in the order of the request, none twice */
	size_t banks_n;                         /* 0..REQUEST_BANKS_MAX; 0 only with TDX evidence */
	struct tl_buf firmware_log;             /* TCG crypto-agile log */
	struct tl_buf launch_log;               /* CEL */
	struct tl_buf record_log;               /* CEL of PCR 15; empty: none was sent */
	struct tl_buf ak_cert;                  /* DER */
	struct tl_buf chain[REQUEST_CHAIN_MAX]; /* DER, the AK's issuer first */
	size_t chain_n;
	bool has_tpm;      /* 'tpmAttestation', if only with the AK's certificate */
	bool has_identity; /* the AK's certificate, from there or from 'gceShieldedIdentity' */
	bool has_tdx;
	struct tdx_evidence tdx;
	bool has_snp;
	struct snp_evidence snp;
	struct token_options token;
};

enum request_kind {
	REQUEST_CONFIDENTIAL_SPACE, /* :verifyConfidentialSpace */
	REQUEST_ATTESTATION,        /* :verifyAttestation */
};

/**
 * @ret  set on success only; owned by the caller (verify_request_free)
 *
 * Returns 0, -EINVAL with TL_E_VERIFY_REQUEST, _UNSUPPORTED or _TOKEN_OPTIONS naming the field, or
 * -ENOMEM.
 */
int verify_request_parse(enum request_kind kind, const void *body, size_t n,
			 struct verify_request **ret, struct tl_error *err);
struct verify_request *verify_request_free(struct verify_request *r);
static inline void verify_request_freep(struct verify_request **r)
{
	*r = verify_request_free(*r);
}
#define auto_verify_request __attribute__((cleanup(verify_request_freep)))
