/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates between the attestation key's and a root, fetched by the addresses that they
 * name themselves (RFC 5280, section 4.2.2.1, caIssuers), once a boot.
 *
 * The certificate comes from the TPM, so whoever made the machine chose the addresses: only hosts
 * of a list are asked, on their list's port, by GET, without credentials, redirects or proxies. The
 * way is plain http. That is enough, because what comes is taken only if it is one certificate
 * whose key signed the one before.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/evidence.h>
#include <teelaunch/str.h>

/* Where Google's private certificate authorities publish. */
#define TL_AIA_HOST_DEFAULT "storage.googleapis.com"

struct tl_cert_chain;

/**
 * @hosts  "host[:port]": that host and every one below it; borrowed until free. Without a port the
 *         scheme's own
 * NULL when out of memory. No I/O.
 */
struct tl_cert_chain *tl_cert_chain_new(const struct tl_strv *hosts);
struct tl_cert_chain *tl_cert_chain_free(struct tl_cert_chain *c); /* NULL is fine */

/**
 * Put the chain into evidence that has none. Any thread.
 *
 * Who comes first fetches, for at most 10 s; the others do without meanwhile. What was fetched is
 * kept. After a failure nothing is asked for a minute.
 *
 * @ret_fetched  set if this call asked: the certificates, or why there are none, are news
 *
 * 0, also where the certificate names no address. TL_E_AK_CHAIN when this call's fetch failed;
 * TL_E_INTERRUPTED, TL_E_NO_MEMORY. @e then has no chain, and is as good as before.
 */
int tl_cert_chain_add(struct tl_cert_chain *c, struct tl_evidence *e, struct tl_cancel *cancel,
		      bool *ret_fetched, struct tl_error *err);
