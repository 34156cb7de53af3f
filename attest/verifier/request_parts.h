/* SPDX-License-Identifier: Apache-2.0 */
/* What other documents that carry the same evidence are read with. As request.h. */
#pragma once

#include <jansson.h>

#include "request.h"

/** Bounded and without duplicate keys. @ret: a new reference. Codes of verify_request_parse(). */
int request_json_load(const void *text, size_t n, json_t **ret, struct tl_error *err);

/** Empty, every buffer with its maximum. NULL on lack of memory. */
struct verify_request *verify_request_new(void);

/* The four fields of one bank's quote. */
struct request_bank_names {
	const char *hash, *pcrs, *quote, *signature;
};

/** The next bank of @req, which has room for it. */
int request_bank_parse(const json_t *v, const char *path, const struct request_bank_names *names,
		       struct verify_request *req, struct tl_error *err);

/* The fields of a TD's evidence; there may be none for the ACPI table. */
struct request_tdx_names {
	const char *quote, *ccel, *launch_log, *table;
};

int request_tdx_parse(const json_t *v, const char *path, const struct request_tdx_names *names,
		      struct verify_request *req, struct tl_error *err);
