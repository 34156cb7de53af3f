/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports that the processor signs, through the kernel's one interface for all of its kinds:
 * configfs-tsm (Documentation/ABI/testing/configfs-tsm-report, Linux 6.7 and later).
 *
 * Codes: TL_E_TSM (the interface is missing, is another one, or answers nonsense), TL_E_TSM_BUSY
 * (no report this time), TL_E_NO_MEMORY.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/evidence.h>

#define TL_TSM_INBLOB_BYTES 64
/* What the kernel's TDX driver takes at most; SEV-SNP's certificates are a tenth of it. */
#define TL_TSM_BLOB_MAX_BYTES (128 << 10)

enum tl_tsm_kind {
	TL_TSM_NONE, /* no guest of a kind that we know */
	TL_TSM_TDX,  /* Intel TDX, provider "tdx_guest" */
	TL_TSM_SNP,  /* AMD SEV-SNP, provider "sev_guest" */
};

/* Where the kernel shows all that. */
struct tl_tsm_paths {
	const char *report;    /* configfs-tsm's folder of reports */
	const char *tdx_guest; /* folder of the TDX driver: there on a TDX guest alone */
	const char *ccel_table, *ccel_data;
};
extern const struct tl_tsm_paths tl_tsm_paths_linux;

/**
 * What this machine is. A TDX driver without reports of TDX is TL_E_TSM: what is there but doesn't
 * work must not look like a machine that never had it.
 */
int tl_tsm_find(const struct tl_tsm_paths *paths, enum tl_tsm_kind *ret, struct tl_error *err);

/** What a report is made over: the nonce, then zeros. @n: at most TL_TSM_INBLOB_BYTES. */
void tl_tsm_inblob(const void *nonce, size_t n, uint8_t ret[TL_TSM_INBLOB_BYTES]);

/**
 * One report over one nonce, in an entry of its own: safe from several threads, and a report that
 * anybody else had a hand in is made again, a few times, then refused (TL_E_TSM_BUSY). Blocks as
 * long as the host takes, 30 s at most on TDX. The content is the caller's business.
 *
 * @kind     what the kernel must say it makes
 * @ret      the report; set on success only
 * @ret_aux  what goes with it, which may be nothing
 */
int tl_tsm_report(const struct tl_tsm_paths *paths, enum tl_tsm_kind kind, const void *nonce,
		  size_t n, struct tl_blob *ret, struct tl_blob *ret_aux, struct tl_error *err);
