/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses of a certificate are read, and which may be asked: whoever makes the machine
 * writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509v3.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "attest/cert_aia.h"

#define HOST "http://ca.example/"

/* Adds @type of an address, @url with @n bytes, under @method. */
static void address_add(AUTHORITY_INFO_ACCESS *list, int method, int type, const char *url,
			size_t n)
{
	ACCESS_DESCRIPTION *d = ACCESS_DESCRIPTION_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	assert_true(d && text && ASN1_STRING_set(text, url, (int)n) == 1);
	ASN1_OBJECT_free(d->method);
	d->method = OBJ_nid2obj(method);
	GENERAL_NAME_set0_value(d->location, type, text);
	assert_true(sk_ACCESS_DESCRIPTION_push(list, d) > 0);
}

static void addresses_read(AUTHORITY_INFO_ACCESS *list, struct tl_strv *ret)
{
	X509 *cert = X509_new();

	assert_non_null(cert);
	assert_int_equal(X509_add1_ext_i2d(cert, NID_info_access, list, 0, 0), 1);
	assert_int_equal(cert_aia_urls(cert, ret), 0);
	X509_free(cert);
	AUTHORITY_INFO_ACCESS_free(list);
}

/* How many addresses are read of a certificate that has @url alone. */
static size_t read_of(const char *url, size_t n)
{
	AUTHORITY_INFO_ACCESS *list = sk_ACCESS_DESCRIPTION_new_null();
	auto_strv struct tl_strv got = { 0 };

	assert_non_null(list);
	address_add(list, NID_ad_ca_issuers, GEN_URI, url, n);
	addresses_read(list, &got);
	if (got.n)
		assert_string_equal(got.items[0], url);
	return got.n;
}

static void only_printable_addresses_up_to_a_length_are_read(void **state)
{
	char url[CERT_AIA_URL_MAX_BYTES + 2];

	(void)state;
	assert_int_equal(read_of(HOST "a~!", strlen(HOST "a~!")), 1);
	assert_int_equal(read_of("", 0), 0);
	for (int c = 0; c < 256; c++) {
		bool is_good = c > ' ' && c <= '~';

		for (size_t at = 0; at <= strlen(HOST); at += strlen(HOST)) {
			(void)memset(url, 0, sizeof(url));
			(void)memcpy(url, HOST "xy", strlen(HOST "xy"));
			url[at] = (char)c;
			assert_int_equal(read_of(url, strlen(HOST "xy")), is_good);
		}
	}
	assert_int_equal(read_of(HOST "\r\nHost: metadata", strlen(HOST "\r\nHost: metadata")), 0);
	(void)memset(url, 'a', sizeof(url));
	url[CERT_AIA_URL_MAX_BYTES] = '\0';
	assert_int_equal(read_of(url, CERT_AIA_URL_MAX_BYTES), 1);
	url[CERT_AIA_URL_MAX_BYTES] = 'a';
	url[CERT_AIA_URL_MAX_BYTES + 1] = '\0';
	assert_int_equal(read_of(url, CERT_AIA_URL_MAX_BYTES + 1), 0);
}

static void only_the_first_addresses_of_issuers_are_read(void **state)
{
	static const char *const urls[] = { HOST "0", HOST "1", HOST "2", HOST "3" };
	AUTHORITY_INFO_ACCESS *list = sk_ACCESS_DESCRIPTION_new_null();
	auto_strv struct tl_strv got = { 0 };

	(void)state;
	assert_non_null(list);
	address_add(list, NID_ad_OCSP, GEN_URI, HOST "ocsp", strlen(HOST "ocsp"));
	address_add(list, NID_ad_ca_issuers, GEN_DNS, "ca.example", strlen("ca.example"));
	for (size_t i = 0; i < TL_ARRAY_SIZE(urls); i++)
		address_add(list, NID_ad_ca_issuers, GEN_URI, urls[i], strlen(urls[i]));
	addresses_read(list, &got);
	assert_int_equal(got.n, CERT_AIA_URLS_MAX);
	for (size_t i = 0; i < got.n; i++)
		assert_string_equal(got.items[i], urls[i]);
}

static void only_hosts_of_the_list_and_below_may_be_asked(void **state)
{
	static const struct {
		const char *url;
		bool may;
	} cases[] = {
		{ "http://ca.example", true },
		{ "http://ca.example/a", true },
		{ "https://CA.Example/a", true },
		{ "http://pki.ca.example/a", true },
		{ "http://ca.example:80/a", false }, /* the list has it without a port */
		{ "http://with.port:8080/a", true },
		{ "http://with.port/a", false },
		{ "http://evilca.example/a", false },
		{ "http://ca.example.evil/a", false },
		{ "http://evil@ca.example/a", false },
		{ "http://evil/@ca.example", false },
		{ "http://evil?ca.example", false },
		{ "http://evil#.ca.example", false },
		{ "http://evil%2f.ca.example/", false },
		{ "http://evil\\.ca.example/", false },
		{ "http://[::1]/", false },
		{ "http:///a", false },
		{ "http://", false },
		{ "HTTP://ca.example/a", false },
		{ "ftp://ca.example/a", false },
		{ "file:///etc/passwd", false },
		{ "ca.example/a", false },
		{ "", false },
	};
	static const char *const names[] = { "", "ca.example", "with.port:8080" };
	const struct tl_strv none = { 0 };
	auto_strv struct tl_strv hosts = { 0 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++)
		assert_int_equal(tl_strv_add(&hosts, names[i]), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		if (cert_url_is_allowed(cases[i].url, &hosts) != cases[i].may)
			fail_msg("%s", cases[i].url);
		assert_false(cert_url_is_allowed(cases[i].url, &none));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_printable_addresses_up_to_a_length_are_read),
		cmocka_unit_test(only_the_first_addresses_of_issuers_are_read),
		cmocka_unit_test(only_hosts_of_the_list_and_below_may_be_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
