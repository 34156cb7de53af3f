/* SPDX-License-Identifier: Apache-2.0 */
/* The image's labels: a policy that can be read allows at most what it says. */
#include "fuzz.h"

#include <errno.h>

#include <teelaunch/image_config.h>
#include <teelaunch/verdict.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_kvs struct tl_kvs labels = { 0 };
	auto_launch_policy struct tl_launch_policy policy = { 0 };
	auto_findings struct tl_findings findings = { 0 };
	struct tl_launch_spec spec = { .is_cgroup_ns = true };
	struct tl_verdict_input in = { .spec = &spec, .policies = &policy, .n_policies = 1 };

	if (tl_labels_parse((const char *)data, size, &labels, NULL) < 0)
		return 0;
	if (tl_launch_policy_read(&labels, &policy, &findings) != 0) {
		FUZZ_CHECK(tl_findings_forbid(&findings) && policy.labels_bad);
		FUZZ_CHECK(tl_verdict(&in, &findings) == -EPERM);
		return 0;
	}
	FUZZ_CHECK(!tl_findings_forbid(&findings));
	FUZZ_CHECK((tl_verdict(&in, &findings) == 0) == policy.allow_cgroups);
	return 0;
}
