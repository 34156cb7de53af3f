/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and the addresses in them. Hostile bytes. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <openssl/x509.h>

#include <teelaunch/str.h>

/* The reference tries as many. */
#define CERT_AIA_URLS_MAX      3
#define CERT_AIA_URL_MAX_BYTES 512
/* The largest that a TPM's NV memory holds is half of it. */
#define CERT_MAX_BYTES (16 * 1024)

/** One certificate, DER or PEM, and nothing behind it; NULL if it isn't. */
X509 *cert_parse(const void *bytes, size_t n);

/** The first caIssuers addresses, none if there are none. 0 or -ENOMEM. */
int cert_aia_urls(X509 *cert, struct tl_strv *ret);

/**
 * May this be asked? "http://" or "https://", then a host of the list with its port.
 * A host of anything but letters, digits, "-", "." and a port never may.
 */
bool cert_url_is_allowed(const char *url, const struct tl_strv *hosts);
