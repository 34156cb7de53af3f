/* SPDX-License-Identifier: Apache-2.0 */
/* For kinds of verifiers: what one has to bring; the retries and the token's checks are common. */
#pragma once

#include <teelaunch/deadline.h>
#include <teelaunch/verifier_client.h>

/* One attempt's input. */
struct verifier_attempt {
	const struct tl_attest_sources *sources;
	const struct tl_token_options *options;
	struct tl_deadline deadline; /* of the whole attestation */
};

struct verifier_ops {
	/**
	 * From a new challenge to a token, once.
	 * @ret                 token, warnings, date_s; freed by the caller, on failure too
	 * @ret_retry_after_ms  on failure: the earliest time to come back; stays 0 if not told
	 */
	int (*attempt)(void *impl, const struct verifier_attempt *a, struct tl_attest_result *ret,
		       uint64_t *ret_retry_after_ms, struct tl_error *err);
	void (*close)(void *impl);
};

/** Make a handle; takes over @consume_impl on success only. Only budget and cancel are read. */
int verifier_new(const struct verifier_ops *ops, void *consume_impl,
		 const struct tl_verifier_options *options, struct tl_verifier **ret,
		 struct tl_error *err);
