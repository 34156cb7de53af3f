/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

#include <teelaunch/cleanup.h>

/* nft's first line says what is wrong; the next ones repeat our own text. */
static int rules_load(struct nft_ctx *nft, const char *rules, struct tl_error *err)
{
	const char *said;

	/* Else they go to our standard output and error. */
	if (nft_ctx_buffer_output(nft) || nft_ctx_buffer_error(nft))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "firewall");
	if (nft_run_cmd_from_buffer(nft, rules) == 0)
		return 0;
	said = nft_ctx_get_error_buffer(nft);
	return tl_fail(err, TL_E_FIREWALL, EPERM, "nftables: %.*s", (int)strcspn(said, "\n"), said);
}

int firewall_set(const struct tl_strv *const *open, size_t n, struct tl_error *err)
{
	auto_buf struct tl_buf rules = { 0 };
	struct nft_ctx *nft;
	int r;

	tl_buf_init(&rules, FIREWALL_RULES_BYTES_MAX);
	r = firewall_rules(open, n, &rules, err);
	if (r < 0)
		return r;
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return tl_fail(err, TL_E_FIREWALL, ENOMEM, "nftables can't be used");
	r = rules_load(nft, tl_buf_str(&rules), err);
	nft_ctx_free(nft);
	return r;
}
