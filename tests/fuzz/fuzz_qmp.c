/* SPDX-License-Identifier: Apache-2.0 */
/* `teelaunch vm`: a line of qemu's monitor. What comes out of it is terminated and printable. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "src/vm/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qmp_message m = { .kind = QMP_EVENT, .name = "?" };

	if (qmp_parse((const char *)data, size, &m) < 0) {
		FUZZ_CHECK(m.kind == QMP_EVENT && strcmp(m.name, "?") == 0);
		return 0;
	}
	FUZZ_CHECK(m.kind <= QMP_EVENT);
	FUZZ_CHECK(memchr(m.name, '\0', sizeof(m.name)) &&
		   memchr(m.reason, '\0', sizeof(m.reason)));
	FUZZ_CHECK(memchr(m.status, '\0', sizeof(m.status)) &&
		   memchr(m.text, '\0', sizeof(m.text)));
	for (const char *c = m.text; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
	(void)qmp_shutdown_end(m.reason);
	return 0;
}
