/* SPDX-License-Identifier: Apache-2.0 */
#include "pki_signer.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "../openssl_auto.h"
#include "jwk.h"
#include "jwt_sign.h"

struct pki_signer {
	EVP_PKEY *key;
	const char *alg;
	json_t *x5c;
	int64_t end_s;
};

struct pki_signer *pki_signer_free(struct pki_signer *s)
{
	if (s) {
		EVP_PKEY_free(s->key);
		json_decref(s->x5c);
	}
	free(s);
	return NULL;
}

static int bad(struct tl_error *err, int i, const char *what)
{
	ERR_clear_error();
	return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "certificate %d of the PKI chain %s", i + 1,
		       what);
}

static int end_of(X509 *cert, int64_t *ret)
{
	struct tm tm = { 0 };

	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
		return -EINVAL;
	*ret = (int64_t)timegm(&tm);
	return 0;
}

static int cert_append(struct pki_signer *s, X509 *cert, int i, int64_t now_s, struct tl_error *err)
{
	auto_openssl unsigned char *der = NULL;
	auto_free char *text = NULL;
	time_t now = (time_t)now_s;
	int64_t end = 0;
	int n;

	if (X509_cmp_time(X509_get0_notBefore(cert), &now) >= 0 ||
	    X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0 || end_of(cert, &end) < 0)
		return bad(err, i, "isn't valid now");
	if (i == 0 || end < s->end_s)
		s->end_s = end;
	n = i2d_X509(cert, &der);
	text = n > 0 ? tl_base64_encode(TL_BASE64_STD, der, (size_t)n) : NULL;
	if (!text || json_array_append_new(s->x5c, json_string(text)) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the PKI chain");
	return 0;
}

static int chain_read(struct pki_signer *s, BIO *pem, int64_t now_s, struct tl_error *err)
{
	auto_x509 X509 *last = NULL;
	int r = 0, i = 0;

	for (X509 *next; r == 0 && (next = PEM_read_bio_X509(pem, NULL, NULL, NULL)); i++) {
		if (i == PKI_CHAIN_MAX)
			r = bad(err, i, "is one too many");
		else if (!last && X509_check_private_key(next, s->key) != 1)
			r = bad(err, i, "isn't that of the PKI key");
		else if (last &&
			 (X509_check_ca(next) != 1 || X509_check_issued(next, last) != X509_V_OK ||
			  X509_verify(last, X509_get0_pubkey(next)) != 1))
			r = bad(err, i, "didn't sign the one before it");
		else
			r = cert_append(s, next, i, now_s, err);
		X509_free(last);
		last = next;
	}
	if (r < 0)
		return r;
	if (i == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return bad(err, i, "is missing, or no PEM certificate");
	ERR_clear_error();
	return 0;
}

int pki_signer_new(const struct tl_secret *key, const struct tl_secret *chain, int64_t now_s,
		   struct pki_signer **ret, struct tl_error *err)
{
	auto_pki_signer struct pki_signer *s = calloc(1, sizeof(*s));
	auto_bio BIO *pem = BIO_new_mem_buf(chain->bytes, (int)chain->len_bytes);
	int r;

	if (s)
		s->x5c = json_array();
	if (!s || !s->x5c || !pem)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the PKI key");
	s->key = private_key_read(key);
	s->alg = s->key ? jwk_alg(s->key) : NULL;
	if (!s->alg)
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "the PKI key is no unencrypted PEM key of RSA (2048 to 4096 bits) "
			       "or P-256");
	r = chain_read(s, pem, now_s, err);
	if (r == 0)
		*ret = take_ptr(s);
	return r;
}

int64_t pki_signer_end(const struct pki_signer *s)
{
	return s->end_s;
}

int pki_sign(const struct pki_signer *s, const json_t *claims, struct tl_secret *ret,
	     struct tl_error *err)
{
	json_t *header = json_pack("{s:s, s:s, s:O}", "alg", s->alg, "typ", "JWT", "x5c", s->x5c);
	int r = jwt_sign_as(s->key, s->alg, header, claims, ret, err);

	json_decref(header);
	return r;
}
