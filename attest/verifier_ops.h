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

/** TL_E_NET_URL unless it is https://host[:port]. */
int verifier_url_check(const char *url, struct tl_error *err);

/* A VM's own account and those it may act for. */
#define VERIFIER_PRINCIPALS_MAX 16

/**
 * Identity tokens of all principals for @audience.
 * @ret  VERIFIER_PRINCIPALS_MAX empty secrets; the caller's to free, on failure too
 * TL_E_VERIFIER_REFUSED if there are more; else as the source says.
 */
int verifier_principals_get(const struct tl_attest_sources *sources, const char *audience, size_t n,
			    struct tl_secret *ret, struct tl_error *err);

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
