/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TPM quotes (TPM 2.0 Library, part 2: 10.12.8 TPMS_ATTEST, 11.3.4 TPMT_SIGNATURE; part 3: 18.4).
 * Hostile bytes. That the signing key is restricted, without which the magic value proves nothing,
 * is what the CA of the AK certificate vouches for: see ak_chain.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include "refusals.h"
#include "request.h"

/* What a quote must cover: the boot (0-9) and the launch (13). */
#define QUOTE_PCRS_NEEDED UINT32_C(0x23ff)
#define QUOTE_EXTRA_MAX   66 /* TPM2B_DATA: a TPMT_HA */
#define QUOTE_NAME_MAX    66 /* TPM2B_NAME of a key */

/* TPMS_ATTEST of type TPM_ST_ATTEST_QUOTE, over one bank. */
struct quote {
	uint8_t signer[QUOTE_NAME_MAX]; /* qualified name of the key */
	size_t signer_n;
	uint8_t extra[QUOTE_EXTRA_MAX];
	size_t extra_n;
	uint32_t reset_count;
	uint32_t restart_count;
	uint64_t firmware_version;
	uint16_t bank;
	uint32_t pcr_mask;
	uint8_t digest[TL_HASH_SIZE_MAX];
	size_t digest_n;
};

/**
 * -EBADMSG with TL_E_VERIFY_QUOTE: not exactly one TPMS_ATTEST, not made by a TPM (magic), not a
 * quote, not over exactly one bank. @ret is set on success only. Pure.
 */
int quote_parse(const void *data, size_t n, struct quote *ret, struct tl_error *err);

struct quote_signature {
	uint16_t hash; /* sha256, sha384 or sha512 */
	bool is_ecdsa; /* else RSASSA-PKCS1-v1_5 */
	size_t r_n, s_n;
	uint8_t r[512]; /* big-endian; the whole signature for RSA */
	uint8_t s[128];
};

/** ECDSA or RSASSA with SHA-256 or better; else -EBADMSG with TL_E_VERIFY_QUOTE. Pure. */
int quote_signature_parse(const void *data, size_t n, struct quote_signature *ret,
			  struct tl_error *err);

/**
 * All checks of one bank's quote; every one that fails is added to @refusals: form, signature by
 * @key, nonce, bank, selection equal to the PCRs given and covering QUOTE_PCRS_NEEDED, digest.
 * @key  NULL: the AK's certificate was refused, so the signature can't be judged
 * @ret  what the quote says, set whenever it could be read at all; trust it if nothing was refused
 */
void quote_check(const struct bank_evidence *bank, const uint8_t *nonce, size_t nonce_n,
		 EVP_PKEY *key, struct quote *ret, struct refusals *refusals);

/**
 * All banks: at least one of sha256 and sha384, each bank's checks, and that they are one TPM's
 * quotes of one boot (signer, reset and restart count, firmware version).
 */
void quotes_check(const struct verify_request *req, const uint8_t *nonce, size_t nonce_n,
		  EVP_PKEY *key, struct refusals *refusals);
