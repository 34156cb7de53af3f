/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware's event log in the crypto-agile format (TCG PC Client Platform Firmware Profile
 * 1.05, 10.2: TCG_PCR_EVENT with a Spec ID header, then TCG_PCR_EVENT2). A confidential machine's
 * log (CCEL: UEFI 2.10, 38.4.1, CC_EVENT) is the same with its measurement registers in the place
 * of PCRs. Hostile bytes. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "request.h"

#define FIRMWARE_BANKS_MAX  8     /* algorithms of one log */
#define FIRMWARE_EVENTS_MAX 16384 /* a GRUB boot has some 200 */

/* Event types that a check looks at (10.4.1). */
enum firmware_event_type {
	FIRMWARE_EV_NO_ACTION = 0x00000003,
	FIRMWARE_EV_SEPARATOR = 0x00000004,
	FIRMWARE_EV_IPL = 0x0000000D,
};

/* Borrows from the log's bytes. */
struct firmware_event {
	uint32_t pcr; /* 0..PCRS_MAX-1; anything for EV_NO_ACTION, which extends nothing */
	uint32_t type;
	const uint8_t *digests[FIRMWARE_BANKS_MAX]; /* by the log's order of banks */
	const uint8_t *data;
	size_t data_n;
	size_t offset; /* in the log, for messages */
};

struct firmware_log {
	struct {
		uint16_t hash; /* may be one we don't know (SM3): then it can't be replayed */
		uint16_t size_bytes;
	} banks[FIRMWARE_BANKS_MAX];
	size_t banks_n;
	struct firmware_event *events;
	size_t n;
	bool has_locality;        /* said in the log; it may be said to be 0 */
	uint8_t startup_locality; /* where PCR 0 starts from (10.4.5.3); 0, 3 or 4 */
};

/**
 * @data  must outlive @ret
 * @ret   set on success only; owned by the caller (firmware_log_done)
 * Returns 0, -EBADMSG with TL_E_VERIFY_FIRMWARE_LOG naming the offset, or -ENOMEM.
 */
int firmware_log_parse(const void *data, size_t n, struct firmware_log *ret, struct tl_error *err);
void firmware_log_done(struct firmware_log *log);
#define auto_firmware_log __attribute__((cleanup(firmware_log_done)))

/** The digest of event @i in bank @hash; NULL if the log doesn't have that bank. */
const uint8_t *firmware_log_digest(const struct firmware_log *log, size_t i, uint16_t hash);

/** True if event @i's digests, in each of @banks (at least one), are those of @n bytes. */
bool firmware_log_is_of(const struct firmware_log *log, const uint16_t *banks, size_t banks_n,
			size_t i, const void *data, size_t n);

/** By its digest, whatever the log calls it; the two values that end the firmware's part. */
bool firmware_log_is_separator(const struct firmware_log *log, const uint16_t *banks,
			       size_t banks_n, size_t i);

/**
 * All PCRs from their start values through the log.
 * @ret  mask: the PCRs that any event extended; values of the others are start values
 * Returns 0, or -ENOENT when the log doesn't have bank @hash, or -EIO.
 */
int firmware_log_replay(const struct firmware_log *log, uint16_t hash, struct pcr_values *ret);
