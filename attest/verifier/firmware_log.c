/* SPDX-License-Identifier: Apache-2.0 */
#include "firmware_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/event_log.h>

#include "le_reader.h"

#define SPEC_ID_SIGNATURE "Spec ID Event03" /* 16 bytes with the NUL */
#define LOCALITY_MAGIC    "StartupLocality"
#define MAGIC_BYTES       16
#define LEGACY_DIGEST     20

static int fail_at(size_t offset, const char *what, struct tl_error *err)
{
	return tl_fail(err, TL_E_VERIFY_FIRMWARE_LOG, EBADMSG, "firmware log, byte %zu: %s", offset,
		       what);
}

static const char *spec_id_read(struct le_reader *r, struct firmware_log *log)
{
	const uint8_t *magic = le_read_bytes(r, MAGIC_BYTES);
	uint32_t n;

	if (!magic || memcmp(magic, SPEC_ID_SIGNATURE, MAGIC_BYTES) != 0)
		return "no 'Spec ID Event03' header; only the crypto-agile format is read";
	(void)le_read_bytes(r, 4 + 4); /* platform class, versions, uintn size */
	n = le_read(r, 4);
	if (n == 0 || n > FIRMWARE_BANKS_MAX)
		return "number of algorithms is not within 1 to 8";
	for (uint32_t i = 0; i < n; i++) {
		uint16_t hash = (uint16_t)le_read(r, 2);
		uint16_t size = (uint16_t)le_read(r, 2);

		if (r->is_short)
			break;
		if (size == 0 || size > TL_HASH_SIZE_MAX ||
		    (tl_hash_size(hash) && tl_hash_size(hash) != size))
			return "digest size doesn't fit its algorithm";
		for (size_t k = 0; k < log->banks_n; k++)
			if (log->banks[k].hash == hash)
				return "an algorithm is listed twice";
		log->banks[log->banks_n].hash = hash;
		log->banks[log->banks_n++].size_bytes = size;
	}
	(void)le_read_bytes(r, le_read(r, 1)); /* vendor information */
	if (r->is_short || r->at != r->n)
		return "the Spec ID header's size doesn't fit its content";
	return NULL;
}

static int header_read(struct le_reader *r, struct firmware_log *log, struct tl_error *err)
{
	uint32_t pcr = le_read(r, 4), type = le_read(r, 4), size;
	struct le_reader sub = { 0 };
	const char *fault;

	(void)le_read_bytes(r, LEGACY_DIGEST);
	size = le_read(r, 4);
	sub.n = size;
	sub.data = le_read_bytes(r, size);
	if (r->is_short)
		return fail_at(0, "the first event is cut off", err);
	/* A log of measurement registers (CCEL) gives the header one that exists: 1. */
	if (pcr > 1 || type != FIRMWARE_EV_NO_ACTION)
		return fail_at(0, "the first event is not the Spec ID header", err);
	fault = spec_id_read(&sub, log);
	return fault ? fail_at(0, fault, err) : 0;
}

static const char *digests_read(struct le_reader *r, const struct firmware_log *log,
				struct firmware_event *e)
{
	uint32_t n = le_read(r, 4);

	if (!r->is_short && n != log->banks_n)
		return "an event doesn't have a digest for each algorithm of the header";
	for (uint32_t i = 0; i < n && !r->is_short; i++) {
		uint16_t hash = (uint16_t)le_read(r, 2);
		size_t k = 0;

		while (k < log->banks_n && log->banks[k].hash != hash)
			k++;
		if (k == log->banks_n)
			return "a digest's algorithm is not in the header";
		if (e->digests[k])
			return "an event has two digests of one algorithm";
		e->digests[k] = le_read_bytes(r, log->banks[k].size_bytes);
	}
	return NULL;
}

/* Only the first event of PCR 0 can say where it starts from. */
static const char *locality_read(struct firmware_log *log, const struct firmware_event *e)
{
	if (e->data_n != MAGIC_BYTES + 1 || memcmp(e->data, LOCALITY_MAGIC, MAGIC_BYTES) != 0)
		return NULL;
	for (size_t i = 0; i < log->n; i++)
		if (log->events[i].pcr == 0 && log->events[i].type != FIRMWARE_EV_NO_ACTION)
			return "StartupLocality after PCR 0 was extended";
	if (log->has_locality || (e->data[16] != 0 && e->data[16] != 3 && e->data[16] != 4))
		return "StartupLocality is doubled, or none of 0, 3 and 4";
	log->has_locality = true;
	log->startup_locality = e->data[16];
	return NULL;
}

static int event_read(struct le_reader *r, struct firmware_log *log, struct tl_error *err)
{
	struct firmware_event e = { .offset = r->at };
	const char *fault;

	e.pcr = le_read(r, 4);
	e.type = le_read(r, 4);
	fault = digests_read(r, log, &e);
	if (fault)
		return fail_at(e.offset, fault, err);
	e.data_n = le_read(r, 4);
	e.data = le_read_bytes(r, e.data_n);
	if (r->is_short)
		return fail_at(e.offset, "an event is cut off", err);
	if (e.type == FIRMWARE_EV_NO_ACTION)
		fault = locality_read(log, &e);
	else if (e.pcr >= PCRS_MAX)
		fault = "an event extends a PCR above 23";
	if (fault)
		return fail_at(e.offset, fault, err);
	if (log->n == FIRMWARE_EVENTS_MAX)
		return fail_at(e.offset, "more events than any boot has", err);
	log->events[log->n++] = e;
	return 0;
}

int firmware_log_parse(const void *data, size_t n, struct firmware_log *ret, struct tl_error *err)
{
	auto_firmware_log struct firmware_log log = { 0 };
	struct le_reader r = { .data = data, .n = n };
	/* The smallest event: no digest, no data. */
	size_t most = n / 16 < FIRMWARE_EVENTS_MAX ? n / 16 : FIRMWARE_EVENTS_MAX;
	int rc = header_read(&r, &log, err);

	if (rc < 0)
		return rc;
	log.events = calloc(most + 1, sizeof(*log.events));
	if (!log.events)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the firmware log");
	while (rc == 0 && r.at < r.n)
		rc = event_read(&r, &log, err);
	if (rc < 0)
		return rc;
	*ret = log;
	log = (struct firmware_log){ 0 };
	return 0;
}

void firmware_log_done(struct firmware_log *log)
{
	free(log->events);
	*log = (struct firmware_log){ 0 };
}

static size_t bank_find(const struct firmware_log *log, uint16_t hash)
{
	size_t k = 0;

	while (k < log->banks_n && log->banks[k].hash != hash)
		k++;
	return k;
}

const uint8_t *firmware_log_digest(const struct firmware_log *log, size_t i, uint16_t hash)
{
	size_t k = bank_find(log, hash);

	return k < log->banks_n ? log->events[i].digests[k] : NULL;
}

bool firmware_log_is_of(const struct firmware_log *log, const uint16_t *banks, size_t banks_n,
			size_t i, const void *data, size_t n)
{
	uint8_t digest[TL_HASH_SIZE_MAX];

	for (size_t k = 0; k < banks_n; k++) {
		const uint8_t *logged = firmware_log_digest(log, i, banks[k]);

		if (!logged || tl_digest(banks[k], data, n, digest) < 0 ||
		    memcmp(logged, digest, tl_hash_size(banks[k])) != 0)
			return false;
	}
	return banks_n > 0;
}

bool firmware_log_is_separator(const struct firmware_log *log, const uint16_t *banks,
			       size_t banks_n, size_t i)
{
	return firmware_log_is_of(log, banks, banks_n, i, "\x00\x00\x00\x00", 4) ||
	       firmware_log_is_of(log, banks, banks_n, i, "\xff\xff\xff\xff", 4);
}

int firmware_log_replay(const struct firmware_log *log, uint16_t hash, struct pcr_values *ret)
{
	size_t size = tl_hash_size(hash), k = bank_find(log, hash);
	struct pcr_values pcrs = { 0 };

	if (k == log->banks_n || size == 0)
		return -ENOENT;
	pcrs.value[0][size - 1] = log->startup_locality;
	/* Dynamic PCRs start from ones (PC Client Platform TPM Profile, 4.6.2). */
	for (size_t i = 17; i <= 22; i++)
		memset(pcrs.value[i], 0xff, size);
	for (size_t i = 0; i < log->n; i++) {
		const struct firmware_event *e = &log->events[i];

		if (e->type == FIRMWARE_EV_NO_ACTION)
			continue;
		if (tl_register_extend(hash, pcrs.value[e->pcr], e->digests[k]) < 0)
			return -EIO;
		pcrs.mask |= UINT32_C(1) << e->pcr;
	}
	*ret = pcrs;
	return 0;
}
