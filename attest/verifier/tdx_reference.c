/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/encoding.h>

#define DIGEST_SHOWN 16 /* hex digits in a message */

static int bad(struct tl_error *err, const char *name, const char *what)
{
	return tl_fail(err, TL_E_VERIFY_REFERENCE, EINVAL, "'%s' %s", name, what);
}

static int register_read(const json_t *item, const char *name, uint8_t *ret, struct tl_error *err)
{
	const char *hex = json_string_value(json_object_get(item, name));

	if (!hex || strlen(hex) != 2 * IMAGE_TDX_BYTES ||
	    strspn(hex, "0123456789abcdef") != 2 * IMAGE_TDX_BYTES ||
	    tl_hex_decode(hex, ret, IMAGE_TDX_BYTES) < 0)
		return bad(err, name, "must be 96 lower-case hex digits");
	return 0;
}

static int reference_read(const json_t *item, struct tdx_reference *ret, struct tl_error *err)
{
	static const char *const names[IMAGE_TDX_RTMRS] = { "rtmr0", "rtmr1", "rtmr2" };
	size_t due = 3;
	int r = register_read(item, "mrtd", ret->mrtd, err);

	ret->has_rtmr0 = json_object_get(item, "rtmr0") != NULL;
	for (size_t i = ret->has_rtmr0 ? 0 : 1; r == 0 && i < IMAGE_TDX_RTMRS; i++)
		r = register_read(item, names[i], ret->rtmr[i], err);
	/* A register that isn't compared would look as if it were. */
	if (r == 0 && json_object_size(item) != due + ret->has_rtmr0)
		r = bad(err, "tdx", "has members other than mrtd, rtmr0, rtmr1 and rtmr2");
	return r;
}

int tdx_references_read(const json_t *root, struct image_reference *ref, struct tl_error *err)
{
	const json_t *list = json_object_get(root, "tdx");
	size_t n = json_array_size(list);

	if (!list)
		return 0;
	if (!json_is_array(list) || n == 0 || n > IMAGE_TDX_MAX)
		return bad(err, "tdx", "must be a list of 1 to 64");
	ref->tdx = calloc(n, sizeof(*ref->tdx));
	if (!ref->tdx)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for references");
	ref->tdx_n = n;
	for (size_t i = 0; i < n; i++) {
		int r = reference_read(json_array_get(list, i), &ref->tdx[i], err);

		if (r < 0)
			return tl_wrap(err, r, "tdx[%zu]", i);
	}
	return 0;
}

/* The first register that differs. */
struct difference {
	const struct image_reference *image;
	const char *name;
	const uint8_t *expected, *found;
	size_t equal; /* registers that are */
};

static void reference_compare(const struct tdx_reference *ref, const struct tdx_report *td,
			      struct difference *ret)
{
	const struct {
		const char *name;
		const uint8_t *expected, *found;
		bool is_due;
	} rows[] = {
		{ "MRTD (firmware)", ref->mrtd, td->mrtd, true },
		{ "RTMR 1 (programs)", ref->rtmr[1], td->rtmr[1], true },
		{ "RTMR 2 (command line, initrd)", ref->rtmr[2], td->rtmr[2], true },
		{ "RTMR 0 (machine, Secure Boot)", ref->rtmr[0], td->rtmr[0], ref->has_rtmr0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!rows[i].is_due ||
		    memcmp(rows[i].expected, rows[i].found, IMAGE_TDX_BYTES) == 0) {
			ret->equal++;
		} else if (!ret->name) {
			ret->name = rows[i].name;
			ret->expected = rows[i].expected;
			ret->found = rows[i].found;
		}
	}
}

static void difference_refuse(const struct difference *d, struct refusals *refusals)
{
	char expected[DIGEST_SHOWN + 1], found[DIGEST_SHOWN + 1];

	if (!d->image) {
		refuse(refusals, TL_E_VERIFY_TDX_IMAGE,
		       "no reference has registers of a TD (member \"tdx\")");
		return;
	}
	tl_hex_encode(d->expected, DIGEST_SHOWN / 2, expected);
	tl_hex_encode(d->found, DIGEST_SHOWN / 2, found);
	refuse(refusals, TL_E_VERIFY_TDX_IMAGE,
	       "%s differs from reference '%.48s %.24s %s': expected %s, found %s", d->name,
	       d->image->name, d->image->version, d->image->flavour, expected, found);
	refuse_bytes(refusals, d->expected, IMAGE_TDX_BYTES, d->found, IMAGE_TDX_BYTES);
}

void tdx_image_check(const struct image_references *refs, const struct tdx_report *td,
		     const struct image_reference **ret, struct refusals *refusals)
{
	struct difference nearest = { 0 };

	for (size_t i = 0; i < refs->n; i++) {
		for (size_t k = 0; k < refs->items[i].tdx_n; k++) {
			struct difference d = { .image = &refs->items[i] };

			reference_compare(&refs->items[i].tdx[k], td, &d);
			if (!d.name) {
				*ret = &refs->items[i];
				return;
			}
			if (!nearest.image || d.equal > nearest.equal)
				nearest = d;
		}
	}
	difference_refuse(&nearest, refusals);
}
