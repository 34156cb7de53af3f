/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `teelaunch verify`: evidence of a machine, or a token, checked offline by the code that
 * teeverifierd checks with. Every reason against it is told.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <teelaunch/buf.h>
#include <teelaunch/option_table.h>
#include <teelaunch/str.h>

#include "../attest/verifier/evidence_check.h"
#include "../attest/verifier/tdx_options.h"

#define VERIFY_EXPECT_BYTES_MAX (16 * 1024 * 1024) /* a log in hex, twice, and its events */
#define VERIFY_NONCE_BYTES_MAX  65536

/* What is held against the evidence or the token. */
struct verify_expect {
	json_t *prediction;             /* teelaunch.measure/1; NULL: none */
	struct image_references images; /* of VM images; none: which booted isn't judged */
};

/* What was asked and what came out. Texts are borrowed. */
struct verify {
	const char *evidence_path; /* NULL: a token */
	const char *nonce_hex;
	const char *ak_roots;
	const char *ak_intermediates; /* NULL: none but those of the evidence */
	struct tdx_options tdx;       /* without a root TDX evidence isn't judged */
	const char *token_path;       /* NULL: evidence */
	const char *jwks;             /* path or URL */
	const char *jwks_roots;       /* PEM file for the URL; NULL: the system's */
	const char *audience;         /* NULL: not looked at */
	struct tl_strv expect_paths;
	bool is_json;

	struct verify_expect expect;
	json_t *claims; /* what the evidence or token says; good only if nothing was refused */
	bool is_td;     /* the evidence is a TD's alone: of registers that have no launch record */
	bool is_record_missing; /* nothing says what it is, though there is one or one is predicted
				 */
	struct refusals refusals;
};

/** Read a file ("-": standard input) of at most @max bytes. TL_E_IO or what tl_file_read() says. */
int verify_file_read(const char *path, size_t max, struct tl_buf *ret, struct tl_error *err);

/* 0: judged, see v->refusals. -errno with @err: nothing can be said. */
int verify_evidence(struct verify *v, struct tl_error *err);
int verify_token(struct verify *v, struct tl_error *err);

/** A prediction, or an image's measurements, by its schema. TL_E_VERIFY_REFERENCE. */
int verify_expect_read(const char *path, struct verify_expect *ret, struct tl_error *err);
void verify_expect_done(struct verify_expect *e);
/**
 * Hold @container (submods.container; NULL: there is none) against the prediction, if there is one,
 * field by field. A host name that the prediction doesn't know is not compared.
 */
void verify_expect_container(const struct verify_expect *e, const json_t *container,
			     struct refusals *refusals);
/**
 * Hold submods.launch_record against the prediction, if both are known. False: the prediction has
 * one, and it is not known what was found.
 */
bool verify_expect_record(const struct verify_expect *e, const json_t *submods,
			  struct refusals *refusals);
/** Hold dbgstat, production or debug, against the prediction's launch record. */
void verify_expect_mode(const struct verify_expect *e, const json_t *claims,
			struct refusals *refusals);
/** The quoted PCRs 13 and 15 of each bank. */
void verify_expect_registers(const struct verify_expect *e, const struct verify_request *request,
			     struct refusals *refusals);

/** The quoted RTMR 3 (TDX_REGISTER_BYTES). */
void verify_expect_rtmr(const struct verify_expect *e, const uint8_t *rtmr3,
			struct refusals *refusals);

/** What was not checked because it wasn't given: sentence @i, or NULL past the end. */
const char *verify_unchecked(const struct verify *v, size_t i);

/* Print on standard output; 0 or -errno. */
int verify_print_json(const struct verify *v);
int verify_print_text(const struct verify *v);

/** The subcommand: returns the exit status of teelaunch-verify(1). */
int verify_main(int argc, char **argv);
extern const struct tl_options verify_options;
