/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence_check.h"

#include <teelaunch/cleanup.h>

#include "snp_reference.h"
#include "tdx_reference.h"

void checked_evidence_done(struct checked_evidence *e)
{
	ak_identity_done(&e->ak);
	launch_claims_done(&e->launch);
	checked_signatures_done(&e->signatures);
	json_decref(e->record);
	tl_strv_done(&e->service_accounts);
	*e = (struct checked_evidence){ 0 };
}

static void firmware_check(const struct evidence_rules *rules, const struct verify_request *req,
			   struct checked_evidence *ret, struct refusals *refusals)
{
	auto_firmware_log struct firmware_log log = { 0 };
	uint16_t banks[REQUEST_BANKS_MAX];
	struct tl_error err = { 0 };

	if (firmware_log_parse(req->firmware_log.data, req->firmware_log.len_bytes, &log, &err) <
	    0) {
		refuse_error(refusals, &err);
		return;
	}
	for (size_t i = 0; i < req->banks_n; i++)
		banks[i] = req->banks[i].hash;
	firmware_replay_check(&log, req, refusals);
	boot_claims_read(&log, banks, req->banks_n, &ret->boot, refusals);
	if (!rules->images || rules->images->n == 0)
		return;
	image_check(rules->images, &log, req, ret->boot.is_secure_boot, &ret->image, NULL,
		    refusals);
	/* What a unified kernel image is told is measured with it, not by GRUB. */
	ret->boot.is_debug_disabled = ret->image && ret->image->is_hardened;
}

/* All that a TPM says. */
static void tpm_check(const struct evidence_rules *rules, const struct verify_request *req,
		      const uint8_t *nonce, size_t nonce_n, struct checked_evidence *ret,
		      struct refusals *refusals)
{
	quotes_check(req, nonce, nonce_n, ret->ak.key, refusals);
	firmware_check(rules, req, ret, refusals);
	launch_log_check(req, &ret->launch, refusals);
	if (!rules->is_record_apart || req->record_log.len_bytes)
		record_check(req, &ret->record, refusals);
}

/* What a TD says of its boot, beside what a TPM said before, if there was one. */
static void td_boot_join(const struct evidence_rules *rules, const struct boot_claims *boot,
			 bool has_tpm, struct checked_evidence *ret, struct refusals *refusals)
{
	const struct image_reference *image = NULL;

	ret->boot.is_secure_boot = boot->is_secure_boot && (!has_tpm || ret->boot.is_secure_boot);
	if (!rules->images || rules->images->n == 0)
		return;
	tdx_image_check(rules->images, &ret->tdx.td, &image, refusals);
	if (has_tpm && image && ret->image && image != ret->image)
		refuse(refusals, TL_E_VERIFY_TDX_IMAGE,
		       "the TD booted image '%.48s %.24s', the TPM says '%.48s %.24s'", image->name,
		       image->version, ret->image->name, ret->image->version);
	ret->image = image;
	ret->boot.is_debug_disabled = image && image->is_hardened;
}

static void td_check(const struct evidence_rules *rules, const struct verify_request *req,
		     const uint8_t *nonce, size_t nonce_n, int64_t now_s,
		     struct checked_evidence *ret, struct refusals *refusals)
{
	auto_launch_claims struct launch_claims launch = { 0 };
	struct boot_claims boot = { 0 };
	bool has_tpm = req->banks_n > 0;

	tdx_evidence_check(rules->tdx, req, nonce, nonce_n, now_s, &ret->tdx, &boot, &launch,
			   refusals);
	if (!ret->tdx.is_checked)
		return;
	ret->tdx.is_ak_quoted = has_tpm;
	td_boot_join(rules, &boot, has_tpm, ret, refusals);
	if (has_tpm) {
		launch_logs_compare(&req->launch_log, &req->tdx.launch_log, refusals);
	} else {
		ret->launch = launch;
		launch = (struct launch_claims){ 0 };
	}
}

/* Beside a TPM's quotes, so that is where the image comes from. */
static void snp_check(const struct evidence_rules *rules, const struct verify_request *req,
		      const uint8_t *nonce, size_t nonce_n, int64_t now_s,
		      struct checked_evidence *ret, struct refusals *refusals)
{
	snp_evidence_check(rules->snp, &req->snp, nonce, nonce_n, now_s, &ret->snp, refusals);
	if (ret->snp.is_checked && ret->image)
		snp_image_check(ret->image, ret->snp.report.measurement,
				&ret->snp.is_measurement_known, refusals);
}

static void tees_check(const struct evidence_rules *rules, const struct verify_request *req,
		       struct refusals *refusals)
{
	unsigned int sent = (req->has_tdx ? EVIDENCE_TDX : 0) | (req->has_snp ? EVIDENCE_SNP : 0);

	if (rules->tees_required && !(rules->tees_required & sent))
		refuse(refusals, TL_E_VERIFY_TEE,
		       "the evidence has no report of a processor, but one is demanded: %s",
		       rules->tees_required == EVIDENCE_TDX   ? "tdx"
		       : rules->tees_required == EVIDENCE_SNP ? "snp"
							      : "tdx or snp");
}

static void identities_check(const struct identity_keys *keys, const struct verify_request *req,
			     const char *audience, int64_t now_s, struct checked_evidence *ret,
			     struct refusals *refusals)
{
	for (size_t i = 0; i < req->id_tokens_n; i++) {
		auto_free char *email = NULL;
		struct tl_error err = { 0 };

		if (identity_check(keys, &req->id_tokens[i], audience, now_s, &email, &err) < 0)
			refuse_error(refusals, &err);
		else if (tl_strv_add(&ret->service_accounts, email) < 0)
			refuse(refusals, TL_E_NO_MEMORY, "memory for service accounts");
	}
}

void evidence_check(const struct evidence_rules *rules, const struct verify_request *req,
		    const uint8_t *nonce, size_t nonce_n, const char *audience, int64_t now_s,
		    struct checked_evidence *ret, struct refusals *refusals)
{
	struct tl_error err = { 0 };

	if ((req->banks_n || req->ak_cert.len_bytes) &&
	    ak_chain_verify(rules->anchors, &req->ak_cert, req->chain, req->chain_n, now_s,
			    &ret->ak, &err) < 0)
		refuse_error(refusals, &err);
	if (req->banks_n)
		tpm_check(rules, req, nonce, nonce_n, ret, refusals);
	if (req->has_tdx)
		td_check(rules, req, nonce, nonce_n, now_s, ret, refusals);
	if (req->has_snp && rules->snp)
		snp_check(rules, req, nonce, nonce_n, now_s, ret, refusals);
	tees_check(rules, req, refusals);
	if (ret->launch.image_digest &&
	    image_signatures_check(&req->signatures, ret->launch.image_digest, &ret->signatures) <
		    0)
		refuse(refusals, TL_E_NO_MEMORY, "memory for image signatures");
	if (rules->identity)
		identities_check(rules->identity, req, audience, now_s, ret, refusals);
}
