/* SPDX-License-Identifier: Apache-2.0 */
/* The image configuration, and the merge of its variables. */
#include "fuzz.h"

#include <teelaunch/env_names.h>
#include <teelaunch/image_config.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_image_config struct tl_image_config config = { 0 };
	auto_strv struct tl_strv env = { 0 };
	auto_kvs struct tl_kvs overrides = { 0 };
	struct tl_error err = { 0 };
	struct tl_port port;

	if (tl_image_config_parse((const char *)data, size, &config, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_IMAGE_CONFIG && !config.user);
		return 0;
	}
	FUZZ_CHECK(config.user && config.os && config.working_dir);
	for (size_t i = 0; i < config.exposed_ports.n; i++)
		(void)tl_port_parse(config.exposed_ports.items[i], &port);
	FUZZ_CHECK(tl_kvs_add(&overrides, "A", "1") == 0);
	FUZZ_CHECK(tl_env_merge(&config.env, &overrides, "host", &env) == 0);
	FUZZ_CHECK(env.n <= (config.env.n ? config.env.n : 1) + 2);
	return 0;
}
