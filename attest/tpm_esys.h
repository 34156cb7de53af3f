/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TPM commands that attestation needs, over ESAPI, with our errors. Not thread-safe. Every call
 * blocks for at most TPM_COMMAND_BUDGET_MS per command, and once more as long for an answer that an
 * earlier one gave up.
 *
 * Errors: TL_E_TPM_GONE, TL_E_TPM_BUSY, TL_E_TPM_LOCKOUT, TL_E_TPM_COMMAND, TL_E_NO_MEMORY, and
 * what a function names.
 */
#pragma once

#include <stdint.h>

#include <tss2/tss2_esys.h>

#include <teelaunch/error.h>
#include <teelaunch/evidence.h>
#include <teelaunch/str.h>

#include "tpm_link.h"

struct tpm_esys {
	struct tpm_link *link;
	ESYS_CONTEXT *ctx;
};

#define auto_esys __attribute__((cleanup(tpm_esys_freep)))
static inline void tpm_esys_freep(void *p)
{
	Esys_Free(*(void **)p);
}

/** Takes over @consume_link on success and on failure. */
int tpm_esys_init(struct tpm_esys *t, struct tpm_link *consume_link, struct tl_error *err);
void tpm_esys_done(struct tpm_esys *t);
/**
 * A context of ESAPI that failed itself, for want of memory or of an answer that can be read, or as
 * the TPM was busy for too long, takes no command any more. This makes another one on the same
 * link. What the old one had made in the TPM is flushed, but @keep, an object or 0: @ret_kept is
 * set to what it is called now, if not NULL. On failure all is as before. Nothing that the old
 * context was asked for is done again.
 */
int tpm_esys_renew(struct tpm_esys *t, TPM2_HANDLE keep, ESYS_TR *ret_kept, struct tl_error *err);

/** Turn a response code into an error; "<what>: <text of the code>". Never returns 0. */
int tpm_fail(const struct tpm_esys *t, struct tl_error *err, TSS2_RC rc, const char *what);

/** The allocated banks and what they cover. TL_E_TPM_BANKS: none, one we can't hash, no PCR 13
 * or 15. */
int tpm_read_banks(const struct tpm_esys *t, struct tl_banks *ret, TPML_PCR_SELECTION *ret_sel,
		   struct tl_error *err);
/** Values of all selected PCRs of one bank, eight at a time; ret has exactly them, ascending. */
int tpm_read_pcrs(const struct tpm_esys *t, const TPMS_PCR_SELECTION *selection,
		  struct tl_quote *ret, struct tl_error *err);
/** One TPM2_PCR_Extend for all banks: the TPM extends all of them or none. */
int tpm_extend_pcr(const struct tpm_esys *t, unsigned int pcr,
		   const struct tl_event_digests *digests, struct tl_error *err);
/** One TPM property; -ENOENT and TL_E_TPM_COMMAND if the TPM answers with another one. */
int tpm_read_property(const struct tpm_esys *t, TPM2_PT property, uint32_t *ret,
		      struct tl_error *err);
/**
 * A whole NV index with owner authorization and an empty password. @max_bytes bounds it.
 * @code  for an index that is missing, unwritten, unreadable, empty or too large
 */
int tpm_read_nv(const struct tpm_esys *t, TPM2_HANDLE index, const char *name, size_t max_bytes,
		enum tl_code code, struct tl_blob *ret, struct tl_error *err);

/**
 * Set the limits of dictionary-attack lockout (32 tries, 2 h for one more, 24 h for the owner of
 * the lockout authorization). Nothing here fails a launch: what goes wrong is added to @warnings.
 * Nothing may be loaded yet: after a failure the context is another one.
 */
void tpm_set_lockout_limits(struct tpm_esys *t, struct tl_strv *warnings);
