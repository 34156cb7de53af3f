/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extend_time TCTI FIRMWARE_LOG EVENTS ORDER: on a TPM that was just switched on, EVENTS bare
 * TPM2_PCR_Extend of all banks (PCR 14), and as many events measured as a launch measures them:
 * digests, log, checks and all (PCR 13). ORDER "bare" or "events" is what comes first. Prints the
 * microseconds of the bare ones, and of the others; what is set up once is in neither.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/tee.h>

#include "attest/tpm_esys.h"

#define BARE_PCR   14
#define EVENTS_MAX 4096

static long long now_us(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int extend_all(const struct tpm_esys *t, const struct tl_banks *banks, uint64_t n,
		      long long *ret_us, struct tl_error *err)
{
	struct tl_event_digests digests = { .n = banks->n };
	long long begun = now_us();
	int r = 0;

	for (size_t i = 0; i < banks->n; i++) {
		digests.items[i].hash = banks->hashes[i];
		memset(digests.items[i].bytes, 7, sizeof(digests.items[i].bytes));
	}
	for (uint64_t i = 0; r == 0 && i < n; i++)
		r = tpm_extend_pcr(t, BARE_PCR, &digests, err);
	if (r == 0)
		*ret_us = now_us() - begun;
	return r;
}

static int bare(const char *tcti, uint64_t n, long long *ret_us, struct tl_error *err)
{
	struct tpm_esys esys = { 0 };
	struct tpm_link *link = NULL;
	TPML_PCR_SELECTION selections;
	struct tl_banks banks;
	int r = tpm_link_open(tcti, TPM_COMMAND_BUDGET_MS, &link, err);

	if (r == 0)
		r = tpm_esys_init(&esys, link, err);
	if (r < 0)
		return r;
	r = tpm_read_banks(&esys, &banks, &selections, err);
	if (r == 0)
		r = extend_all(&esys, &banks, n, ret_us, err);
	tpm_esys_done(&esys);
	return r;
}

/* Arguments of about the length that they have, and the separator. */
static int events_make(uint64_t n, struct tl_event_list *ret, struct tl_error *err)
{
	int r = 0;

	for (uint64_t i = 1; r == 0 && i < n; i++) {
		char text[48];
		int length = snprintf(text, sizeof(text), "--an-option-of-the-workload=%04u",
				      (unsigned int)i);

		r = tl_events_add(ret, TL_EVENT_ARG, text, (size_t)length, err);
	}
	return r < 0 ? r : tl_events_add(ret, TL_EVENT_SEPARATOR, "", 0, err);
}

static int events(const struct tl_tpm_options *options, uint64_t n, long long *ret_us,
		  struct tl_error *err)
{
	auto_events struct tl_event_list list = { 0 };
	auto_tee struct tl_tee *tee = NULL;
	long long begun;
	int r = events_make(n, &list, err);

	if (r == 0)
		r = tl_tpm_open(options, &tee, err);
	begun = now_us();
	if (r == 0)
		r = tl_tee_measure_launch(tee, &list, NULL, err);
	if (r == 0)
		*ret_us = now_us() - begun;
	return r;
}

int main(int argc, char **argv)
{
	const struct tl_tpm_options options = { .tcti = argv[1], .firmware_log = argv[2] };
	bool is_bare_first = argc == 5 && strcmp(argv[4], "bare") == 0;
	struct tl_error err = { 0 };
	long long bare_us = 0, events_us = 0;
	uint64_t n = 0;
	int r = 0;

	if (argc != 5 || tl_str_parse_u64(argv[3], EVENTS_MAX, &n) < 0 || !n)
		return 2;
	(void)setenv("TSS2_LOG", "all+NONE", 1);
	if (is_bare_first)
		r = bare(argv[1], n, &bare_us, &err);
	if (r == 0)
		r = events(&options, n, &events_us, &err);
	if (r == 0 && !is_bare_first)
		r = bare(argv[1], n, &bare_us, &err);
	if (r < 0)
		(void)fprintf(stderr, "extend_time: %s\n", err.msg);
	else
		printf("%lld %lld\n", bare_us, events_us);
	return r < 0;
}
