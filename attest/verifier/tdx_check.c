/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "p256.h"

#define CC_REGISTER_FIRST 1 /* RTMR 0 */
#define CC_REGISTER_LAST  3 /* RTMR 2 */

/* What the quoting enclave vouches for, and who vouches for it. */

static void signatures_check(const struct td_quote *q, const struct tdx_pck *pck,
			     struct refusals *refusals)
{
	uint8_t bound[TDX_REPORT_DATA] = { 0 };
	auto_hasher struct tl_hasher *h = tl_hasher_new(TL_SHA256);
	auto_pkey EVP_PKEY *key = p256_key_new(q->attestation_key);

	if (pck->key && !p256_signature_is_good(pck->key, q->qe_signature, q->qe_signed_part.data,
						q->qe_signed_part.n))
		refuse(refusals, TL_E_VERIFY_TDX_SIGNATURE,
		       "the report of the quoting enclave is not signed by the key of the PCK "
		       "certificate");
	if (!h || tl_hasher_update(h, q->attestation_key, TDX_KEY) < 0 ||
	    tl_hasher_update(h, q->qe_auth.data, q->qe_auth.n) < 0 || tl_hasher_final(h, bound) < 0)
		refuse(refusals, TL_E_NO_MEMORY, "memory for a hash");
	if (CRYPTO_memcmp(bound, q->qe.report_data, sizeof(bound)) != 0) {
		refuse(refusals, TL_E_VERIFY_TDX_SIGNATURE,
		       "the report of the quoting enclave is not over this attestation key and "
		       "authentication data");
		refuse_bytes(refusals, bound, sizeof(bound), q->qe.report_data, sizeof(bound));
	}
	if (!key ||
	    !p256_signature_is_good(key, q->signature, q->signed_part.data, q->signed_part.n))
		refuse(refusals, TL_E_VERIFY_TDX_SIGNATURE,
		       "the TDX quote is not signed by its attestation key");
}

static void nonce_check(const struct tdx_report *td, const uint8_t *nonce, size_t nonce_n,
			struct refusals *refusals)
{
	uint8_t due[TDX_REPORT_DATA] = { 0 };

	memcpy(due, nonce, nonce_n < sizeof(due) ? nonce_n : sizeof(due));
	if (nonce_n <= sizeof(due) && CRYPTO_memcmp(due, td->report_data, sizeof(due)) == 0)
		return;
	refuse(refusals, TL_E_VERIFY_NONCE,
	       "the TDX quote carries another nonce than this challenge's, with zeros behind it");
	refuse_bytes(refusals, due, sizeof(due), td->report_data, sizeof(due));
}

static void td_check(const struct tdx_report *td, struct refusals *refusals)
{
	char found[20];

	if (!(td->td_attributes & TDX_ATTRIBUTES_REFUSED))
		return;
	refuse(refusals, TL_E_VERIFY_TDX_TD,
	       "the TD may be debugged or migrated by its host (attributes %016" PRIx64 ")",
	       td->td_attributes);
	(void)snprintf(found, sizeof(found), "%016" PRIx64, td->td_attributes);
	refuse_values(refusals, "none of the bits 200000ff", found);
}

/* What TCB info would say, for who has none: Intel's own module, nothing special about it. */
static void module_is_intels_check(const struct tdx_report *td, struct refusals *refusals)
{
	static const uint8_t zeros[TDX_REGISTER_BYTES];

	if (memcmp(td->mr_signer_seam, zeros, sizeof(td->mr_signer_seam)) == 0 &&
	    memcmp(td->seam_attributes, zeros, sizeof(td->seam_attributes)) == 0)
		return;
	refuse(refusals, TL_E_VERIFY_TDX_TD,
	       "the TDX module is not one of Intel's (MRSIGNERSEAM, SEAMATTRIBUTES)");
	refuse_bytes(refusals, zeros, sizeof(zeros), td->mr_signer_seam, sizeof(zeros));
}

/* Patch levels. */

/* @mask NULL: every bit counts. */
static void masked_check(const uint8_t *found, const uint8_t *due, const uint8_t *mask, size_t n,
			 const char *what, struct refusals *refusals)
{
	for (size_t i = 0; i < n; i++) {
		if (((found[i] ^ due[i]) & (mask ? mask[i] : 0xff)) == 0)
			continue;
		refuse(refusals, TL_E_VERIFY_TDX_TCB, "%s are not those of Intel's statement",
		       what);
		refuse_bytes(refusals, due, n, found, n);
		return;
	}
}

static bool is_in_time(int64_t from_s, int64_t until_s, int64_t now_s, const char *what,
		       struct refusals *refusals)
{
	if (now_s >= from_s && now_s <= until_s)
		return true;
	refuse(refusals, TL_E_VERIFY_TDX_TCB,
	       "%s that the verifier was given is %s: give it a new one", what,
	       now_s < from_s ? "from the future" : "out of date (nextUpdate)");
	return false;
}

/* @level NULL: none is reached. */
static void status_check(const struct tdx_rules *rules, const struct tdx_tcb_level *level,
			 const char *what, enum tdx_tcb_status *ret, struct refusals *refusals)
{
	if (!level) {
		refuse(refusals, TL_E_VERIFY_TDX_TCB,
		       "%s is below every TCB level of Intel's statement", what);
		return;
	}
	*ret = level->status;
	if (rules->accepts[level->status])
		return;
	refuse(refusals, TL_E_VERIFY_TDX_TCB,
	       "%s has TCB status %s (level of %s), which isn't accepted", what,
	       tdx_tcb_status_name(level->status), level->date);
	refuse_values(refusals, "an accepted TCB status", tdx_tcb_status_name(level->status));
}

static void module_check(const struct tdx_rules *rules, const struct tdx_tcb_info *info,
			 const struct tdx_report *td, struct tdx_claims *ret,
			 struct refusals *refusals)
{
	const struct tdx_module *m = tdx_module_find(info, td);

	if (!m) {
		refuse(refusals, TL_E_VERIFY_TDX_TCB,
		       "TDX modules of version %u are unknown to Intel's TCB info",
		       td->tee_tcb_svn[1]);
		return;
	}
	masked_check(td->mr_signer_seam, m->mr_signer, NULL, sizeof(m->mr_signer),
		     "the signer of the TDX module (MRSIGNERSEAM)", refusals);
	masked_check(td->seam_attributes, m->attributes, m->attributes_mask, sizeof(m->attributes),
		     "the attributes of the TDX module (SEAMATTRIBUTES)", refusals);
	ret->module = TDX_TCB_UP_TO_DATE;
	if (m->version)
		status_check(rules, tdx_isv_level(&m->levels, td->tee_tcb_svn[0]), "the TDX module",
			     &ret->module, refusals);
}

static void platform_check(const struct tdx_rules *rules, const struct tdx_pck *pck,
			   const struct tdx_report *td, int64_t now_s, struct tdx_claims *ret,
			   struct refusals *refusals)
{
	const struct tdx_tcb_info *info = NULL;
	const struct tdx_tcb_level *level;
	char fmspc[2 * TDX_FMSPC + 1];

	for (size_t i = 0; i < rules->infos_n; i++)
		if (memcmp(rules->infos[i].fmspc, pck->fmspc, TDX_FMSPC) == 0)
			info = &rules->infos[i];
	if (!info || memcmp(info->pce_id, pck->pce_id, TDX_PCE_ID) != 0) {
		tl_hex_encode(pck->fmspc, TDX_FMSPC, fmspc);
		refuse(refusals, TL_E_VERIFY_TDX_TCB,
		       "there is no TCB info for platforms of FMSPC %s and PCE-ID %02x%02x", fmspc,
		       pck->pce_id[0], pck->pce_id[1]);
		return;
	}
	if (!is_in_time(info->issued_s, info->next_s, now_s, "the TCB info", refusals))
		return;
	module_check(rules, info, td, ret, refusals);
	level = tdx_platform_level(info, pck, td);
	status_check(rules, level, "the platform", &ret->platform, refusals);
	if (level)
		memcpy(ret->tcb_date, level->date, sizeof(ret->tcb_date));
}

static void qe_check(const struct tdx_rules *rules, const struct tdx_qe_report *qe, int64_t now_s,
		     struct tdx_claims *ret, struct refusals *refusals)
{
	const struct tdx_qe_identity *due = &rules->qe;

	if (!is_in_time(due->issued_s, due->next_s, now_s, "the identity of the quoting enclave",
			refusals))
		return;
	masked_check(qe->mr_signer, due->mr_signer, NULL, sizeof(due->mr_signer),
		     "the signer of the quoting enclave", refusals);
	masked_check(qe->attributes, due->attributes, due->attributes_mask, sizeof(qe->attributes),
		     "the attributes of the quoting enclave", refusals);
	if ((qe->miscselect & due->miscselect_mask) != (due->miscselect & due->miscselect_mask) ||
	    qe->isv_prod_id != due->isv_prod_id)
		refuse(refusals, TL_E_VERIFY_TDX_TCB,
		       "the quoting enclave is product %u with MISCSELECT %08x; %u and %08x were "
		       "due",
		       qe->isv_prod_id, qe->miscselect, due->isv_prod_id, due->miscselect);
	status_check(rules, tdx_isv_level(&due->levels, qe->isv_svn), "the quoting enclave",
		     &ret->qe, refusals);
}

void tdx_quote_check(const struct tdx_rules *rules, const struct tl_buf *quote,
		     const uint8_t *nonce, size_t nonce_n, int64_t now_s, struct tdx_claims *ret,
		     struct refusals *refusals)
{
	auto_tdx_pck struct tdx_pck pck = { 0 };
	struct td_quote q = { 0 };
	struct tl_error err = { 0 };

	if (td_quote_parse(quote->data, quote->len_bytes, &q, &err) < 0) {
		refuse_error(refusals, &err);
		return;
	}
	ret->is_checked = true;
	ret->td = q.td;
	ret->is_revocation_checked = rules->flags != 0;
	if (tdx_pck_verify(rules->store, rules->flags, &q.pck_chain, now_s, &pck, &err) < 0)
		refuse_error(refusals, &err);
	signatures_check(&q, &pck, refusals);
	nonce_check(&q.td, nonce, nonce_n, refusals);
	td_check(&q.td, refusals);
	if (!rules->has_tcb) {
		module_is_intels_check(&q.td, refusals);
		return;
	}
	ret->has_tcb = true;
	if (pck.key)
		platform_check(rules, &pck, &q.td, now_s, ret, refusals);
	qe_check(rules, &q.qe, now_s, ret, refusals);
}

/* The firmware's log. */

static void rtmrs_check(const struct firmware_log *log, const struct tdx_report *td,
			struct refusals *refusals)
{
	auto_free struct pcr_values *values = calloc(1, sizeof(*values));

	if (!values || firmware_log_replay(log, TL_SHA384, values) < 0) {
		refuse(refusals, TL_E_VERIFY_FIRMWARE_REPLAY,
		       "the firmware log (CCEL) has no digests of sha384");
		return;
	}
	for (size_t i = CC_REGISTER_FIRST; i <= CC_REGISTER_LAST; i++) {
		const uint8_t *due = td->rtmr[i - CC_REGISTER_FIRST];

		if (memcmp(values->value[i], due, TDX_REGISTER_BYTES) == 0)
			continue;
		refuse(refusals, TL_E_VERIFY_FIRMWARE_REPLAY,
		       "the firmware log (CCEL) doesn't lead to the quoted RTMR %zu",
		       i - CC_REGISTER_FIRST);
		refuse_bytes(refusals, due, TDX_REGISTER_BYTES, values->value[i],
			     TDX_REGISTER_BYTES);
	}
}

/* Nothing that a firmware measures goes to MRTD, or to the register that the launch has. */
static void registers_check(const struct firmware_log *log, struct refusals *refusals)
{
	for (size_t i = 0; i < log->n; i++) {
		const struct firmware_event *e = &log->events[i];

		if (e->type == FIRMWARE_EV_NO_ACTION ||
		    (e->pcr >= CC_REGISTER_FIRST && e->pcr <= CC_REGISTER_LAST))
			continue;
		refuse(refusals, TL_E_VERIFY_FIRMWARE_LOG,
		       "firmware log (CCEL), byte %zu: an event of measurement register %u; 1 to 3 "
		       "were due",
		       e->offset, e->pcr);
		return;
	}
}

static void firmware_check(const struct tl_buf *ccel, const struct tdx_report *td,
			   struct boot_claims *ret, struct refusals *refusals)
{
	auto_firmware_log struct firmware_log log = { 0 };
	struct tl_error err = { 0 };

	if (firmware_log_parse(ccel->data, ccel->len_bytes, &log, &err) < 0) {
		(void)tl_wrap(&err, -1, "CCEL");
		refuse_error(refusals, &err);
		return;
	}
	registers_check(&log, refusals);
	rtmrs_check(&log, td, refusals);
	boot_claims_read_cc(&log, ret, refusals);
}

void tdx_evidence_check(const struct tdx_rules *rules, const struct verify_request *req,
			const uint8_t *nonce, size_t nonce_n, int64_t now_s, struct tdx_claims *ret,
			struct boot_claims *ret_boot, struct launch_claims *ret_launch,
			struct refusals *refusals)
{
	tdx_quote_check(rules, &req->tdx.quote, nonce, nonce_n, now_s, ret, refusals);
	if (!ret->is_checked)
		return;
	firmware_check(&req->tdx.ccel, &ret->td, ret_boot, refusals);
	launch_log_check_cc(&req->tdx.launch_log, ret->td.rtmr[3], ret_launch, refusals);
}
