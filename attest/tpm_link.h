/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to the TPM: a transmission interface (TCTI) around the one that was asked for. It gives
 * every command a deadline, which ESAPI's synchronous calls don't have, and asks again while the
 * TPM says that it is busy. It never sends a command again that the TPM may have run. One thread.
 */
#pragma once

#include <stdint.h>

#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tpm2_types.h>

#include <teelaunch/error.h>

/* A TPM may take seconds to make a key; longer than this it won't come back. */
#define TPM_COMMAND_BUDGET_MS 30000

enum tpm_link_state {
	TPM_LINK_UP,
	TPM_LINK_BUSY, /* busy for the whole budget */
	TPM_LINK_LATE, /* no answer within the budget; the link can't be used any more */
	TPM_LINK_GONE, /* sending or receiving failed; the same */
};

struct tpm_link;

/**
 * @tcti       as Tss2_TctiLdr_Initialize takes it
 * @budget_ms  for each command
 * Returns 0, or TL_E_TPM_OPEN.
 */
int tpm_link_open(const char *tcti, uint64_t budget_ms, struct tpm_link **ret,
		  struct tl_error *err);
/** Wrap an interface that is open already; taken over. NULL: out of memory, nothing taken. */
struct tpm_link *tpm_link_new(TSS2_TCTI_CONTEXT *consume_inner, uint64_t budget_ms);
/** For Esys_Initialize; borrowed. */
TSS2_TCTI_CONTEXT *tpm_link_tcti(struct tpm_link *link);
/** What became of the last command. */
enum tpm_link_state tpm_link_state(const struct tpm_link *link);
/**
 * Flush the objects and sessions that commands over this link made in the TPM and that are still
 * there: also those whose answers ESAPI gave up, so that nobody else knows of them.
 * @keep  not this one; 0: all of them
 */
void tpm_link_flush(struct tpm_link *link, TPM2_HANDLE keep);
/**
 * Flushes all, unless the last command found the TPM busy or gone; the first flush that finds it so
 * is the last. Blocks as long as a command may, twice if an answer is still due. NULL is fine;
 * returns NULL.
 */
struct tpm_link *tpm_link_close(struct tpm_link *link);
