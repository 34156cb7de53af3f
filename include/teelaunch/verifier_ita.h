/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel Trust Authority: the second kind of verifier (teelaunch/verifier_client.h). It takes TDX
 * quotes alone. Source: the appraisal API, v2, as Confidential Space uses it.
 */
#pragma once

#include <teelaunch/verifier_client.h>

/* Strings and the key are copied. */
struct tl_ita_options {
	const char *region; /* "US" or "EU", in any case (ASCII) */
	const char *url;    /* https://host[:port] instead of the region's; NULL = the region's */
	const struct tl_secret *api_key; /* sent as "x-api-key", to that host alone */
	const char *ca_file;     /* PEM bundle instead of the system's trust store; NULL = system */
	uint64_t try_timeout_ms; /* for each HTTP request; 0 = 20 s */
	uint64_t budget_ms;      /* for a whole tl_verifier_attest(); 0 = 60 s */
	struct tl_cancel *cancel; /* borrowed until close; NULL = none */
};

/**
 * No I/O. TL_E_ITA_REGION, TL_E_NET_URL, TL_E_NO_MEMORY.
 *
 * In tl_verifier_attest(): evidence without a TDX quote is TL_E_ITA_TDX. The bearer source isn't
 * asked; the audience of the principals is "ita://" and the nonce's bytes.
 */
int tl_verifier_open_ita(const struct tl_ita_options *options, struct tl_verifier **ret,
			 struct tl_error *err);
