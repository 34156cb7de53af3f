/* SPDX-License-Identifier: Apache-2.0 */
/* mountinfo: any text is read or refused; every path has at most one mount, and that covers it. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#include "../../launcher/mountinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	auto_mount_list struct mount_list l = { 0 };
	struct tl_error err = { 0 };

	if (mountinfo_parse(text, &l, &err) < 0) {
		FUZZ_CHECK(err.code && !l.n);
		return 0;
	}
	for (size_t i = 0; i < l.n && i < 16; i++) {
		const struct mount_entry *e = mount_of_path(&l, l.items[i].mount_point);

		FUZZ_CHECK(l.items[i].mount_point[0] == '/');
		if (e)
			FUZZ_CHECK(strncmp(e->mount_point, l.items[i].mount_point,
					   strlen(e->mount_point)) == 0);
		(void)mount_has_option(l.items[i].options, "nodev");
	}
	return 0;
}
