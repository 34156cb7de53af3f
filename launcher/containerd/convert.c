/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "convert.h"
#include "rpc.h"

void tl_ctrd_descriptor_done(struct tl_ctrd_descriptor *d)
{
	free(d->media_type);
	free(d->digest);
	*d = (struct tl_ctrd_descriptor){ 0 };
}

void tl_ctrd_mounts_done(struct tl_ctrd_mounts *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->items[i].type);
		free(m->items[i].source);
		tl_strv_done(&m->items[i].options);
	}
	free(m->items);
	*m = (struct tl_ctrd_mounts){ 0 };
}

int convert_descriptor(const Cd__Descriptor *from, struct tl_ctrd_descriptor *ret,
		       struct tl_error *err)
{
	auto_ctrd_descriptor struct tl_ctrd_descriptor d = { 0 };

	if (from->size < 0)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG, "a descriptor of %lld bytes",
			       (long long)from->size);
	d.media_type = strdup(from->media_type);
	d.digest = strdup(from->digest);
	d.size_bytes = (uint64_t)from->size;
	if (!d.media_type || !d.digest)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a descriptor");
	*ret = d;
	d = (struct tl_ctrd_descriptor){ 0 };
	return 0;
}

void convert_descriptor_borrow(const struct tl_ctrd_descriptor *from, Cd__Descriptor *ret)
{
	ret->media_type = from->media_type;
	ret->digest = from->digest;
	ret->size = (int64_t)from->size_bytes;
}

static int convert_mount(const Cd__Mount *from, struct tl_ctrd_mount *ret)
{
	ret->type = strdup(from->type);
	ret->source = strdup(from->source);
	if (!ret->type || !ret->source)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_options; i++)
		if (tl_strv_add(&ret->options, from->options[i]) < 0)
			return -ENOMEM;
	return 0;
}

int convert_mounts(Cd__Mount *const *from, size_t n, struct tl_ctrd_mounts *ret,
		   struct tl_error *err)
{
	auto_ctrd_mounts struct tl_ctrd_mounts m = { 0 };

	m.items = calloc(n ? n : 1, sizeof(*m.items));
	if (!m.items)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "mounts");
	m.n = n;
	for (size_t i = 0; i < n; i++)
		if (convert_mount(from[i], &m.items[i]) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "mounts");
	*ret = m;
	m = (struct tl_ctrd_mounts){ 0 };
	return 0;
}

int convert_mounts_borrow(const struct tl_ctrd_mounts *from, struct convert_mounts *ret,
			  struct tl_error *err)
{
	ret->items = calloc(from->n + 1, sizeof(*ret->items));
	ret->pointers = calloc(from->n + 1, sizeof(*ret->pointers));
	if (!ret->items || !ret->pointers)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "mounts");
	for (; ret->n < from->n; ret->n++) {
		Cd__Mount *m = &ret->items[ret->n];

		cd__mount__init(m);
		m->type = from->items[ret->n].type;
		m->source = from->items[ret->n].source;
		m->options = from->items[ret->n].options.items;
		m->n_options = from->items[ret->n].options.n;
		ret->pointers[ret->n] = m;
	}
	return 0;
}

void convert_mounts_done(struct convert_mounts *m)
{
	free(m->items);
	free(m->pointers);
	*m = (struct convert_mounts){ 0 };
}
