/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "containerd.pb-c.h"
#include "rpc.h"

#define METHOD(name) "/containerd.services.leases.v1.Leases/" name
#define LABEL_EXPIRE "containerd.io/gc.expire" /* docs/garbage-collection.md of containerd */
#define RFC3339_CAP  sizeof("2026-01-02T03:04:05Z")
#define EXPIRE_S_MAX (366ULL * 24 * 3600)

static int expiry_text(uint64_t in_s, char *ret, struct tl_error *err)
{
	time_t at = (time_t)tl_clock_real_s() + (time_t)(in_s < EXPIRE_S_MAX ? in_s : EXPIRE_S_MAX);
	struct tm parts;

	if (!gmtime_r(&at, &parts) ||
	    strftime(ret, RFC3339_CAP, "%Y-%m-%dT%H:%M:%SZ", &parts) != RFC3339_CAP - 1)
		return tl_fail(err, TL_E_INTERNAL, ERANGE, "the clock's year has not 4 digits");
	return 0;
}

int tl_ctrd_lease_create(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			 uint64_t expires_in_s, struct tl_error *err)
{
	Cd__CreateLeaseRequest request = CD__CREATE_LEASE_REQUEST__INIT;
	auto_kvs struct tl_kvs labels = { 0 };
	auto_labels struct rpc_labels packed = { 0 };
	char expiry[RFC3339_CAP];
	int r;

	r = expiry_text(expires_in_s, expiry, err);
	if (r < 0)
		return r;
	if (tl_kvs_add(&labels, LABEL_EXPIRE, expiry) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "labels");
	r = rpc_labels_set(&labels, &cd__create_lease_request__labels_entry__descriptor, &packed,
			   err);
	if (r < 0)
		return r;
	request.id = rpc_borrow(id);
	request.n_labels = packed.n;
	request.labels = (Cd__CreateLeaseRequest__LabelsEntry **)packed.pointers;
	return rpc_unary(c, call, METHOD("Create"), &request.base,
			 &cd__create_lease_response__descriptor, NULL, err);
}

int tl_ctrd_lease_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			 bool is_sync, struct tl_error *err)
{
	Cd__DeleteLeaseRequest request = CD__DELETE_LEASE_REQUEST__INIT;

	request.id = rpc_borrow(id);
	request.sync = is_sync;
	return rpc_unary(c, call, METHOD("Delete"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}

int tl_ctrd_lease_list(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
		       struct tl_strv *ret, struct tl_error *err)
{
	Cd__ListLeasesRequest request = CD__LIST_LEASES_REQUEST__INIT;
	auto_message Cd__ListLeasesResponse *response = NULL;
	auto_strv struct tl_strv found = { 0 };
	int r;

	r = rpc_unary(c, call, METHOD("List"), &request.base, &cd__list_leases_response__descriptor,
		      &response, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < response->n_leases; i++) {
		if (tl_str_starts_with(response->leases[i]->id, prefix) &&
		    tl_strv_add(&found, response->leases[i]->id) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "list of leases");
	}
	return rpc_strv_append(ret, &found, err);
}
