/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/env_names.h>

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

static bool is_name_char(char c, bool is_first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!is_first && c >= '0' && c <= '9');
}

static bool is_name(const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_name_char(name[i], i == 0))
			return false;
	return n > 0;
}

enum tl_env_fault tl_env_check(const char *name, size_t name_n, const char *value, size_t value_n)
{
	if (!tl_utf8_is_valid(name, name_n))
		return TL_ENV_NAME_NOT_UTF8;
	if (!tl_utf8_is_valid(value, value_n))
		return TL_ENV_VALUE_NOT_UTF8;
	if (!is_name(name, name_n))
		return TL_ENV_NAME_MALFORMED;
	return memchr(value, '\0', value_n) ? TL_ENV_VALUE_NUL : TL_ENV_OK;
}

enum tl_env_fault tl_env_check_entry(const char *entry)
{
	const char *equals = strchr(entry, '=');

	if (!equals)
		return TL_ENV_NO_EQUALS;
	return tl_env_check(entry, (size_t)(equals - entry), equals + 1, strlen(equals + 1));
}

const char *tl_env_fault_category(enum tl_env_fault fault)
{
	static const char *const categories[] = {
		[TL_ENV_OK] = NULL,
		[TL_ENV_NAME_NOT_UTF8] = "env-name-not-utf8",
		[TL_ENV_VALUE_NOT_UTF8] = "env-value-not-utf8",
		[TL_ENV_NAME_MALFORMED] = "env-name-malformed",
		[TL_ENV_VALUE_NUL] = "env",
		[TL_ENV_NO_EQUALS] = "env-no-equals",
	};

	return categories[fault];
}

static bool is_entry_of(const char *entry, const char *name)
{
	size_t n = strlen(name);

	return strncmp(entry, name, n) == 0 && (entry[n] == '=' || entry[n] == '\0');
}

static int entry_set(struct tl_strv *env, const char *name, const char *value)
{
	int r = tl_strv_printf(env, "%s=%s", name, value);

	if (r)
		return r;
	for (size_t i = env->n - 1; i-- > 0;) {
		char *replaced;

		if (!is_entry_of(env->items[i], name))
			continue;
		/* The last entry of that name gives its place. */
		replaced = env->items[i];
		env->items[i] = env->items[env->n - 1];
		env->items[env->n - 1] = NULL;
		env->n--;
		explicit_bzero(replaced, strlen(replaced));
		free(replaced);
		break;
	}
	return 0;
}

static int image_env_copy(const struct tl_strv *image_env, struct tl_strv *env)
{
	int r = image_env->n ? 0 : tl_strv_add(env, TL_ENV_DEFAULT_PATH);

	for (size_t i = 0; !r && i < image_env->n; i++)
		if (*image_env->items[i])
			r = tl_strv_add(env, image_env->items[i]);
	return r;
}

int tl_env_merge(const struct tl_strv *image_env, const struct tl_kvs *overrides,
		 const char *hostname, struct tl_strv *ret)
{
	auto_strv struct tl_strv env = { 0 };
	int r = image_env_copy(image_env, &env);

	for (size_t i = 0; !r && i < overrides->n; i++)
		r = entry_set(&env, overrides->items[i].key, overrides->items[i].value);
	if (!r && hostname)
		r = entry_set(&env, "HOSTNAME", hostname);
	if (r)
		return r;
	*ret = env;
	env = (struct tl_strv){ 0 };
	return 0;
}
