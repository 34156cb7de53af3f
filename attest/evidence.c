/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/evidence.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tl_blob_set(struct tl_blob *b, const void *bytes, size_t n)
{
	uint8_t *copy = NULL;

	if (n) {
		copy = malloc(n);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, bytes, n);
	}
	free(b->bytes);
	*b = (struct tl_blob){ .bytes = copy, .n = n };
	return 0;
}

void tl_blob_done(struct tl_blob *b)
{
	free(b->bytes);
	*b = (struct tl_blob){ 0 };
}

void tl_evidence_init(struct tl_evidence *e)
{
	memset(e, 0, sizeof(*e));
}

void tl_evidence_done(struct tl_evidence *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < TL_BANKS_MAX; i++) {
		tl_blob_done(&e->quotes[i].attest);
		tl_blob_done(&e->quotes[i].signature);
	}
	for (size_t i = 0; i < TL_CHAIN_MAX; i++)
		tl_blob_done(&e->cert_chain[i]);
	tl_blob_done(&e->tcg_event_log);
	tl_blob_done(&e->cel);
	tl_blob_done(&e->record);
	tl_blob_done(&e->ak_public);
	tl_blob_done(&e->ak_cert);
	tl_blob_done(&e->tdx.quote);
	tl_blob_done(&e->tdx.ccel_table);
	tl_blob_done(&e->tdx.ccel_data);
	tl_blob_done(&e->tdx.cel);
	tl_blob_done(&e->snp.report);
	tl_blob_done(&e->snp.certificates);
	tl_evidence_init(e);
}
