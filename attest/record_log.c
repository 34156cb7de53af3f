/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/record_log.h>

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "cel_tlv.h"

struct tl_event tl_record_event(const void *text, size_t n)
{
	return (struct tl_event){ .type = TL_EVENT_LAUNCH_RECORD,
				  .content = text,
				  .content_len = n };
}

int tl_record_log_encode(const void *text, size_t n, const struct tl_banks *banks,
			 struct tl_buf *ret, struct tl_error *err)
{
	const struct tl_event event = tl_record_event(text, n);
	struct tl_event_digests digests;
	int r = tl_event_digest(&event, banks, &digests);

	if (r == 0)
		r = cel_append_to(ret, TL_CEL_TPM, TL_RECORD_PCR, 0, &event, &digests);
	if (r == -E2BIG || r == -ENOBUFS)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "the launch record has %zu bytes; at most %d can be measured", n,
			       TL_EVENT_CONTENT_MAX_BYTES);
	if (r < 0)
		return tl_fail_sys(err, r == -ENOMEM ? TL_E_NO_MEMORY : TL_E_INTERNAL, -r,
				   "encode the launch record's log");
	return 0;
}

int tl_record_log_decode(const void *data, size_t n, struct tl_cel *ret, struct tl_error *err)
{
	auto_cel struct tl_cel cel = { 0 };
	int r = cel_decode_of(data, n, TL_RECORD_PCR, &cel, NULL, err);

	if (r < 0)
		return r;
	if (cel.n != 1 || cel.form != TL_CEL_TPM ||
	    cel.records[0].event.type != TL_EVENT_LAUNCH_RECORD)
		return tl_fail(err, TL_E_CEL_MALFORMED, EBADMSG,
			       "it is not one record of type %d for PCR %d", TL_EVENT_LAUNCH_RECORD,
			       TL_RECORD_PCR);
	*ret = cel;
	cel = (struct tl_cel){ 0 };
	return 0;
}

int tl_record_replay(const void *text, size_t n, uint16_t hash, uint8_t *ret)
{
	const struct tl_banks one = { .hashes = { hash }, .n = 1 };
	const struct tl_event event = tl_record_event(text, n);
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0 };
	struct tl_event_digests digests;
	int r = tl_hash_size(hash) ? tl_event_digest(&event, &one, &digests) : -EINVAL;

	if (r == 0)
		r = tl_register_extend(hash, reg, digests.items[0].bytes);
	if (r < 0)
		return r;
	memcpy(ret, reg, tl_hash_size(hash));
	return 0;
}
