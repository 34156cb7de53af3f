/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch levels of AMD processors: TCB_VERSION (AMD 56860), eight bytes whose layout is the
 * product's. Milan and Genoa: boot loader, TEE, four reserved, SNP firmware, microcode. Turin: FMC,
 * boot loader, TEE, SNP firmware, three reserved, microcode. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "snp_report.h"

#define SNP_PRODUCT_MAX 16 /* "Milan" and a NUL */

struct snp_tcb {
	uint8_t bootloader, tee, snp, microcode;
	uint8_t fmc; /* 0 where the product has none */
};

/** @has_fmc  the product's layout is Turin's */
struct snp_tcb snp_tcb_of(const uint8_t bytes[SNP_TCB_BYTES], bool has_fmc);
bool snp_tcb_is_equal(const struct snp_tcb *a, const struct snp_tcb *b);
/** Each part of @found is at least that of @least. */
bool snp_tcb_is_at_least(const struct snp_tcb *found, const struct snp_tcb *least);

#define SNP_TCB_TEXT_MAX 80
void snp_tcb_text(const struct snp_tcb *tcb, char ret[SNP_TCB_TEXT_MAX]);

/* The least that is accepted of a product. */
struct snp_least {
	char product[SNP_PRODUCT_MAX];
	struct snp_tcb tcb;
};

/**
 * PRODUCT:bootloader=N,tee=N,snp=N,microcode=N[,fmc=N], each once, 0 to 255.
 * TL_E_USAGE.
 */
int snp_least_parse(const char *text, struct snp_least *ret, struct tl_error *err);
