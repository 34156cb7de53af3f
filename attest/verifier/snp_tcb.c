/* SPDX-License-Identifier: Apache-2.0 */
#include "snp_tcb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

struct snp_tcb snp_tcb_of(const uint8_t bytes[SNP_TCB_BYTES], bool has_fmc)
{
	if (has_fmc)
		return (struct snp_tcb){ .fmc = bytes[0],
					 .bootloader = bytes[1],
					 .tee = bytes[2],
					 .snp = bytes[3],
					 .microcode = bytes[7] };
	return (struct snp_tcb){
		.bootloader = bytes[0], .tee = bytes[1], .snp = bytes[6], .microcode = bytes[7]
	};
}

bool snp_tcb_is_equal(const struct snp_tcb *a, const struct snp_tcb *b)
{
	return snp_tcb_is_at_least(a, b) && snp_tcb_is_at_least(b, a);
}

bool snp_tcb_is_at_least(const struct snp_tcb *found, const struct snp_tcb *least)
{
	return found->bootloader >= least->bootloader && found->tee >= least->tee &&
	       found->snp >= least->snp && found->microcode >= least->microcode &&
	       found->fmc >= least->fmc;
}

void snp_tcb_text(const struct snp_tcb *tcb, char ret[SNP_TCB_TEXT_MAX])
{
	(void)snprintf(ret, SNP_TCB_TEXT_MAX, "bootloader=%u,tee=%u,snp=%u,microcode=%u,fmc=%u",
		       tcb->bootloader, tcb->tee, tcb->snp, tcb->microcode, tcb->fmc);
}

static int bad(const char *text, struct tl_error *err)
{
	return tl_fail(err, TL_E_USAGE, EINVAL,
		       "'%.80s' must be PRODUCT:bootloader=N,tee=N,snp=N,microcode=N[,fmc=N], "
		       "with N from 0 to 255",
		       text);
}

static int part_parse(const char *name, const char *value, struct snp_tcb *ret, unsigned int *seen)
{
	const struct {
		const char *name;
		uint8_t *to;
	} parts[] = { { "bootloader", &ret->bootloader },
		      { "tee", &ret->tee },
		      { "snp", &ret->snp },
		      { "microcode", &ret->microcode },
		      { "fmc", &ret->fmc } };
	uint64_t n;

	for (unsigned int i = 0; i < TL_ARRAY_SIZE(parts); i++) {
		if (strcmp(name, parts[i].name) != 0)
			continue;
		if (*seen >> i & 1 || tl_str_parse_u64(value, UINT8_MAX, &n) < 0)
			return -EINVAL;
		*seen |= 1u << i;
		*parts[i].to = (uint8_t)n;
		return 0;
	}
	return -EINVAL;
}

int snp_least_parse(const char *text, struct snp_least *ret, struct tl_error *err)
{
	auto_free char *copy = strdup(text);
	char *rest = copy, *product, *part;
	struct snp_least least = { 0 };
	unsigned int seen = 0;

	if (!copy)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for options");
	product = strsep(&rest, ":");
	if (!rest || !*product || strlen(product) >= sizeof(least.product))
		return bad(text, err);
	memcpy(least.product, product, strlen(product));
	while ((part = strsep(&rest, ","))) {
		char *value = strchr(part, '=');

		if (!value)
			return bad(text, err);
		*value++ = '\0';
		if (part_parse(part, value, &least.tcb, &seen) < 0)
			return bad(text, err);
	}
	if ((seen & 0xf) != 0xf)
		return bad(text, err);
	*ret = least;
	return 0;
}
