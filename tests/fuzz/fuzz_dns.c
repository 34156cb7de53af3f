/* SPDX-License-Identifier: Apache-2.0 */
/* `teelaunch vm`: queries for names, from the guest. An answer is the query's own (RFC 1035, 4.1),
 * fits, and is no query. */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "fuzz.h"
#include "src/vm/dns.h"

#define HEADER_BYTES 12
#define IS_RESPONSE  0x80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[] = "registry.example", *items[] = { name, NULL };
	const struct tl_strv names = { .items = items, .n = 1 };
	auto_buf struct tl_buf reply = { 0 }, again = { 0 };
	int r;

	tl_buf_init(&reply, DNS_MESSAGE_MAX);
	tl_buf_init(&again, DNS_MESSAGE_MAX);
	r = dns_answer(data, size, &names, &reply);
	if (r < 0) {
		FUZZ_CHECK((r == -EBADMSG || r == -ENOMEM) && !reply.len_bytes);
		return 0;
	}
	FUZZ_CHECK(reply.len_bytes >= HEADER_BYTES && reply.len_bytes <= DNS_MESSAGE_MAX);
	FUZZ_CHECK(memcmp(reply.data, data, 2) == 0 && reply.data[2] & IS_RESPONSE);
	FUZZ_CHECK(dns_answer(reply.data, reply.len_bytes, &names, &again) == -EBADMSG);
	return 0;
}
