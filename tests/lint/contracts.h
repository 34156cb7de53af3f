/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included in front of every file that clang's analyser reads. It sees one source at a time, and
 * would think that a failure may return 0; here it is told what include/teelaunch/error.h promises.
 */
#pragma once

#include <teelaunch/error.h>

#define CONTRACT_NEGATIVE(call)                                                                    \
	({                                                                                         \
		int contract_r = (call);                                                           \
		if (contract_r >= 0)                                                               \
			__builtin_unreachable();                                                   \
		contract_r;                                                                        \
	})
#define tl_fail(...)     CONTRACT_NEGATIVE(tl_fail(__VA_ARGS__))
#define tl_fail_sys(...) CONTRACT_NEGATIVE(tl_fail_sys(__VA_ARGS__))
#define tl_wrap(err, r, ...)                                                                       \
	({                                                                                         \
		int contract_r = (r);                                                              \
		(void)tl_wrap(err, contract_r, __VA_ARGS__);                                       \
		contract_r;                                                                        \
	})
