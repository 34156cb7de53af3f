/* SPDX-License-Identifier: Apache-2.0 */
#include "cert_aia.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>

#include "openssl_auto.h"

OPENSSL_AUTO(AUTHORITY_INFO_ACCESS, access_info, AUTHORITY_INFO_ACCESS_free)
#define auto_access_info __attribute__((cleanup(access_info_freep)))

/* Else OpenSSL asks a person on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)ctx;
	return -1;
}

static X509 *parse_pem(const void *bytes, size_t n)
{
	auto_bio BIO *bio = BIO_new_mem_buf(bytes, (int)n);
	auto_x509 X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
	auto_x509 X509 *another = cert ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

	return another ? NULL : take_ptr(cert);
}

X509 *cert_parse(const void *bytes, size_t n)
{
	static const char pem[] = "-----BEGIN ";
	const unsigned char *p = bytes;
	X509 *cert;

	if (!n || n > CERT_MAX_BYTES)
		return NULL;
	if (n > sizeof(pem) && memcmp(bytes, pem, sizeof(pem) - 1) == 0) {
		cert = parse_pem(bytes, n);
	} else {
		cert = d2i_X509(NULL, &p, (long)n);
		if (cert && p != (const unsigned char *)bytes + n) {
			X509_free(cert);
			cert = NULL;
		}
	}
	ERR_clear_error();
	return cert;
}

/* Printable ASCII, so that it can be shown and sent. */
static bool is_url_text(const unsigned char *s, int n)
{
	if (n <= 0 || n > CERT_AIA_URL_MAX_BYTES)
		return false;
	for (int i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return true;
}

int cert_aia_urls(X509 *cert, struct tl_strv *ret)
{
	auto_access_info AUTHORITY_INFO_ACCESS *list =
		X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
	int n = list ? sk_ACCESS_DESCRIPTION_num(list) : 0;

	ERR_clear_error();
	for (int i = 0; i < n && ret->n < CERT_AIA_URLS_MAX; i++) {
		const ACCESS_DESCRIPTION *d = sk_ACCESS_DESCRIPTION_value(list, i);
		const ASN1_IA5STRING *uri;

		if (OBJ_obj2nid(d->method) != NID_ad_ca_issuers || d->location->type != GEN_URI)
			continue;
		uri = d->location->d.uniformResourceIdentifier;
		if (is_url_text(ASN1_STRING_get0_data(uri), ASN1_STRING_length(uri)) &&
		    tl_strv_add_len(ret, (const char *)ASN1_STRING_get0_data(uri),
				    (size_t)ASN1_STRING_length(uri)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* @host  of the list; @from with @n bytes is the address's: equal, or below it */
static bool host_fits(const char *host, const char *from, size_t n)
{
	size_t len = strlen(host);

	return len && n >= len && strncasecmp(from + n - len, host, len) == 0 &&
	       (n == len || from[n - len - 1] == '.');
}

bool cert_url_is_allowed(const char *url, const struct tl_strv *hosts)
{
	static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789.-:";
	const char *from = tl_str_starts_with(url, "http://")    ? url + strlen("http://")
			   : tl_str_starts_with(url, "https://") ? url + strlen("https://")
								 : NULL;
	size_t n = from ? strspn(from, characters) : 0;

	if (!n || (from[n] != '/' && from[n] != '\0'))
		return false;
	for (size_t i = 0; i < hosts->n; i++)
		if (host_fits(hosts->items[i], from, n))
			return true;
	return false;
}
