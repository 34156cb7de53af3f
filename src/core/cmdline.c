/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/cmdline.h>

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define WHITE_SPACE " \t\n"

/* The next word; double quotes hide white space, as in the kernel's next_arg(). */
static const char *word_next(const char *p, const char **ret_end)
{
	bool in_quotes = false;

	p += strspn(p, WHITE_SPACE);
	if (!*p)
		return NULL;
	for (*ret_end = p; **ret_end; (*ret_end)++) {
		if (**ret_end == '"')
			in_quotes = !in_quotes;
		else if (!in_quotes && strchr(WHITE_SPACE, **ret_end))
			break;
	}
	return p;
}

/*
 * The flag's name as other readers of the line may see it: the kernel takes off quotes around a
 * word and doesn't tell '-' from '_', and a person doesn't see case.
 */
static bool is_flag_meant(const char *word, size_t n)
{
	static const char name[] = TL_CMDLINE_HARDENED;
	size_t quote = n && *word == '"';

	if (n < quote + sizeof(name) - 1)
		return false;
	word += quote;
	n -= quote;
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		if ((word[i] == '_' ? '-' : tolower((unsigned char)word[i])) != name[i])
			return false;
	return n == sizeof(name) - 1 || strchr("=\"", word[sizeof(name) - 1]);
}

int tl_cmdline_is_hardened(const char *text, bool *ret, struct tl_error *err)
{
	static const char key[] = TL_CMDLINE_HARDENED "=";
	const size_t key_len = sizeof(key) - 1;
	const char *word, *end = text;
	bool is_hardened = false;
	unsigned int seen = 0;

	while ((word = word_next(end, &end))) {
		size_t n = (size_t)(end - word);

		if (!is_flag_meant(word, n))
			continue;
		if (n < key_len || memcmp(word, key, key_len) != 0)
			return tl_fail(err, TL_E_CMDLINE_CONTRADICTS, EINVAL,
				       "kernel command line: '%.*s' is not how '%s' is written",
				       (int)n, word, key);
		is_hardened = n == key_len + 4 && memcmp(word + key_len, "true", 4) == 0;
		if (!is_hardened && !(n == key_len + 5 && memcmp(word + key_len, "false", 5) == 0))
			return tl_fail(err, TL_E_CMDLINE_CONTRADICTS, EINVAL,
				       "kernel command line: '%.*s' is neither true nor false",
				       (int)n, word);
		if (seen++)
			return tl_fail(err, TL_E_CMDLINE_CONTRADICTS, EINVAL,
				       "kernel command line: '%s' is given more than once",
				       TL_CMDLINE_HARDENED);
	}
	*ret = is_hardened;
	return 0;
}

int tl_cmdline_value(const char *text, const char *key, const char **ret, size_t *ret_n)
{
	const char *word, *found = NULL, *end = text;
	size_t key_len = strlen(key), found_n = 0;

	while ((word = word_next(end, &end))) {
		size_t n = (size_t)(end - word);

		if (n <= key_len || memcmp(word, key, key_len) != 0 || word[key_len] != '=')
			continue;
		if (found)
			return -EEXIST;
		found = word + key_len + 1;
		found_n = n - key_len - 1;
	}
	if (!found)
		return -ENOENT;
	*ret = found;
	*ret_n = found_n;
	return 0;
}
