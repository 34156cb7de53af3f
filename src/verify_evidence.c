/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence of the launcher's socket, or of a recorded request to a verifier. */
#include "verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/evidence.h>
#include <teelaunch/record_log.h>

#include "../attest/evidence_request.h"
#include "../attest/verifier/claims.h"
#include "../attest/verifier/request_parts.h"
#include "../attest/verifier/vm_attestation.h"

#define PEM_BYTES_MAX (1024 * 1024)
#define ROOTS_NAME    "given" /* there is one set of roots, and it needs no name */

/* What is judged, whatever document it came in. */
struct subject {
	struct vm_attestation socket; /* its request is the one that is judged */
	bool is_of_socket;
	struct tl_blob challenge;
	uint8_t nonce[TL_HASH_SIZE_MAX]; /* of the socket's quotes, or its TD's */
};

static void subject_done(struct subject *s)
{
	vm_attestation_done(&s->socket);
	tl_blob_done(&s->challenge);
}
#define auto_subject __attribute__((cleanup(subject_done)))

static int nonce_read(const char *hex, struct tl_blob *ret, struct tl_error *err)
{
	size_t n = strlen(hex) / 2;

	if (n > VERIFY_NONCE_BYTES_MAX)
		return tl_fail(err, TL_E_USAGE, EINVAL, "--nonce has more than %d bytes",
			       VERIFY_NONCE_BYTES_MAX);
	ret->bytes = malloc(n + 1);
	if (!ret->bytes)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a nonce");
	ret->n = n;
	if (n == 0 || strlen(hex) != 2 * n || tl_hex_decode(hex, ret->bytes, n) < 0)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--nonce takes bytes in lower-case hex digits");
	return 0;
}

/* The three documents have no name in common. */
static int subject_read(const struct tl_buf *text, struct subject *ret, struct tl_error *err)
{
	json_auto_t *root = NULL;
	bool is_old;
	int r = request_json_load(tl_buf_str(text), text->len_bytes, &root, err);

	if (r < 0)
		return r;
	ret->is_of_socket =
		!json_object_get(root, "tpmAttestation") && !json_object_get(root, "tdCcel");
	if (ret->is_of_socket)
		return vm_attestation_parse(tl_buf_str(text), text->len_bytes, &ret->socket, err);
	is_old = json_object_get(root, "confidentialSpaceInfo") ||
		 json_object_get(root, "tokenOptions");
	return verify_request_parse(is_old ? REQUEST_ATTESTATION : REQUEST_CONFIDENTIAL_SPACE,
				    tl_buf_str(text), text->len_bytes, &ret->socket.request, err);
}

static bool is_same(const struct tl_buf *b, const void *bytes, size_t n)
{
	return b->len_bytes == n && memcmp(tl_buf_str(b), bytes, n) == 0;
}

/* What the quotes must carry, and what the document says of it. */
static int nonce_find(struct subject *s, struct refusals *refusals, const uint8_t **ret,
		      size_t *ret_n, struct tl_error *err)
{
	const struct vm_attestation *a = &s->socket;
	const struct tl_blob extra = { .bytes = (uint8_t *)(uintptr_t)tl_buf_str(&a->extra),
				       .n = a->extra.len_bytes };
	enum tl_hash hash = a->request->has_tdx ? TL_SHA512 : TL_SHA256;

	*ret = s->challenge.bytes;
	*ret_n = s->challenge.n;
	if (!s->is_of_socket)
		return 0;
	if (a->has_label && !is_same(&a->label, EVIDENCE_LABEL, strlen(EVIDENCE_LABEL)))
		refuse(refusals, TL_E_VERIFY_NONCE, "the evidence has another label than '%s'",
		       EVIDENCE_LABEL);
	if (a->has_challenge && !is_same(&a->challenge, s->challenge.bytes, s->challenge.n))
		refuse(refusals, TL_E_VERIFY_NONCE,
		       "the evidence names another challenge than --nonce");
	/* As long as what carries it: a TPM's extra data, a TD's report data. */
	if (evidence_nonce(hash, &s->challenge, a->has_extra ? &extra : NULL, s->nonce) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "hash of the challenge");
	*ret = s->nonce;
	*ret_n = tl_hash_size(hash);
	return 0;
}

static int anchors_read(const struct verify *v, struct ak_anchors *anchors, struct tl_error *err)
{
	auto_buf struct tl_buf roots = { 0 }, others = { 0 };
	int r = verify_file_read(v->ak_roots, PEM_BYTES_MAX, &roots, err);

	if (r == 0)
		r = tl_wrap(err,
			    ak_anchors_add(anchors, ROOTS_NAME, tl_buf_str(&roots), roots.len_bytes,
					   err),
			    "--ak-roots");
	if (r < 0 || !v->ak_intermediates)
		return r;
	r = verify_file_read(v->ak_intermediates, PEM_BYTES_MAX, &others, err);
	if (r == 0)
		r = ak_anchors_add_intermediates(anchors, tl_buf_str(&others), others.len_bytes,
						 err);
	return tl_wrap(err, r, "--ak-intermediates");
}

/* A claim of what couldn't be read would be a lie by omission. */
static json_t *claims_of(const struct checked_evidence *ev)
{
	if (!ev->launch.image_ref || !ev->launch.image_digest || !ev->launch.restart_policy)
		return NULL;
	return json_pack("{s:b, s:s, s:o*}", "secboot", ev->boot.is_secure_boot, "dbgstat",
			 ev->boot.is_debug_disabled ? "disabled-since-boot" : "enabled", "submods",
			 claims_submods(ev));
}

static bool is_record_measured(const struct verify_request *request)
{
	static const uint8_t zeros[TL_HASH_SIZE_MAX];

	for (size_t i = 0; i < request->banks_n; i++)
		if (memcmp(request->banks[i].pcrs.value[TL_RECORD_PCR], zeros,
			   tl_hash_size(request->banks[i].hash)) != 0)
			return true;
	return false;
}

static int subject_judge(struct verify *v, struct subject *s, struct ak_anchors *anchors,
			 const struct tdx_rules *tdx, struct tl_error *err)
{
	/* The socket's evidence has the record for who asks; PCR 15 is quoted in any case. */
	const struct evidence_rules rules = { .anchors = anchors,
					      .images = &v->expect.images,
					      .tdx = tdx,
					      .is_record_apart = s->is_of_socket };
	auto_checked_evidence struct checked_evidence ev = { 0 };
	const struct verify_request *request = s->socket.request;
	const uint8_t *nonce;
	size_t nonce_n;
	int r = nonce_find(s, &v->refusals, &nonce, &nonce_n, err);

	if (r < 0)
		return r;
	if (request->has_tdx && !tdx)
		return tl_fail(err, TL_E_VERIFY_UNSUPPORTED, EINVAL,
			       "evidence of TDX is judged with --tdx-root only");
	if (request->has_snp)
		return tl_fail(err, TL_E_VERIFY_UNSUPPORTED, EINVAL,
			       "'sevSnpAttestation': reports of SEV-SNP are judged by teeverifierd "
			       "(--snp-root), not here");
	v->is_td = request->has_tdx && !request->banks_n;
	evidence_check(&rules, request, nonce, nonce_n, "", tl_clock_real_s(), &ev, &v->refusals);
	v->claims = claims_of(&ev);
	v->is_record_missing = !ev.record && is_record_measured(request);
	if (request->banks_n)
		verify_expect_registers(&v->expect, request, &v->refusals);
	if (ev.tdx.is_checked)
		verify_expect_rtmr(&v->expect, ev.tdx.td.rtmr[3], &v->refusals);
	if (!verify_expect_record(&v->expect, json_object_get(v->claims, "submods"), &v->refusals))
		v->is_record_missing = true;
	if (v->claims)
		verify_expect_mode(&v->expect, v->claims, &v->refusals);
	verify_expect_container(&v->expect,
				json_object_get(json_object_get(v->claims, "submods"), "container"),
				&v->refusals);
	return 0;
}

int verify_evidence(struct verify *v, struct tl_error *err)
{
	auto_ak_anchors struct ak_anchors *anchors = ak_anchors_new();
	auto_tdx_rules struct tdx_rules *tdx = NULL;
	auto_subject struct subject s = { 0 };
	auto_buf struct tl_buf text = { 0 };
	int r;

	if (!anchors)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for roots");
	r = nonce_read(v->nonce_hex, &s.challenge, err);
	if (r == 0)
		r = v->ak_roots ? anchors_read(v, anchors, err) : 0;
	if (r == 0)
		r = tdx_rules_load(&v->tdx, tl_clock_real_s(), &tdx, err);
	if (r == 0)
		r = verify_file_read(v->evidence_path, REQUEST_BODY_MAX, &text, err);
	if (r == 0)
		r = subject_read(&text, &s, err);
	return r < 0 ? r : subject_judge(v, &s, anchors, tdx, err);
}
