/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attestation reports of AMD SEV-SNP, and the certificates that a host hands out with them.
 * Little-endian. Hostile bytes. Pure: nothing is verified here, only read; snp_check.h has the
 * checks.
 *
 * Report: "SEV Secure Nested Paging Firmware ABI Specification" (AMD 56860), ATTESTATION_REPORT,
 * versions 2 to 5 (3 added the processor's family, 5 the vectors of mitigations): 1,184 bytes, of
 * which the first 0x2a0 are signed, by ECDSA over P-384 with SHA-384; r and s are 72 bytes each,
 * little-endian.
 *
 * Certificate table: "SEV-ES Guest-Hypervisor Communication Block Standardization" (AMD 56421),
 * SNP Extended Guest Request: entries of GUID (in the order in which it is written), offset and
 * length, up to a GUID of zeros; then the certificates, DER or PEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define SNP_REPORT_BYTES     1184
#define SNP_SIGNED_BYTES     0x2a0
#define SNP_SIGNATURE_PART   72 /* r, s */
#define SNP_REPORT_DATA      64
#define SNP_MEASUREMENT      48 /* SHA-384 */
#define SNP_CHIP_ID          64
#define SNP_TCB_BYTES        8
#define SNP_CERT_TABLE_MAX   (64 * 1024)
#define SNP_CERT_ENTRIES_MAX 16

/* POLICY of the guest (56860, "Guest Policy"): bits 0 to 15, the least ABI version of the firmware;
 * bit 17, always set; bit 18, a migration agent may have it; bit 19, its host may debug it; none is
 * known above 25. */
#define SNP_POLICY_ABI       UINT64_C(0xffff)
#define SNP_POLICY_ONE       (UINT64_C(1) << 17)
#define SNP_POLICY_KNOWN     ((UINT64_C(1) << 26) - 1)
#define SNP_POLICY_MIGRATION (UINT64_C(1) << 18)
#define SNP_POLICY_DEBUG     (UINT64_C(1) << 19)

/* SIGNING_KEY. */
enum snp_signing_key {
	SNP_KEY_VCEK = 0, /* versioned chip endorsement key: this chip's, by its patch level */
	SNP_KEY_VLEK = 1, /* versioned loaded endorsement key: a cloud's, the same for many chips */
};

struct snp_report {
	uint32_t version;
	uint64_t policy;
	uint32_t vmpl; /* privilege level of who asked for it: 0 (most) to 3 */
	enum snp_signing_key signing_key;
	uint8_t report_data[SNP_REPORT_DATA];
	uint8_t measurement[SNP_MEASUREMENT]; /* of what the guest was started with: the firmware */
	uint8_t chip_id[SNP_CHIP_ID];
	uint8_t reported_tcb[SNP_TCB_BYTES]; /* TCB_VERSION: its layout is the product's */
	uint8_t launch_tcb[SNP_TCB_BYTES];   /* when the guest was started */
	uint16_t abi;                        /* version of the firmware that runs: major, minor */
	const uint8_t *signed_part;          /* SNP_SIGNED_BYTES; borrowed */
	const uint8_t *r, *s;                /* SNP_SIGNATURE_PART; borrowed */
};

/**
 * @data  must outlive @ret
 * @ret   set on success only
 * Returns 0, or -EBADMSG with TL_E_VERIFY_SNP_REPORT: another size, version, algorithm or kind of
 * key, or anything set that this version reserves.
 */
int snp_report_parse(const void *data, size_t n, struct snp_report *ret, struct tl_error *err);

struct snp_span {
	const uint8_t *data; /* NULL: it isn't there */
	size_t n;
};

/* Borrows from the table's bytes. */
struct snp_certs {
	struct snp_span vcek, vlek;
	struct snp_span ask; /* that signs VCEKs (ASK) or VLEKs (ASVK) of a product */
};

/**
 * @data  nothing, or zeros alone: a host that hands out none. Must outlive @ret
 * @ret   set on success only; entries of other kinds are left out
 * Returns 0, or -EBADMSG with TL_E_VERIFY_SNP_REPORT: an entry that doesn't lie in the table,
 * lies in the entries or in another one, or is there twice.
 */
int snp_certs_parse(const void *data, size_t n, struct snp_certs *ret, struct tl_error *err);
