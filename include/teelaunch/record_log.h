/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of PCR 15: one CEL record, in the TLV form of the launch log (event_log.h), whose event
 * is the launch record (launch_record.h). It has a register and a log of its own, because verifiers
 * of the launch log refuse events that they don't know. Pure. docs/measurement.md has the bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/event_log.h>

/* 14 is shim's, 16 and 23 can be reset; nothing of the image extends 15. */
#define TL_RECORD_PCR 15
/* Far from the numbers of the launch log's events. */
#define TL_EVENT_LAUNCH_RECORD 128

/** The record as an event; borrows @text. */
struct tl_event tl_record_event(const void *text, size_t n);

/**
 * Append the whole log to @ret, with a digest for each bank.
 * TL_E_EVENT_LIMIT: @text is longer than TL_EVENT_CONTENT_MAX_BYTES, or the log than @ret may be.
 */
int tl_record_log_encode(const void *text, size_t n, const struct tl_banks *banks,
			 struct tl_buf *ret, struct tl_error *err);

/**
 * Strict decoding: exactly one record, of PCR 15, with a launch record. Digests are not compared:
 * tl_cel_replay() does that.
 *
 * @data  must outlive @ret. @ret is set on success only.
 * -EBADMSG with TL_E_CEL_MALFORMED, or -ENOMEM.
 */
int tl_record_log_decode(const void *data, size_t n, struct tl_cel *ret, struct tl_error *err);

/** PCR 15 from zeros after @text. @ret holds tl_hash_size(hash) bytes. As tl_events_replay(). */
int tl_record_replay(const void *text, size_t n, uint16_t hash, uint8_t *ret);
