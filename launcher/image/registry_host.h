/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the name of a registry means: where requests go, whether the access token of the service
 * account may be offered, and whether the pinned Google roots are used. Pure.
 *
 * The rules compare labels of the lower-cased name without its port.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define REGISTRY_HOST_BYTES_MAX 255

struct registry_host {
	char name[REGISTRY_HOST_BYTES_MAX + 1]; /* lower case, without port */
	uint16_t port;                          /* 443 if none was given */
	/* Lower case, with ":PORT" if one was given; what requests go to. */
	char authority[REGISTRY_HOST_BYTES_MAX + 1];
	bool is_token_offered;    /* Artifact Registry and Container Registry */
	bool is_pinned_to_google; /* the same, and pkg.dev itself */
};

/**
 * @text  HOST or HOST:PORT, of a reference or a URL
 * @ret   set on success only
 * Returns 0, or -EINVAL (TL_E_REGISTRY_HOST, denied).
 */
int registry_host_parse(const char *text, struct registry_host *ret, struct tl_error *err);

/** Same name and same port. */
bool registry_host_equal(const struct registry_host *a, const struct registry_host *b);
