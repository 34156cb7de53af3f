/* SPDX-License-Identifier: Apache-2.0 */
#include "launch_facts.h"

#include <teelaunch/verdict.h>

struct tl_launch_facts launch_facts_of(const struct tl_launch_spec *spec,
				       const struct launch_image_names *image,
				       const struct tl_strv *args, const struct tl_strv *env)
{
	return (struct tl_launch_facts){
		.image_ref = spec->image_ref,
		.image_digest = image->digest,
		.restart_policy = tl_restart_policy_name(spec->restart_policy),
		.image_id = image->id,
		.args = args,
		.env = env,
		.override_env = &spec->envs,
		.override_cmd = &spec->cmd,
		/* What is done, not what is asked for: a claim must be true. */
		.is_memory_monitored = (TL_FEATURES_OF_RELEASE & TL_FEATURE_MONITORING) &&
				       spec->monitoring == TL_MONITORING_MEMORY_ONLY,
	};
}
