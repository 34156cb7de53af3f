/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates from the TPM or the network, and the addresses in them. */
#include "fuzz.h"

#include <string.h>

#include "attest/cert_aia.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char host[] = "storage.googleapis.com", *items[] = { host, NULL };
	const struct tl_strv hosts = { .items = items, .n = 1 };
	struct tl_strv urls = { 0 };
	X509 *cert = cert_parse(data, size);

	FUZZ_CHECK(!cert || size <= CERT_MAX_BYTES);
	if (!cert)
		return 0;
	FUZZ_CHECK(cert_aia_urls(cert, &urls) == 0 && urls.n <= CERT_AIA_URLS_MAX);
	for (size_t i = 0; i < urls.n; i++) {
		FUZZ_CHECK(strlen(urls.items[i]) <= CERT_AIA_URL_MAX_BYTES);
		FUZZ_CHECK(!cert_url_is_allowed(urls.items[i], &hosts) ||
			   strcasestr(urls.items[i], host));
	}
	tl_strv_done(&urls);
	X509_free(cert);
	return 0;
}
