/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes document: read whole or refused whole; what is accepted can be judged. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/verdict.h>

static void spec_check(const struct tl_launch_spec *spec)
{
	FUZZ_CHECK(*spec->image_ref && !spec->keys_bad);
	FUZZ_CHECK(spec->cmd.n <= TL_SPEC_ARGS_MAX && spec->envs.n <= TL_SPEC_ENVS_MAX);
	FUZZ_CHECK(spec->dev_shm_size_kb <= INT64_MAX);
	FUZZ_CHECK(!spec->ita_region || *spec->ita_region);
	for (size_t i = 1; i < spec->envs.n; i++)
		FUZZ_CHECK(strcmp(spec->envs.items[i - 1].key, spec->envs.items[i].key) < 0);
	for (size_t i = 0; i < spec->mounts.n; i++)
		FUZZ_CHECK(spec->mounts.items[i].destination[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_verdict_input in = { .spec = &spec, .is_hardened = true };
	struct tl_machine_facts facts = { 0 };

	if (tl_launch_spec_read((const char *)data, size, NULL, &spec, &findings) != 0) {
		FUZZ_CHECK(tl_findings_forbid(&findings));
		(void)tl_spec_check(&spec, &facts, &findings);
		return 0;
	}
	FUZZ_CHECK(!tl_findings_forbid(&findings));
	spec_check(&spec);
	(void)tl_verdict(&in, &findings);
	(void)tl_machine_check(&spec, &facts, &findings);
	return 0;
}
