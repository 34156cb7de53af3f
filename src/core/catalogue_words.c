/* SPDX-License-Identifier: Apache-2.0 */
/* Beside catalogue.c, because the linker drops an object's strings together or not at all. */
#include <teelaunch/catalogue.h>

#include <teelaunch/cleanup.h>

static const struct {
	enum tl_code code;
	struct tl_catalogue_words words;
} rows[] = {
#define TL_ROW(number, name, stage, class, cause, effect, action) { name, { #name, cause } },
#include "catalogue.def"
#undef TL_ROW
};

const struct tl_catalogue_words *tl_catalogue_words(enum tl_code code)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		if (rows[i].code == code)
			return &rows[i].words;
	return &rows[0].words;
}
