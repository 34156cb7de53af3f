/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Intel says of platforms' patch levels: TCB info, version 3 with id "TDX", and the identity
 * of the quoting enclave, version 2 with id "TD_QE" ("Intel SGX and Intel TDX Provisioning
 * Certification Service", API v4, "TCB Info V3" and "Enclave Identity V2"). JSON with a signature
 * (ECDSA P-256, r and s in hex) over the bytes of the one member that it signs, so files must stay
 * as they were served. The level of a platform is the first that it reaches in all components; the
 * rules are those of the same documentation, "How to determine the TCB level". Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "tdx_pck.h"

#define TDX_COLLATERAL_MAX (512 * 1024) /* one file; Intel's have some 30 KiB */
#define TDX_TCB_LEVELS_MAX 256
#define TDX_MODULES_MAX    16
#define TDX_TCB_DATE_MAX   24 /* "2024-03-13T00:00:00Z" */

/* In the order of the names that tdx_tcb_status_name() gives. */
enum tdx_tcb_status {
	TDX_TCB_UP_TO_DATE,
	TDX_TCB_SW_HARDENING,
	TDX_TCB_CONFIGURATION,
	TDX_TCB_CONFIGURATION_AND_SW_HARDENING,
	TDX_TCB_OUT_OF_DATE,
	TDX_TCB_OUT_OF_DATE_CONFIGURATION,
	TDX_TCB_REVOKED,
	TDX_TCB_STATUSES,
};
/** "UpToDate", "SWHardeningNeeded", ... */
const char *tdx_tcb_status_name(enum tdx_tcb_status status);
/** TDX_TCB_STATUSES for a name that isn't one. */
enum tdx_tcb_status tdx_tcb_status_find(const char *name);

/* Of a platform, a module or the quoting enclave; each has the members that it needs. */
struct tdx_tcb_level {
	uint8_t sgx[TDX_SVN_BYTES];
	uint8_t tdx[TDX_SVN_BYTES];
	uint16_t pce_svn;
	uint16_t isv_svn;
	enum tdx_tcb_status status;
	char date[TDX_TCB_DATE_MAX];
};

struct tdx_tcb_levels {
	struct tdx_tcb_level *items; /* highest first, as served */
	size_t n;
};

/* Which TDX module may run. */
struct tdx_module {
	unsigned int version; /* TEE_TCB_SVN[1]; 0: the member "tdxModule", which has no levels */
	uint8_t mr_signer[TDX_REGISTER_BYTES];
	uint8_t attributes[8];
	uint8_t attributes_mask[8];
	struct tdx_tcb_levels levels;
};

struct tdx_tcb_info {
	uint8_t fmspc[TDX_FMSPC];
	uint8_t pce_id[TDX_PCE_ID];
	int64_t issued_s, next_s; /* good from, until */
	struct tdx_module modules[TDX_MODULES_MAX];
	size_t modules_n;
	struct tdx_tcb_levels levels;
};

struct tdx_qe_identity {
	uint32_t miscselect, miscselect_mask;
	uint8_t attributes[16], attributes_mask[16];
	uint8_t mr_signer[32];
	uint16_t isv_prod_id;
	int64_t issued_s, next_s;
	struct tdx_tcb_levels levels;
};

/* The part of a file that is signed, borrowed from it, and the signature. */
struct tdx_signed_json {
	const char *text;
	size_t n;
	uint8_t signature[TDX_SIGNATURE];
};

/**
 * { "@name": {...}, "signature": "<128 hex digits>" }, nothing else, in this order.
 * -EINVAL with TL_E_VERIFY_TDX_COLLATERAL.
 */
int tdx_signed_json_read(const char *text, size_t n, const char *name, struct tdx_signed_json *ret,
			 struct tl_error *err);

/* @ret: set on success only, owned by the caller. -EINVAL with TL_E_VERIFY_TDX_COLLATERAL. */
int tdx_tcb_info_parse(const char *text, size_t n, struct tdx_tcb_info *ret, struct tl_error *err);
void tdx_tcb_info_done(struct tdx_tcb_info *i);
#define auto_tdx_tcb_info __attribute__((cleanup(tdx_tcb_info_done)))
int tdx_qe_identity_parse(const char *text, size_t n, struct tdx_qe_identity *ret,
			  struct tl_error *err);
void tdx_qe_identity_done(struct tdx_qe_identity *i);
#define auto_tdx_qe_identity __attribute__((cleanup(tdx_qe_identity_done)))

/* The level that is reached, borrowed; NULL: none. */
const struct tdx_tcb_level *tdx_platform_level(const struct tdx_tcb_info *info,
					       const struct tdx_pck *pck,
					       const struct tdx_report *td);
const struct tdx_tcb_level *tdx_isv_level(const struct tdx_tcb_levels *levels, unsigned int svn);
/** The identity of the module that a TD report names; NULL: none is known. */
const struct tdx_module *tdx_module_find(const struct tdx_tcb_info *info,
					 const struct tdx_report *td);
