/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate of the key that signs SEV-SNP reports, VCEK or VLEK ("VCEK Certificate and KDS
 * Interface Specification", AMD 57230, 3.1; 58369 for VLEK): ECC P-384, signed with RSA-PSS by the
 * product's ASK or ASVK, which is signed by the product's root ARK. Its extensions below
 * 1.3.6.1.4.1.3704.1: .2 product name, .3.1 boot loader, .3.2 TEE, .3.3 SNP, .3.8 microcode, .3.9
 * FMC (Turin) SPLs, .4 hardware id (VCEK; the chip's: 64 bytes, Turin 8), .5 the cloud's id (VLEK).
 */
#pragma once

#include "cert_path.h"
#include "snp_tcb.h"

#define SNP_CHAIN_DEPTH 1 /* certificates between the key's and the root: ASK or ASVK */

struct snp_key {
	EVP_PKEY *key;
	enum snp_signing_key kind;
	char product[SNP_PRODUCT_MAX]; /* "Milan"; the name up to its first dash */
	bool has_fmc;                  /* layout of TCB_VERSION */
	struct snp_tcb tcb;
	uint8_t chip_id[SNP_CHIP_ID]; /* zeros behind a shorter one; of a VCEK */
};
void snp_key_done(struct snp_key *k);
#define auto_snp_key __attribute__((cleanup(snp_key_done)))

/**
 * What a certificate says of its key; nothing of who vouches for it. Hostile bytes.
 * @ret  set on success only; owned by the caller
 * -EACCES with TL_E_VERIFY_SNP_CHAIN.
 */
int snp_key_read(const X509 *cert, struct snp_key *ret, struct tl_error *err);
