/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quote_time TCTI: for each line on stdin, one TPM2_Quote a bank with the attestation key, nothing
 * else; prints how many microseconds that took. What evidence is measured against.
 */
#include <stdio.h>
#include <time.h>

#include <teelaunch/cleanup.h>

#include "attest/tpm_ak.h"
#include "attest/tpm_link.h"

static int quotes(const struct tpm_esys *t, const struct tpm_ak *ak,
		  const TPML_PCR_SELECTION *banks, struct tl_error *err)
{
	int r = 0;

	for (uint32_t i = 0; i < banks->count && r == 0; i++) {
		struct tl_quote quote = { 0 };

		r = tpm_ak_quote(t, ak, &banks->pcrSelections[i],
				 "nonce-of-32-bytes-----------------", 32, &quote, err);
		tl_blob_done(&quote.attest);
		tl_blob_done(&quote.signature);
	}
	return r;
}

static long long now_us(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int serve(const struct tpm_esys *t, struct tl_error *err)
{
	struct tpm_ak ak = { .handle = ESYS_TR_NONE };
	TPML_PCR_SELECTION selections;
	struct tl_banks banks;
	int r = tpm_read_banks(t, &banks, &selections, err);

	if (r == 0)
		r = tpm_ak_load(t, &ak, err);
	for (int c; r == 0 && (c = getchar()) != EOF;) {
		long long begun = now_us();

		r = quotes(t, &ak, &selections, err);
		if (r == 0 && printf("%lld\n", now_us() - begun) > 0)
			(void)fflush(stdout);
	}
	tpm_ak_done(t, &ak);
	return r;
}

int main(int argc, char **argv)
{
	struct tpm_link *link = NULL;
	struct tpm_esys esys = { 0 };
	struct tl_error err = { 0 };
	int r = argc == 2 ? tpm_link_open(argv[1], 20000, &link, &err) : -1;

	if (r == 0)
		r = tpm_esys_init(&esys, link, &err);
	if (r == 0)
		r = serve(&esys, &err);
	tpm_esys_done(&esys);
	if (r < 0)
		(void)fprintf(stderr, "quote_time: %s\n", err.msg);
	return r < 0;
}
