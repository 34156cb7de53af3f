/* SPDX-License-Identifier: Apache-2.0 */
/*
 * teelaunch-unpack: unpacks one layer for teelaunchd, confined (launcher/unpack/protocol.h). No
 * arguments, no output, no user of its own.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/unpack/control.h"
#include "launcher/unpack/inflate.h"
#include "launcher/unpack/layer.h"
#include "launcher/unpack/room.h"
#include "launcher/unpack/tree.h"

/* What is open and allocated at the end goes with the process. */
struct job {
	struct tl_layer_limits limits;
	struct tl_inflate *inflate;
	struct tl_tree *tree;
};

static int start(struct job *job, struct tl_unpack_fault *fault)
{
	struct tl_unpack_start start;
	struct tl_error err = { 0 };
	int target;
	int root;
	int r = tl_control_receive(TL_UNPACK_CONTROL_FD, TL_UNPACK_START, &start, sizeof(start),
				   &target, 1, fault);

	if (r < 0)
		return r;
	if (r != 1)
		return tl_unpack_fail(fault, TL_UNPACK_PROTOCOL, 0, "START without a directory");
	job->limits = (struct tl_layer_limits){
		.max_bytes = start.max_bytes,
		.max_entries = start.max_entries,
		.max_ratio = start.max_ratio,
	};
	r = tl_room_enter(target, start.max_bytes, &root, fault);
	if (r < 0)
		return r;
	r = tl_tree_open(&job->tree, root);
	if (r < 0)
		return tl_unpack_fail_sys(fault, -r, "tree");
	r = tl_inflate_new(STDIN_FILENO, &job->inflate, &err);
	return r < 0 ? tl_unpack_fail_sys(fault, -r, "%s", err.msg) : 0;
}

static int extract(struct job *job, struct tl_unpack_fault *fault)
{
	struct tl_unpack_extracted extracted = { 0 };
	struct tl_layer_facts facts;
	int r = tl_layer_extract(job->inflate, job->tree, &job->limits, &facts, fault);

	if (r < 0)
		return r;
	memcpy(extracted.diff_id, facts.diff_id, sizeof(extracted.diff_id));
	extracted.bytes_inflated = facts.bytes;
	extracted.entries = facts.entries;
	extracted.implicit_dirs = tl_tree_implicit_n(job->tree);
	r = tl_control_send(TL_UNPACK_CONTROL_FD, TL_UNPACK_EXTRACTED, &extracted,
			    sizeof(extracted));
	return r < 0 ? tl_unpack_fail_sys(fault, -r, "send") : 0;
}

static int finish(struct job *job, struct tl_unpack_fault *fault)
{
	struct tl_unpack_head message;
	int lower[TL_UNPACK_LOWER_MAX];
	int n = tl_control_receive(TL_UNPACK_CONTROL_FD, TL_UNPACK_FINISH, &message,
				   sizeof(message), lower, TL_UNPACK_LOWER_MAX, fault);
	int r;

	if (n < 0)
		return n;
	r = tl_tree_inherit(job->tree, lower, (size_t)n, fault);
	if (r < 0)
		return r;
	r = tl_control_send(TL_UNPACK_CONTROL_FD, TL_UNPACK_DONE, &message, sizeof(message));
	return r < 0 ? tl_unpack_fail_sys(fault, -r, "send") : 0;
}

int main(void)
{
	struct tl_unpack_fault fault = { 0 };
	struct job job = { 0 };
	int r = start(&job, &fault);

	if (r == 0)
		r = extract(&job, &fault);
	if (r == 0)
		r = finish(&job, &fault);
	if (r < 0)
		(void)tl_control_send_fault(TL_UNPACK_CONTROL_FD, &fault);
	/* Not exit(): nothing is left to do, and little is allowed. */
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
