/* SPDX-License-Identifier: Apache-2.0 */
#include "launch_facts.h"

#include <string.h>

#include <teelaunch/verdict.h>
#include <teelaunch/verifier_client.h>

#include "launch_names.h"
#include "workload/oci_spec.h"

/* The container has no network namespace of its own. */
#define NETWORK "host"

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
		/* What is done, not what is asked for: a claim must be true. It isn't about "all",
		 * which is in the launch record. */
		.is_memory_monitored = (TL_FEATURES_OF_RELEASE & TL_FEATURE_MONITORING) &&
				       spec->monitoring == TL_MONITORING_MEMORY_ONLY,
	};
}

const char *launch_verifier_url(const struct tl_launch_spec *spec, const char *verifier)
{
	bool is_googles = strcmp(verifier, TL_VERIFIER_URL_DEFAULT) == 0;

	return is_googles && *spec->gca_address ? spec->gca_address : verifier;
}

struct tl_launch_record_facts launch_record_facts_of(const struct tl_launch_spec *spec,
						     const struct launch_place *place)
{
	return (struct tl_launch_record_facts){
		.spec = spec,
		.is_hardened = place->is_hardened,
		.root = place->root,
		.disk = { .mode = place->disk.mode,
			  .cipher = place->disk.cipher,
			  .integrity = place->disk.integrity,
			  .tags = place->disk.tags },
		.runtime = TL_CTRD_RUNTIME,
		.snapshotter = TL_CTRD_SNAPSHOTTER,
		.network = NETWORK,
		.nofile = oci_nofile(place->nofile_limit),
		.verifier_url = launch_verifier_url(spec, place->verifier),
		.options = place->unit,
		.options_n = place->unit_n,
	};
}
