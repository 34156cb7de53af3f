/* SPDX-License-Identifier: Apache-2.0 */
/* Type bytes of a CEL record: TCG Canonical Event Log Format 1.0 rev. 0.41, section 5.1, table 3;
 * the content type is go-eventlog's (cel/cos_tlv.go: CosEventType). */
#pragma once

#define CEL_TLV_HEADER_BYTES 5
#define CEL_TLV_NUMBER       0x00
#define CEL_TLV_DIGESTS      0x03
#define CEL_TLV_CONTENT      0x50
