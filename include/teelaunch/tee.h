/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trusted execution environment that can measure and attest. A backend is one table of functions;
 * the rules that must hold for each of them (log after register, nothing after the separator,
 * all or nothing) live here, once. A machine with TDX has two of them, which are joined: each event
 * goes into the TPM, then into RTMR 3, and each register has a log of its own.
 *
 * Measuring is all or nothing: an error in mid-sequence leaves the register poisoned ON PURPOSE. No
 * separator is extended, so no verifier ever accepts the register in this boot; every further
 * measurement or evidence of this handle, from either backend, is refused with
 * TL_E_MEASURE_BROKEN.
 *
 * One thread owns a handle until everything is measured; from then on any thread may call
 * tl_tee_evidence(), and nothing else but _form, _banks, _log, _warnings is called until the close.
 * All calls but those four block on the hardware, each command for at most 30 s; a busy TPM is
 * asked again within that time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/event_log.h>
#include <teelaunch/evidence.h>
#include <teelaunch/str.h>
#include <teelaunch/tsm.h>

struct tl_tee; /* an open backend with its launch log, or two of them */

struct tl_tee_ops {
	enum tl_cel_form form;
	/* The register isn't touched yet (all zeros in all banks), else TL_E_REGISTER_USED. */
	int (*check_unused)(void *backend, struct tl_error *err);
	/* Extend the launch register of every bank: one digest per bank, in bank order. */
	int (*extend)(void *backend, const struct tl_event_digests *digests, struct tl_error *err);
	/* The same for PCR 15, which must be all zeros in all banks before (TL_E_REGISTER_USED).
	 * NULL: this hardware has no register for the launch record, and none is measured. */
	int (*extend_record)(void *backend, const struct tl_event_digests *digests,
			     struct tl_error *err);
	/* Fill what is its own, except the logs of ours. The caller frees @ret, on failure too.
	 * @is_beside: another backend is the root that attests; a quote for which this one can't
	 * take the nonce may be left out. */
	int (*evidence)(void *backend, const void *nonce, size_t nonce_len, bool is_beside,
			struct tl_evidence *ret, struct tl_error *err);
	void (*close)(void *backend);
};

/**
 * For backends: make a handle. Takes over @consume_backend on success only.
 * @warnings  copied; what the backend wants to be told to the operator
 */
int tl_tee_new(const struct tl_tee_ops *ops, void *consume_backend, const struct tl_banks *banks,
	       const struct tl_strv *warnings, struct tl_tee **ret, struct tl_error *err);

/* All borrowed during the call. */
struct tl_tpm_options {
	const char *tcti;         /* as Tss2_TctiLdr_Initialize takes it: "device:/dev/tpmrm0" */
	const char *firmware_log; /* TCG2 event log of this boot; at most 1 MiB */
	const char *ak_chain; /* PEM file of the intermediate certificates, AK's issuer first; NULL:
				 none. Fetching them is teelaunch/cert_chain.h's. */
};

/**
 * Open a TPM 2.0 and prepare everything that can fail: banks, attestation key (NV template
 * 0x01C10003, endorsement hierarchy), its certificate (NV 0x01C10002), firmware log, dictionary
 * attack parameters (failures of these last only become warnings).
 * Codes: TL_E_TPM_*, TL_E_AK_*, TL_E_FIRMWARE_LOG.
 *
 * tpm2-tss prints to stderr whatever goes wrong, and its only switch is the environment: a program
 * that wants one clear line sets TSS2_LOG=all+none in its main(), before the first thread.
 */
int tl_tpm_open(const struct tl_tpm_options *options, struct tl_tee **ret, struct tl_error *err);

/**
 * Open Intel TDX: RTMR 3, and the firmware's CC event log. Quotes come later, from tsm.h.
 * Codes: TL_E_RTMR, TL_E_CCEL.
 * @paths  outlives the handle
 */
int tl_tdx_open(const struct tl_tsm_paths *paths, struct tl_tee **ret, struct tl_error *err);

/**
 * From now on every event goes into the registers of @tee, then into those of @consume_other; the
 * record of PCR 15 only into those of @tee. Evidence is of both, and @consume_other's is what
 * attests. Nothing was measured yet with either, and none of them is joined (else TL_E_INTERNAL,
 * and the caller still owns both).
 */
int tl_tee_join(struct tl_tee *tee, struct tl_tee *consume_other, struct tl_error *err);

/** Flush keys and sessions, close. NULL is fine; always returns NULL. */
struct tl_tee *tl_tee_close(struct tl_tee *tee);
static inline void tl_tee_closep(struct tl_tee **tee)
{
	*tee = tl_tee_close(*tee);
}
#define auto_tee __attribute__((cleanup(tl_tee_closep)))

/* Of the root that attests. */
enum tl_cel_form tl_tee_form(const struct tl_tee *tee);
/* Borrowed from @tee; of the backend that was opened first. */
const struct tl_banks *tl_tee_banks(const struct tl_tee *tee);
const struct tl_strv *tl_tee_warnings(const struct tl_tee *tee);
const struct tl_buf *tl_tee_log(const struct tl_tee *tee); /* launch log so far, encoded */

/**
 * Extend the launch record into PCR 15 of all banks, before any event of the launch log
 * (TL_E_EVENT_ORDER), so that whatever fails here can't get a token. Once.
 * @text  the record's bytes; at most TL_EVENT_CONTENT_MAX_BYTES, else TL_E_EVENT_LIMIT
 */
int tl_tee_measure_record(struct tl_tee *tee, const void *text, size_t n, struct tl_error *err);
/**
 * Extend one event into the registers of all banks; a log gets it only after its own registers.
 * The first one checks that nothing was measured there before. After a separator: TL_E_EVENT_ORDER.
 */
int tl_tee_measure(struct tl_tee *tee, const struct tl_event *event, struct tl_error *err);
/**
 * Each of the list. A list that doesn't end with a separator is refused before anything happens.
 * @cancel  looked at between events; NULL: never. Once requested the register is left poisoned.
 */
int tl_tee_measure_launch(struct tl_tee *tee, const struct tl_event_list *list,
			  const struct tl_cancel *cancel, struct tl_error *err);

/**
 * Evidence over the log, which must be complete (TL_E_EVENT_ORDER otherwise).
 *
 * @nonce  1 to TL_NONCE_MAX_BYTES bytes, else TL_E_NONCE_SIZE
 * @ret    set on success only; owned by the caller
 * Quotes were checked with tl_quote_check(). A PCR that keeps changing: TL_E_QUOTE_PCRS.
 * Safe from several threads once the separator was measured: they are served one at a time, first
 * come, first served.
 */
int tl_tee_evidence(struct tl_tee *tee, const void *nonce, size_t nonce_len,
		    struct tl_evidence *ret, struct tl_error *err);
