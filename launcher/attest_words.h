/* SPDX-License-Identifier: Apache-2.0 */
/* Of stages_attest.c, for the stages that attest. */
#pragma once

struct tl_tee;

/* What tools of the reference's users look for, by the hardware. Static. */
struct attest_words {
	const char *tee, *root, *quoting;
};
const struct attest_words *attest_words_of(const struct tl_tee *tee);
