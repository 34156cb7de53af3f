/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: Intel's statements on TCBs, the signed bytes found and read. */
#include "fuzz.h"

#include "../../attest/verifier/tdx_tcb.h"

static void levels_check(const struct tdx_tcb_levels *levels)
{
	FUZZ_CHECK(levels->n > 0 && levels->n <= TDX_TCB_LEVELS_MAX);
	for (size_t i = 0; i < levels->n; i++)
		FUZZ_CHECK(levels->items[i].status < TDX_TCB_STATUSES);
}

static void info_check(const char *text, size_t n)
{
	auto_tdx_tcb_info struct tdx_tcb_info info = { 0 };
	const struct tdx_pck pck = { 0 };
	const struct tdx_report td = { .tee_tcb_svn = { 3, 1 } };

	if (tdx_tcb_info_parse(text, n, &info, NULL) < 0) {
		FUZZ_CHECK(!info.levels.items && !info.modules_n);
		return;
	}
	levels_check(&info.levels);
	FUZZ_CHECK(info.modules_n >= 1 && info.modules_n <= TDX_MODULES_MAX);
	(void)tdx_platform_level(&info, &pck, &td);
	(void)tdx_module_find(&info, &td);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	auto_tdx_qe_identity struct tdx_qe_identity qe = { 0 };
	struct tdx_signed_json json = { 0 };

	if (tdx_signed_json_read(text, size, "tcbInfo", &json, NULL) == 0) {
		FUZZ_CHECK(json.text >= text && json.text + json.n <= text + size && json.n >= 2);
		FUZZ_CHECK(json.text[0] == '{' && json.text[json.n - 1] == '}');
		info_check(json.text, json.n);
	}
	info_check(text, size);
	if (tdx_qe_identity_parse(text, size, &qe, NULL) == 0)
		levels_check(&qe.levels);
	return 0;
}
