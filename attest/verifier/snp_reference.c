/* SPDX-License-Identifier: Apache-2.0 */
#include "snp_reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/encoding.h>

int snp_references_read(const json_t *root, struct image_reference *ref, struct tl_error *err)
{
	const json_t *list = json_object_get(root, "snp");
	size_t n = json_array_size(list);

	if (!list)
		return 0;
	if (!json_is_array(list) || n == 0 || n > IMAGE_SNP_MAX)
		return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL,
			       "'snp' must be a list of 1 to %d", IMAGE_SNP_MAX);
	ref->snp = calloc(n, sizeof(*ref->snp));
	if (!ref->snp)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for references");
	ref->snp_n = n;
	for (size_t i = 0; i < n; i++) {
		const char *hex = json_string_value(json_array_get(list, i));

		if (!hex || strlen(hex) != 2 * sizeof(*ref->snp) ||
		    strspn(hex, "0123456789abcdef") != 2 * sizeof(*ref->snp) ||
		    tl_hex_decode(hex, ref->snp[i], sizeof(*ref->snp)) < 0)
			return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL,
				       "'snp[%zu]' must be 96 lower-case hex digits", i);
	}
	return 0;
}

void snp_image_check(const struct image_reference *image, const uint8_t *measurement,
		     bool *ret_known, struct refusals *refusals)
{
	*ret_known = false;
	for (size_t i = 0; i < image->snp_n; i++)
		*ret_known |= memcmp(image->snp[i], measurement, sizeof(*image->snp)) == 0;
	if (*ret_known || !image->snp_n)
		return;
	refuse(refusals, TL_E_VERIFY_SNP_IMAGE,
	       "the SEV-SNP guest was started with other firmware than those of reference "
	       "'%.48s %.24s %s'",
	       image->name, image->version, image->flavour);
	refuse_bytes(refusals, image->snp[0], sizeof(*image->snp), measurement,
		     sizeof(*image->snp));
}
