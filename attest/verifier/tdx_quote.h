/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel TDX quotes, versions 4 and 5 ("Intel TDX DCAP Quoting Library API", appendix 3: "Version 4
 * Quote Format" with A.3.1 header to A.3.11 certification data; appendix 4: "Version 5 Quote
 * Format" with its body descriptor). Little-endian. Hostile bytes. Pure: nothing is verified here,
 * only read; tdx_check.h has the checks.
 *
 *   header (48)  version 4 or 5, key type 2 (ECDSA over P-256), TEE type 0x81, QE vendor Intel
 *   v5 only      body type (2: TD report 1.0, 3: 1.5) and its size
 *   body         TD report, 584 bytes; 1.5 has 64 more (TEE_TCB_SVN_2, MRSERVICETD)
 *   signature    size; ECDSA r and s; attestation key x and y; certification data of type 6: QE
 *                report, its signature, QE authentication data, certification data of type 5 (the
 *                PCK certificate's chain in PEM)
 *
 * Every size must be exactly what it encloses. Zeros may follow: a quoting service hands out a
 * buffer of fixed size.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define TDX_QUOTE_MAX      (16 * 1024) /* with three certificates one has some 5,000 bytes */
#define TDX_REGISTER_BYTES 48          /* SHA-384 */
#define TDX_RTMRS          4
#define TDX_SVN_BYTES      16
#define TDX_SIGNATURE      64 /* r and s, big-endian */
#define TDX_KEY            64 /* x and y, big-endian */
#define TDX_QE_REPORT      384
#define TDX_REPORT_DATA    64

/* Borrows from the quote's bytes. */
struct tdx_span {
	const uint8_t *data;
	size_t n;
};

/* TD report (A.3.2; "TD Quote Body"). */
struct tdx_report {
	uint8_t tee_tcb_svn[TDX_SVN_BYTES];
	uint8_t mr_seam[TDX_REGISTER_BYTES];
	uint8_t mr_signer_seam[TDX_REGISTER_BYTES]; /* zero: Intel's own module */
	uint8_t seam_attributes[8];
	uint64_t td_attributes;
	uint8_t mrtd[TDX_REGISTER_BYTES];
	uint8_t rtmr[TDX_RTMRS][TDX_REGISTER_BYTES];
	uint8_t report_data[TDX_REPORT_DATA];
};

/* Report of the quoting enclave (A.3.10; SGX REPORTBODY, Intel SDM vol. 3D, 39.15). */
struct tdx_qe_report {
	uint32_t miscselect;
	uint8_t attributes[16];
	uint8_t mr_signer[32];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint8_t report_data[TDX_REPORT_DATA];
};

struct td_quote {
	uint16_t version;
	struct tdx_span signed_part; /* header and body, what the attestation key signs */
	struct tdx_report td;
	const uint8_t *signature;       /* TDX_SIGNATURE, by the attestation key */
	const uint8_t *attestation_key; /* TDX_KEY */
	struct tdx_span qe_signed_part; /* TDX_QE_REPORT bytes, what the PCK signs */
	struct tdx_qe_report qe;
	const uint8_t *qe_signature; /* TDX_SIGNATURE, by the PCK */
	struct tdx_span qe_auth;
	struct tdx_span pck_chain; /* PEM, the leaf first; without the NULs at its end */
};

/**
 * @data  must outlive @ret
 * @ret   set on success only
 * Returns 0, or -EBADMSG with TL_E_VERIFY_TDX_QUOTE naming the field and the offset.
 */
int td_quote_parse(const void *data, size_t n, struct td_quote *ret, struct tl_error *err);
