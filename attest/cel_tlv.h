/* SPDX-License-Identifier: Apache-2.0 */
/* Type bytes of a CEL record: TCG Canonical Event Log Format 1.0 rev. 0.41, section 5.1, table 3;
 * the content type is go-eventlog's (cel/cos_tlv.go: CosEventType). */
#pragma once

#include <teelaunch/event_log.h>

#define CEL_TLV_HEADER_BYTES 5
#define CEL_TLV_NUMBER       0x00
#define CEL_TLV_DIGESTS      0x03
#define CEL_TLV_CONTENT      0x50

/* tl_cel_append() and tl_cel_decode() for a TPM's PCR other than the launch log's. */
int cel_append_to(struct tl_buf *ret, enum tl_cel_form form, uint8_t pcr, uint64_t number,
		  const struct tl_event *event, const struct tl_event_digests *digests);
int cel_decode_of(const void *data, size_t n, uint8_t pcr, struct tl_cel *ret,
		  enum tl_cel_fault *ret_fault, struct tl_error *err);
