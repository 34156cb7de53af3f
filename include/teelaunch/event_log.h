/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch log: what is measured, its canonical encoding (CEL), and the replay of a register.
 * Pure: no I/O, no clock. Bytes are those of the Confidential Space launcher: TCG Canonical Event
 * Log Format 1.0 rev. 0.41, section 5.1 (TLV), with the content type 80 (0x50) and the event
 * numbers of go-eventlog's `cel` package. docs/measurement.md has them with examples.
 *
 * Codes: TL_E_EVENT_LIMIT, TL_E_EVENT_ORDER, TL_E_CEL_MALFORMED, TL_E_CEL_DIGEST, TL_E_NO_MEMORY.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/digest.h>
#include <teelaunch/error.h>

#define TL_BANKS_MAX               4         /* as many as enum tl_hash has members */
#define TL_EVENTS_MAX              8192      /* events of one log */
#define TL_EVENT_CONTENT_MAX_BYTES 131072    /* Linux MAX_ARG_STRLEN: no longer string can run */
#define TL_CEL_MAX_BYTES           (4 << 20) /* one encoded log */

enum tl_event_type {
	TL_EVENT_IMAGE_REF = 0,
	TL_EVENT_IMAGE_DIGEST = 1,
	TL_EVENT_RESTART_POLICY = 2,
	TL_EVENT_IMAGE_ID = 3,
	TL_EVENT_ARG = 4,
	TL_EVENT_ENV = 5,
	TL_EVENT_OVERRIDE_ARG = 6,
	TL_EVENT_OVERRIDE_ENV = 7,
	TL_EVENT_SEPARATOR = 8,
	TL_EVENT_MEMORY_MONITOR = 9,
	TL_EVENT_GPU_CC_MODE = 10,
	TL_EVENT_GPU_BINDING = 11,
};

/** "image_ref", "arg", ...; NULL for a type that isn't one of enum tl_event_type. */
const char *tl_event_type_name(uint8_t type);

/* Where a log is extended to; the value is the record's index type byte. */
enum tl_cel_form {
	TL_CEL_TPM = 0x01, /* a TPM's PCR */
	TL_CEL_TDX = 0x6C, /* a confidential computing measurement register */
};
#define TL_CEL_PCR  13 /* register index of every record in the TPM form */
#define TL_CEL_CCMR 4  /* the same in the TDX form; it is RTMR[3] */

/* The register's hash algorithms, in the order the hardware reports them. */
struct tl_banks {
	uint16_t hashes[TL_BANKS_MAX]; /* enum tl_hash */
	size_t n;
};

struct tl_event {
	uint8_t type;           /* enum tl_event_type; others encode too, but nobody accepts them */
	const uint8_t *content; /* raw bytes, no terminator */
	size_t content_len;
};

/* One digest per bank, in bank order. */
struct tl_event_digests {
	struct {
		uint16_t hash;
		uint8_t bytes[TL_HASH_SIZE_MAX];
	} items[TL_BANKS_MAX];
	size_t n;
};

/* Owns the contents. Zero-initialised is empty. */
struct tl_event_list {
	struct tl_event *items;
	size_t n;
	size_t content_bytes; /* of all events together */
};

/** Copy an event to the end. Refused after a separator: TL_E_EVENT_ORDER, list unchanged. */
int tl_events_add(struct tl_event_list *list, uint8_t type, const void *content, size_t n,
		  struct tl_error *err);
void tl_events_done(struct tl_event_list *list);
#define auto_events __attribute__((cleanup(tl_events_done)))

/** Append the content TLV (what is hashed): 0x50, length, event type, length, content. */
int tl_event_encode(const struct tl_event *event, struct tl_buf *ret);
/** Hash the content TLV for each bank. 0, -EINVAL (a bank we don't know), -EIO or -ENOMEM. */
int tl_event_digest(const struct tl_event *event, const struct tl_banks *banks,
		    struct tl_event_digests *ret);
/** Append record @number; @ret is unchanged on failure. */
int tl_cel_append(struct tl_buf *ret, enum tl_cel_form form, uint64_t number,
		  const struct tl_event *event, const struct tl_event_digests *digests);
/** Append a whole log, numbered from 0. */
int tl_cel_encode(const struct tl_event_list *list, enum tl_cel_form form,
		  const struct tl_banks *banks, struct tl_buf *ret, struct tl_error *err);

struct tl_cel_record {
	uint64_t number;
	struct tl_event event; /* content borrowed from the decoded bytes */
	struct tl_event_digests digests;
};

struct tl_cel {
	enum tl_cel_form form; /* meaningless when n is 0 */
	struct tl_cel_record *records;
	size_t n;
};
void tl_cel_done(struct tl_cel *cel);
#define auto_cel __attribute__((cleanup(tl_cel_done)))

enum tl_cel_fault {
	TL_CEL_FAULT_NONE,
	TL_CEL_TRUNCATED,         /* a TLV ends behind its surroundings */
	TL_CEL_TYPE,              /* another TLV was due */
	TL_CEL_LENGTH,            /* a fixed-size value of another size, or bytes after it */
	TL_CEL_NUMBER,            /* records aren't numbered 0, 1, 2, ... */
	TL_CEL_INDEX_TYPE,        /* neither PCR nor CCMR */
	TL_CEL_MIXED_INDEX_TYPES, /* both in one log */
	TL_CEL_INDEX,             /* not PCR 13 or CCMR 4 */
	TL_CEL_DIGEST_ALG,        /* unknown, twice, or not the ones of the first record */
	TL_CEL_TOO_MUCH,          /* a limit of this header */
};
const char *tl_cel_fault_name(enum tl_cel_fault fault); /* "truncated", "mixed-index-types", ... */

/**
 * Strict decoding of a log; digests may stand in any order. Checks form, not meaning: event types
 * and digests are the caller's business (tl_cel_replay).
 *
 * @data       must outlive @ret
 * @ret        set on success only
 * @ret_fault  may be NULL; on -EBADMSG, what was wrong. The message names the byte offset.
 */
int tl_cel_decode(const void *data, size_t n, struct tl_cel *ret, enum tl_cel_fault *ret_fault,
		  struct tl_error *err);

/** new = H(old || digest), the rule of TPM 2.0 part 1, 17.2.2, and of RTMRs. */
int tl_register_extend(uint16_t hash, uint8_t *reg, const uint8_t *digest);
/**
 * The value of the register, from zeros, after the log: each digest is computed from its content
 * and must equal the one in the record, else -EBADMSG, TL_E_CEL_DIGEST, naming the record.
 * @ret  holds tl_hash_size(hash) bytes; set on success only
 */
int tl_cel_replay(const struct tl_cel *cel, uint16_t hash, uint8_t *ret, struct tl_error *err);
/** The same for events that were never encoded. 0, -EINVAL, -EIO or -ENOMEM. */
int tl_events_replay(const struct tl_event_list *list, uint16_t hash, uint8_t *ret);
