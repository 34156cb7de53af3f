/* SPDX-License-Identifier: Apache-2.0 */
/* The stages that prove what will run: the TPM and the processor, and the measurement. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/launch_record.h>
#include <teelaunch/log.h>
#include <teelaunch/record_log.h>
#include <teelaunch/tsm.h>

#include "attest_words.h"
#include "launch_facts.h"
#include "sequence.h"
#include "workload/workload.h"

const struct attest_words *attest_words_of(const struct tl_tee *tee)
{
	static const struct attest_words tpm = { "tpm", "Using TPM PCR as attestation root.",
						 "attestation through TPM quote" };
	static const struct attest_words tdx = { "tdx", "Using TDX RTMR as attestation root.",
						 "attestation through TDX quote" };

	return tl_tee_form(tee) == TL_CEL_TDX ? &tdx : &tpm;
}

static void tee_log(const struct tl_tee *tee, bool has_snp)
{
	const struct attest_words *words = attest_words_of(tee);

	tl_log_event(LOG_INFO, "attest.registers", "msg='Adding TPM PCRs for measurement.'");
	if (tl_tee_form(tee) == TL_CEL_TDX)
		tl_log_event(LOG_INFO, "attest.registers",
			     "msg='Adding TDX RTMRs for measurement.'");
	tl_log_event(LOG_INFO, "attest.root", "tee=%s sev_snp=%s msg='%s'", words->tee,
		     has_snp ? "yes" : "no", words->root);
}

static int tdx_join(struct launch *l, struct tl_error *err)
{
	auto_tee struct tl_tee *tdx = NULL;
	int r = tl_tdx_open(&tl_tsm_paths_linux, &tdx, err);

	if (r == 0)
		r = tl_tee_join(l->tee, tdx, err);
	if (r == 0)
		tdx = NULL;
	return r;
}

/* What the processor can say, beside the TPM or in its place. */
static int processor_open(struct launch *l, struct tl_error *err)
{
	enum tl_tsm_kind kind = TL_TSM_NONE;
	int r = tl_tsm_find(&tl_tsm_paths_linux, &kind, err);

	if (r == 0 && kind == TL_TSM_TDX)
		r = tdx_join(l, err);
	if (r < 0)
		return r;
	l->has_snp = kind == TL_TSM_SNP;
	return 0;
}

int stage_tpm(struct launch *l, struct tl_error *err)
{
	const struct tl_tpm_options options = {
		.tcti = l->options->tcti,
		.firmware_log = l->options->firmware_log,
	};
	const struct tl_strv *warnings;
	const struct tl_banks *banks;
	int r;

	l->cert_chain = tl_cert_chain_new(&l->options->aia_hosts);
	if (!l->cert_chain)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "certificates");
	r = tl_tpm_open(&options, &l->tee, err);
	if (r == 0)
		r = processor_open(l, err);
	if (r < 0) {
		stage_tpm_undo(l);
		return r;
	}
	warnings = tl_tee_warnings(l->tee);
	for (size_t i = 0; i < warnings->n; i++)
		tl_log_event(LOG_WARNING, "tpm.warning", "msg='%s'", TL_Q(warnings->items[i]));
	banks = tl_tee_banks(l->tee);
	for (size_t i = 0; i < banks->n; i++)
		tl_log_event(LOG_INFO, "tpm.bank", "hash=%s", tl_hash_name(banks->hashes[i]));
	tee_log(l->tee, l->has_snp);
	return 0;
}

void stage_tpm_undo(struct launch *l)
{
	l->tee = tl_tee_close(l->tee);
	l->cert_chain = tl_cert_chain_free(l->cert_chain);
}

int launch_record_write(const struct launch *l, struct tl_buf *ret, struct tl_error *err)
{
	const struct launch_place place = {
		.is_hardened = l->machine.is_hardened,
		.root = l->options->root,
		.disk = { .mode = l->report.disk.mode,
			  .cipher = l->report.disk.cipher,
			  .integrity = l->report.disk.integrity,
			  .tags = l->report.disk.tags },
		.nofile_limit = l->machine.nofile_limit,
		.verifier = l->options->verifier,
		.unit = l->options->unit,
		.unit_n = l->options->unit_n,
	};
	const struct tl_launch_record_facts facts = launch_record_facts_of(&l->spec, &place);

	return tl_launch_record_build(&facts, ret, err);
}

/* What isn't in the launch log, before the first event of it. */
static int record_measure(struct launch *l, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	uint8_t pcr[TL_HASH_SIZE_MAX];
	int r;

	tl_buf_init(&text, TL_LAUNCH_RECORD_BYTES_MAX);
	r = launch_record_write(l, &text, err);
	if (r == 0)
		r = tl_tee_measure_record(l->tee, text.data, text.len_bytes, err);
	if (r < 0)
		return r;
	if (tl_record_replay(text.data, text.len_bytes, TL_SHA256, pcr) == 0) {
		tl_hex_encode(pcr, tl_hash_size(TL_SHA256), l->pcr15_hex);
		l->report.measured.pcr15_sha256 = l->pcr15_hex;
	}
	tl_log_event(LOG_INFO, "measured.record", "size_bytes=%zu pcr15_sha256=%s", text.len_bytes,
		     l->pcr15_hex);
	return 0;
}

int stage_measure(struct launch *l, struct tl_error *err)
{
	const struct launch_image_names image = { .digest = l->image.target.digest,
						  .id = l->image.config.digest };
	const struct tl_launch_facts facts = launch_facts_of(
		&l->spec, &image, tl_workload_args(l->workload), tl_workload_env(l->workload));
	uint8_t reg[TL_HASH_SIZE_MAX];
	int r = tl_launch_events_build(&facts, &l->events, err);

	if (r == 0)
		r = record_measure(l, err);
	if (r == 0)
		r = tl_tee_measure_launch(l->tee, &l->events, l->cancel, err);
	if (r < 0)
		return r;
	l->report.measured.events = l->events.n;
	if (tl_events_replay(&l->events, TL_SHA256, reg) == 0) {
		tl_hex_encode(reg, tl_hash_size(TL_SHA256), l->pcr13_hex);
		l->report.measured.pcr13_sha256 = l->pcr13_hex;
	}
	if (tl_tee_form(l->tee) == TL_CEL_TDX &&
	    tl_events_replay(&l->events, TL_SHA384, reg) == 0) {
		tl_hex_encode(reg, tl_hash_size(TL_SHA384), l->rtmr3_hex);
		l->report.measured.rtmr3 = l->rtmr3_hex;
	}
	tl_log_event(LOG_INFO, "measured", "events=%zu pcr13_sha256=%s rtmr3=%s", l->events.n,
		     l->pcr13_hex, *l->rtmr3_hex ? l->rtmr3_hex : "none");
	/* It is among them in every launch, whatever it says. */
	tl_log_event(LOG_INFO, "measured.monitoring",
		     "msg='Successfully measured memory monitoring event'");
	if (l->spec.monitoring == TL_MONITORING_NONE)
		tl_log_event(LOG_INFO, "monitoring.none",
			     "msg='MemoryMonitoring is disabled by the VM operator'");
	return 0;
}
