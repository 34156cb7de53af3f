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
#define AT_ABI_MINOR      0x1e9
#define AT_ABI_MAJOR      0x1ea
#define AT_LAUNCH_TCB     0x1f0
#define AT_SIGNATURE      0x2a0

#define VERSION_MIN        2
#define VERSION_MAX        5
#define ALGO_P384_SHA384   1
#define VMPL_MAX           3
#define FLAGS_KNOWN        0x1f /* AUTHOR_KEY_EN, MASK_CHIP_KEY, SIGNING_KEY */
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

/* What must be zero, up to and without a version that put something there. */
static const struct {
	uint16_t at, n;
	uint32_t until;
} reserved[] = {
	{ 0x04c, 4, VERSION_MAX + 1 },
	{ 0x188, 3, 3 }, /* CPUID_FAM_ID, CPUID_MOD_ID, CPUID_STEP */
	{ 0x18b, 21, VERSION_MAX + 1 },
	{ 0x1eb, 1, VERSION_MAX + 1 },
	{ 0x1ef, 1, VERSION_MAX + 1 },
	{ 0x1f8, 16, 5 }, /* LAUNCH_MIT_VECTOR, CURRENT_MIT_VECTOR */
	{ 0x208, 152, VERSION_MAX + 1 },
	{ AT_SIGNATURE + 2 * SNP_SIGNATURE_PART, 512 - 2 * SNP_SIGNATURE_PART, VERSION_MAX + 1 },
};

/* Whoever sets it means something by it that isn't known here. */
static int reserved_check(const uint8_t *report, uint32_t version, struct tl_error *err)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(reserved); i++)
		for (size_t k = 0; version < reserved[i].until && k < reserved[i].n; k++)
			if (report[reserved[i].at + k])
				return bad(err, "a byte that is reserved", 0,
					   report[reserved[i].at + k]);
	return u32_at(report + AT_FLAGS) & ~(uint32_t)FLAGS_KNOWN
		       ? bad(err, "a bit beside the kind of key", 0, u32_at(report + AT_FLAGS))
		       : 0;
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
		.abi = (uint16_t)(p[AT_ABI_MAJOR] << 8 | p[AT_ABI_MINOR]),
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
	if (reserved_check(p, r.version, err) < 0)
		return -EBADMSG;
	memcpy(r.report_data, p + AT_REPORT_DATA, sizeof(r.report_data));
	memcpy(r.measurement, p + AT_MEASUREMENT, sizeof(r.measurement));
	memcpy(r.reported_tcb, p + AT_REPORTED_TCB, sizeof(r.reported_tcb));
	memcpy(r.launch_tcb, p + AT_LAUNCH_TCB, sizeof(r.launch_tcb));
	memcpy(r.chip_id, p + AT_CHIP_ID, sizeof(r.chip_id));
	*ret = r;
	return 0;
}

/* Its bytes are the table's, behind the entries, and no other entry's. */
static int place_check(const uint8_t *data, size_t n, size_t head, size_t at, struct tl_error *err)
{
	uint64_t offset = u32_at(data + at + GUID_BYTES);
	uint64_t length = u32_at(data + at + GUID_BYTES + 4);

	if (offset < head || offset > n || length > n - offset)
		return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
			       "SEV-SNP certificate table: %llu bytes at %llu are not in it (%zu "
			       "bytes, of which %zu are entries)",
			       (unsigned long long)length, (unsigned long long)offset, n, head);
	for (size_t other = 0; other < at; other += ENTRY_BYTES) {
		uint64_t begin = u32_at(data + other + GUID_BYTES);

		if (offset < begin + u32_at(data + other + GUID_BYTES + 4) &&
		    begin < offset + length)
			return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
				       "SEV-SNP certificate table: %llu bytes at %llu are another "
				       "entry's too",
				       (unsigned long long)length, (unsigned long long)offset);
	}
	return 0;
}

static int entry_take(const uint8_t *data, const uint8_t *entry, struct snp_certs *ret,
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
	for (size_t i = 0; i < TL_ARRAY_SIZE(kinds); i++) {
		if (memcmp(entry, kinds[i].guid, GUID_BYTES) != 0)
			continue;
		if (kinds[i].to->data)
			return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
				       "SEV-SNP certificate table: a kind is there twice");
		*kinds[i].to = (struct snp_span){ data + u32_at(entry + GUID_BYTES),
						  u32_at(entry + GUID_BYTES + 4) };
	}
	return 0;
}

/* How many entries there are before the GUID of zeros; -EBADMSG if it doesn't come. */
static int entries_count(const uint8_t *data, size_t n, size_t *ret)
{
	static const uint8_t end[GUID_BYTES];

	for (size_t i = 0; i <= SNP_CERT_ENTRIES_MAX && (i + 1) * ENTRY_BYTES <= n; i++) {
		if (memcmp(data + i * ENTRY_BYTES, end, sizeof(end)) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EBADMSG;
}

int snp_certs_parse(const void *data, size_t n, struct snp_certs *ret, struct tl_error *err)
{
	struct snp_certs certs = { 0 };
	const uint8_t *p = data;
	size_t entries = 0;
	int r = 0;

	if (n && entries_count(p, n, &entries) < 0)
		return tl_fail(err, TL_E_VERIFY_SNP_REPORT, EBADMSG,
			       "SEV-SNP certificate table: no end within %d entries and %zu bytes",
			       SNP_CERT_ENTRIES_MAX, n);
	for (size_t i = 0; r == 0 && i < entries; i++) {
		r = place_check(p, n, (entries + 1) * ENTRY_BYTES, i * ENTRY_BYTES, err);
		if (r == 0)
			r = entry_take(p, p + i * ENTRY_BYTES, &certs, err);
	}
	if (r == 0)
		*ret = certs;
	return r;
}
