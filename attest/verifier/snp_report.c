/* SPDX-License-Identifier: Apache-2.0 */
#include "snp_report.h"

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

/* Offsets in the report. */
#define AT_POLICY         0x008
#define AT_VMPL           0x030
#define AT_SIGNATURE_ALGO 0x034
#define AT_FLAGS          0x048
#define AT_REPORT_DATA    0x050
#define AT_MEASUREMENT    0x090
#define AT_REPORTED_TCB   0x180
#define AT_CHIP_ID        0x1a0
#define AT_LAUNCH_TCB     0x1f0
#define AT_SIGNATURE      0x2a0

#define VERSION_MIN        2
#define VERSION_MAX        5
#define ALGO_P384_SHA384   1
#define VMPL_MAX           3
#define SIGNING_KEY(flags) ((flags) >> 2 & 7)
#define GUID_BYTES         16
#define ENTRY_BYTES        (GUID_BYTES + 8)

static uint32_t u32_at(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int bad(struct tl_error *err, const char *what, uint64_t due, uint64_t found)
{
	return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
		       "SEV-SNP report: %s is %llu; %llu was due", what, (unsigned long long)found,
		       (unsigned long long)due);
}

int snp_report_parse(const void *data, size_t n, struct snp_report *ret, struct tl_error *err)
{
	const uint8_t *p = data;
	struct snp_report r;

	if (n != SNP_REPORT_BYTES)
		return bad(err, "its size", SNP_REPORT_BYTES, n);
	r = (struct snp_report){
		.version = u32_at(p),
		.policy = u32_at(p + AT_POLICY) | (uint64_t)u32_at(p + AT_POLICY + 4) << 32,
		.vmpl = u32_at(p + AT_VMPL),
		.signing_key = SIGNING_KEY(u32_at(p + AT_FLAGS)),
		.signed_part = p,
		.r = p + AT_SIGNATURE,
		.s = p + AT_SIGNATURE + SNP_SIGNATURE_PART,
	};
	if (r.version < VERSION_MIN || r.version > VERSION_MAX)
		return bad(err, "its version", VERSION_MAX, r.version);
	if (u32_at(p + AT_SIGNATURE_ALGO) != ALGO_P384_SHA384)
		return bad(err, "the algorithm of its signature", ALGO_P384_SHA384,
			   u32_at(p + AT_SIGNATURE_ALGO));
	if (r.signing_key != SNP_KEY_VCEK && r.signing_key != SNP_KEY_VLEK)
		return bad(err, "the kind of key that signed it", SNP_KEY_VCEK, r.signing_key);
	if (r.vmpl > VMPL_MAX)
		return bad(err, "the privilege level of who asked for it", 0, r.vmpl);
	memcpy(r.report_data, p + AT_REPORT_DATA, sizeof(r.report_data));
	memcpy(r.measurement, p + AT_MEASUREMENT, sizeof(r.measurement));
	memcpy(r.reported_tcb, p + AT_REPORTED_TCB, sizeof(r.reported_tcb));
	memcpy(r.launch_tcb, p + AT_LAUNCH_TCB, sizeof(r.launch_tcb));
	memcpy(r.chip_id, p + AT_CHIP_ID, sizeof(r.chip_id));
	*ret = r;
	return 0;
}

static int entry_take(const uint8_t *data, size_t n, const uint8_t *entry, struct snp_certs *ret,
		      struct tl_error *err)
{
	const struct {
		uint8_t guid[GUID_BYTES];
		struct snp_span *to;
	} kinds[] = {
		/* 63da758d-e664-4564-adc5-f4b93be8accd */
		{ { 0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b,
		    0xe8, 0xac, 0xcd },
		  &ret->vcek },
		/* a8074bc2-a25a-483e-aae6-39c045a0b8a1 */
		{ { 0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45,
		    0xa0, 0xb8, 0xa1 },
		  &ret->vlek },
		/* 4ab7b379-bbac-4fe4-a02f-05aef327c782 */
		{ { 0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3,
		    0x27, 0xc7, 0x82 },
		  &ret->ask },
	};
	uint32_t offset = u32_at(entry + GUID_BYTES), length = u32_at(entry + GUID_BYTES + 4);

	if (offset > n || length > n - offset)
		return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
			       "SEV-SNP certificate table: %u bytes at %u are not in it (%zu)",
			       length, offset, n);
	for (size_t i = 0; i < TL_ARRAY_SIZE(kinds); i++) {
		if (memcmp(entry, kinds[i].guid, GUID_BYTES) != 0)
			continue;
		if (kinds[i].to->data)
			return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
				       "SEV-SNP certificate table: a kind is there twice");
		*kinds[i].to = (struct snp_span){ data + offset, length };
	}
	return 0;
}

int snp_certs_parse(const void *data, size_t n, struct snp_certs *ret, struct tl_error *err)
{
	static const uint8_t end[GUID_BYTES];
	struct snp_certs certs = { 0 };
	const uint8_t *p = data;

	if (!n) {
		*ret = certs;
		return 0;
	}
	for (size_t i = 0; i <= SNP_CERT_ENTRIES_MAX; i++) {
		const uint8_t *entry = p + i * ENTRY_BYTES;
		int r;

		if ((i + 1) * ENTRY_BYTES > n)
			break;
		if (memcmp(entry, end, sizeof(end)) == 0) {
			*ret = certs;
			return 0;
		}
		r = entry_take(p, n, entry, &certs, err);
		if (r < 0)
			return r;
	}
	return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
		       "SEV-SNP certificate table: no end within %d entries and %zu bytes",
		       SNP_CERT_ENTRIES_MAX, n);
}
