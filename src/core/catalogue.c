/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/catalogue.h>

#include <teelaunch/cleanup.h>

static const struct tl_catalogue_row rows[] = {
#define ID(number)                                                                                 \
	{                                                                                          \
		'T', 'L', '0' + (number) / 1000, '0' + (number) / 100 % 10,                        \
			'0' + (number) / 10 % 10, '0' + (number) % 10, '\0'                        \
	}
#define TL_ROW(number, name, stage, class, cause, effect, action)                                  \
	{ name, ID(number), class, stage, effect, action },
#include "catalogue.def"
#undef TL_ROW
};

const struct tl_catalogue_row *tl_catalogue(size_t *ret_n)
{
	*ret_n = TL_ARRAY_SIZE(rows);
	return rows;
}

const struct tl_catalogue_row *tl_catalogue_find(enum tl_code code)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		if (rows[i].code == code)
			return &rows[i];
	return &rows[0]; /* TL_E_INTERNAL is the first row; a test holds that */
}

const char *tl_class_name(enum tl_class class)
{
	static const char *const names[] = {
		[TL_FATAL] = "fatal",
		[TL_DENIED] = "denied",
		[TL_RETRY] = "retry",
		[TL_WORKLOAD] = "workload",
	};

	return (size_t) class < TL_ARRAY_SIZE(names) ? names[class] : "fatal";
}
