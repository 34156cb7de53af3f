/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identity tokens of other service accounts, which the VM's own may act for: Google's IAM Service
 * Account Credentials API, v1, projects.serviceAccounts.generateIdToken.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#define TL_IAM_URL_DEFAULT         "https://iamcredentials.googleapis.com"
#define TL_ACCOUNT_TOKEN_MAX_BYTES (16 * 1024) /* as the metadata server's */

/* Strings are copied. */
struct tl_account_options {
	const char *url;         /* https://host[:port]; NULL = TL_IAM_URL_DEFAULT */
	const char *ca_file;     /* PEM bundle instead of the system's trust store; NULL = system */
	uint64_t try_timeout_ms; /* for each call; 0 = 10 s */
	struct tl_cancel *cancel; /* borrowed until close; NULL = none */
};

struct tl_account_client; /* keeps its connection; belongs to one thread */

/** No I/O. TL_E_NET_URL, TL_E_NO_MEMORY. */
int tl_account_open(const struct tl_account_options *options, struct tl_account_client **ret,
		    struct tl_error *err);
struct tl_account_client *tl_account_close(struct tl_account_client *c); /* NULL is fine */

/**
 * One call, not repeated.
 *
 * @bearer    access token of the VM's own account
 * @account   an e-mail address; nothing else is put into a URL
 * @audience  @n bytes, not empty; what isn't UTF-8 becomes U+FFFD, as in the reference's JSON
 * @ret       a JWT, not read; set on success only
 *
 * TL_E_IMPERSONATE: refused for good, naming the account. TL_E_IMPERSONATE_BUSY (429, 5xx, replies
 * that can't be read) and TL_E_NET_*: worth another try. The service's words are escaped, cut, and
 * freed of anything as long as a token.
 */
int tl_account_token(struct tl_account_client *c, const struct tl_secret *bearer,
		     const char *account, const char *audience, size_t n, struct tl_secret *ret,
		     struct tl_error *err);
