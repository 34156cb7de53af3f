/* SPDX-License-Identifier: Apache-2.0 */
/* The image's User, /etc/passwd and /etc/group: three texts, separated by a NUL. */
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "fuzz.h"
#include "launcher/workload/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *texts = calloc(1, size + 3);
	auto_free struct oci_user *user = calloc(1, sizeof(*user));
	const char *passwd, *group;

	if (!texts || !user)
		return 0;
	memcpy(texts, data, size);
	passwd = texts + strlen(texts) + 1;
	group = passwd <= texts + size ? passwd + strlen(passwd) + 1 : texts + size + 2;
	passwd = passwd <= texts + size ? passwd : texts + size + 2;
	group = group <= texts + size ? group : texts + size + 2;
	if (user_resolve(texts, passwd, group, user, NULL) == 0 &&
	    (user->groups_n == 0 || user->groups_n > OCI_GROUPS_MAX ||
	     user->groups[0] != user->gid))
		abort();
	return 0;
}
