/* SPDX-License-Identifier: Apache-2.0 */
#include "registry_host.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#define PORT_HTTPS      443
#define LABEL_BYTES_MAX 63

static int host_fail(struct tl_error *err, const char *why)
{
	return tl_fail(err, TL_E_REGISTRY_HOST, EINVAL, "the registry's name %s", why);
}

/* Labels of letters, digits, - and _ (which registries in test set-ups have), 1 to 63 bytes each.
 */
static bool name_is_valid(const char *name)
{
	size_t label = 0;

	for (const char *p = name; *p; p++) {
		if (*p == '.') {
			if (!label || p[-1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!isalnum((unsigned char)*p) && *p != '_' && (*p != '-' || !label))
			return false;
		if (++label > LABEL_BYTES_MAX)
			return false;
	}
	return label && name[strlen(name) - 1] != '-';
}

static bool ipv6_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n > 3 && name[0] == '[' && name[n - 1] == ']' &&
	       strspn(name + 1, "0123456789abcdef:.") == n - 2;
}

/* True if @name is @suffix, or ends in @suffix after a dot. */
static bool is_below(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return tl_str_ends_with(name, suffix) && (n == m || name[n - m - 1] == '.');
}

static void rules_apply(struct registry_host *h)
{
	/* LOCATION-docker.pkg.dev, and what is below it; "evildocker.pkg.dev" is neither. */
	bool is_artifact_registry =
		is_below(h->name, "docker.pkg.dev") || tl_str_ends_with(h->name, "-docker.pkg.dev");

	h->is_token_offered = is_artifact_registry || is_below(h->name, "gcr.io");
	h->is_pinned_to_google = h->is_token_offered || strcmp(h->name, "pkg.dev") == 0;
}

static int port_split(char *name, bool *ret_has_port, uint16_t *ret, struct tl_error *err)
{
	char *bracket = strrchr(name, ']');
	char *colon = strchr(bracket ? bracket : name, ':');
	uint64_t port;

	*ret = PORT_HTTPS;
	*ret_has_port = colon != NULL;
	if (!colon)
		return 0;
	if (strlen(colon + 1) > 5 || tl_str_parse_u64(colon + 1, UINT16_MAX, &port) < 0 || !port)
		return host_fail(err, "has a port that isn't a number from 1 to 65535");
	*colon = '\0';
	*ret = (uint16_t)port;
	return 0;
}

int registry_host_parse(const char *text, struct registry_host *ret, struct tl_error *err)
{
	struct registry_host h = { 0 };
	const char *to = h.name;
	bool has_port;
	int n, r;

	/* Room for the longest rewriting and a port. */
	if (strlen(text) > sizeof(h.name) - 16)
		return host_fail(err, "is too long");
	for (size_t i = 0; text[i]; i++)
		h.name[i] = (char)tolower((unsigned char)text[i]);
	r = port_split(h.name, &has_port, &h.port, err);
	if (r < 0)
		return r;
	if (!name_is_valid(h.name) && !ipv6_is_valid(h.name))
		return host_fail(err, "isn't a host name or address");
	/* Docker Hub's registry has another name than its references. */
	if (strcmp(h.name, "docker.io") == 0 && !has_port)
		to = "registry-1.docker.io";
	n = has_port ? snprintf(h.authority, sizeof(h.authority), "%s:%u", to, h.port)
		     : snprintf(h.authority, sizeof(h.authority), "%s", to);
	if (n < 0 || (size_t)n >= sizeof(h.authority))
		return host_fail(err, "is too long");
	rules_apply(&h);
	*ret = h;
	return 0;
}

bool registry_host_equal(const struct registry_host *a, const struct registry_host *b)
{
	return a->port == b->port && strcmp(a->name, b->name) == 0;
}
