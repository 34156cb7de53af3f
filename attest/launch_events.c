/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/launch_events.h>

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

static const char *const policy_names[] = { "Always", "OnFailure", "Never" };

static bool is_policy_name(const char *s)
{
	for (size_t i = 0; s && i < TL_ARRAY_SIZE(policy_names); i++)
		if (strcmp(s, policy_names[i]) == 0)
			return true;
	return false;
}

/* The same launch must give the same register, whatever order the metadata came in. */
static int check_order(const struct tl_kvs *env, struct tl_error *err)
{
	for (size_t i = 1; env && i < env->n; i++)
		if (strcmp(env->items[i - 1].key, env->items[i].key) >= 0)
			return tl_fail(err, TL_E_INTERNAL, EINVAL,
				       "operator's variable '%s' is out of order or given twice",
				       env->items[i].key);
	return 0;
}

static int check_facts(const struct tl_launch_facts *facts, struct tl_error *err)
{
	if (!facts->image_ref || !facts->image_digest)
		return tl_fail(err, TL_E_INTERNAL, EINVAL, "the launch has no image to measure");
	if (!is_policy_name(facts->restart_policy))
		return tl_fail(err, TL_E_INTERNAL, EINVAL,
			       "restart policy '%s' can't be measured; known are Always, "
			       "OnFailure and Never",
			       facts->restart_policy ? facts->restart_policy : "");
	return check_order(facts->override_env, err);
}

static int add_text(struct tl_event_list *list, enum tl_event_type type, const char *text,
		    struct tl_error *err)
{
	return text ? tl_events_add(list, (uint8_t)type, text, strlen(text), err) : 0;
}

static int add_all(struct tl_event_list *list, enum tl_event_type type, const struct tl_strv *texts,
		   struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && texts && i < texts->n; i++)
		r = add_text(list, type, texts->items[i], err);
	return r;
}

static int add_variables(struct tl_event_list *list, const struct tl_kvs *env, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && env && i < env->n; i++) {
		auto_buf struct tl_buf b = { 0 };

		/* One byte more than an event may have, so that the limit is reported as one. */
		tl_buf_init(&b, 2 * TL_EVENT_CONTENT_MAX_BYTES);
		r = tl_buf_printf(&b, "%s=%s", env->items[i].key, env->items[i].value);
		if (r == -ENOBUFS)
			return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
				       "variable '%s' is too long to be measured",
				       env->items[i].key);
		if (r < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for an event");
		r = tl_events_add(list, TL_EVENT_OVERRIDE_ENV, b.data, b.len_bytes, err);
	}
	return r;
}

int tl_launch_events_build(const struct tl_launch_facts *facts, struct tl_event_list *ret,
			   struct tl_error *err)
{
	const uint8_t monitor = facts->is_memory_monitored;
	auto_events struct tl_event_list list = { 0 };
	int r = check_facts(facts, err);

	if (r >= 0)
		r = add_text(&list, TL_EVENT_IMAGE_REF, facts->image_ref, err);
	if (r >= 0)
		r = add_text(&list, TL_EVENT_IMAGE_DIGEST, facts->image_digest, err);
	if (r >= 0)
		r = add_text(&list, TL_EVENT_RESTART_POLICY, facts->restart_policy, err);
	if (r >= 0)
		r = add_text(&list, TL_EVENT_IMAGE_ID, facts->image_id, err);
	if (r >= 0)
		r = add_all(&list, TL_EVENT_ARG, facts->args, err);
	if (r >= 0)
		r = add_all(&list, TL_EVENT_ENV, facts->env, err);
	if (r >= 0)
		r = add_variables(&list, facts->override_env, err);
	if (r >= 0)
		r = add_all(&list, TL_EVENT_OVERRIDE_ARG, facts->override_cmd, err);
	if (r >= 0)
		r = tl_events_add(&list, TL_EVENT_MEMORY_MONITOR, &monitor, 1, err);
	if (r >= 0)
		r = tl_events_add(&list, TL_EVENT_SEPARATOR, "", 0, err);
	if (r < 0)
		return r;
	*ret = list;
	list = (struct tl_event_list){ 0 };
	return 0;
}
