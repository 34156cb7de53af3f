/* SPDX-License-Identifier: Apache-2.0 */
/* TCG TSS 2.0 TPM Command Transmission Interface (TCTI) API Specification 1.0, section 3. */
#include "tpm_link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>

#define COMMAND_MAX_BYTES TPM2_MAX_COMMAND_SIZE
/* tag, size, code: TPM 2.0 part 1, 18.2 */
#define RESPONSE_MIN_BYTES 10
#define CODE_OFFSET        6  /* of a command, too */
#define HANDLE_OFFSET      10 /* the first one's, in commands and in answers */
#define HANDLE_END         14
#define POLL_HANDLES_MAX   4
#define MADE_MAX           8 /* at most three are there at a time: tpm_seal.c */

struct tpm_link {
	TSS2_TCTI_CONTEXT_COMMON_V2 common; /* first: ESAPI sees only this */
	TSS2_TCTI_CONTEXT *inner;
	uint64_t budget_ms;
	struct tl_deadline deadline;
	enum tpm_link_state state;
	bool is_due; /* the answer to what was sent last wasn't fetched yet */
	TPM2_HANDLE made[MADE_MAX];
	size_t n_made;
	uint8_t command[COMMAND_MAX_BYTES]; /* the last one, to be sent again */
	size_t command_len;
	/* ESAPI asks for the size of an answer first: so it waits here. 0: none. */
	uint8_t response[TPM2_MAX_RESPONSE_SIZE];
	size_t response_len;
};

static const struct tl_backoff busy_backoff = {
	.base_ms = 1, .cap_ms = 500, .attempts_max = UINT32_MAX, /* the deadline ends it */
};

/* What a TPM says when it hasn't run the command and wants it again: part 2, 6.6.3. */
static const uint32_t busy_codes[] = {
	TPM2_RC_RETRY, TPM2_RC_YIELDED, TPM2_RC_TESTING, TPM2_RC_NV_RATE, TPM2_RC_NV_UNAVAILABLE,
};

/* What leaves an object or a session behind, the handle of which is the first in the answer. */
static const uint32_t making_codes[] = {
	TPM2_CC_CreatePrimary,
	TPM2_CC_Load,
	TPM2_CC_StartAuthSession,
};

static struct tpm_link *from_tcti(TSS2_TCTI_CONTEXT *tcti)
{
	return (struct tpm_link *)tcti;
}

static TSS2_RC broken(struct tpm_link *link, enum tpm_link_state state, TSS2_RC rc)
{
	link->state = state;
	return rc;
}

/* poll() sees the first byte of an answer; a peer on a socket could still withhold the rest. */
static void bound_socket_read(int fd, uint64_t left_ms)
{
	const struct timeval limit = { .tv_sec = (time_t)(left_ms / 1000),
				       .tv_usec = (suseconds_t)(left_ms % 1000 * 1000 + 1) };

	/* A character device isn't a socket and needs no limit: its answers come in one piece. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* true: readable, or nothing to poll; then the driver's own time limits hold. false: late. */
static bool wait_readable(struct tpm_link *link)
{
	TSS2_TCTI_POLL_HANDLE handles[POLL_HANDLES_MAX];
	size_t n = POLL_HANDLES_MAX;
	uint64_t left_ms;
	int r;

	if (Tss2_Tcti_GetPollHandles(link->inner, handles, &n) != TSS2_RC_SUCCESS || !n)
		return true;
	left_ms = tl_deadline_left_ms(link->deadline, tl_clock_mono_ms());
	for (size_t i = 0; i < n; i++) {
		handles[i].events = POLLIN;
		bound_socket_read(handles[i].fd, left_ms);
	}
	do {
		left_ms = tl_deadline_left_ms(link->deadline, tl_clock_mono_ms());
		r = poll(handles, n, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
	} while (r < 0 && errno == EINTR);
	return r != 0;
}

static uint32_t be32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_one_of(uint32_t code, const uint32_t *codes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (codes[i] == code)
			return true;
	return false;
}

static bool is_busy(const uint8_t *response, size_t n)
{
	return n >= RESPONSE_MIN_BYTES &&
	       is_one_of(be32_at(response + CODE_OFFSET), busy_codes, TL_ARRAY_SIZE(busy_codes));
}

/* false: no time left. The answer needs some, too: a TPM that is just busy would be taken for one
 * that doesn't answer, and that is for good. */
static bool wait_before_retry(const struct tpm_link *link, unsigned int attempt)
{
	const uint64_t answer_ms = link->budget_ms / 10;
	uint64_t wait_ms = 0;

	if (!tl_backoff_next(&busy_backoff, attempt, tl_clock_random(), &wait_ms) ||
	    wait_ms + answer_ms >= tl_deadline_left_ms(link->deadline, tl_clock_mono_ms()))
		return false;
	tl_clock_sleep_ms(wait_ms);
	return true;
}

static void forget_made(struct tpm_link *link, TPM2_HANDLE handle)
{
	for (size_t i = link->n_made; i-- > 0;)
		if (link->made[i] == handle)
			link->made[i] = link->made[--link->n_made];
}

static void note_made(struct tpm_link *link)
{
	uint32_t code;

	if (link->command_len < HANDLE_OFFSET || link->response_len < RESPONSE_MIN_BYTES ||
	    be32_at(link->response + CODE_OFFSET) != TPM2_RC_SUCCESS)
		return;
	code = be32_at(link->command + CODE_OFFSET);
	if (code == TPM2_CC_FlushContext && link->command_len >= HANDLE_END)
		forget_made(link, be32_at(link->command + HANDLE_OFFSET));
	if (!is_one_of(code, making_codes, TL_ARRAY_SIZE(making_codes)) ||
	    link->response_len < HANDLE_END)
		return;
	/* A TPM gives a handle again only when what had it is gone. */
	forget_made(link, be32_at(link->response + HANDLE_OFFSET));
	if (link->n_made < MADE_MAX)
		link->made[link->n_made++] = be32_at(link->response + HANDLE_OFFSET);
}

static TSS2_RC receive_once(struct tpm_link *link)
{
	TSS2_RC rc;

	do {
		link->response_len = sizeof(link->response);
		if (!wait_readable(link))
			return broken(link, TPM_LINK_LATE, TSS2_TCTI_RC_IO_ERROR);
		rc = Tss2_Tcti_Receive(link->inner, &link->response_len, link->response,
				       TSS2_TCTI_TIMEOUT_BLOCK);
		if (rc == TSS2_TCTI_RC_TRY_AGAIN &&
		    tl_deadline_is_past(link->deadline, tl_clock_mono_ms()))
			return broken(link, TPM_LINK_LATE, TSS2_TCTI_RC_IO_ERROR);
	} while (rc == TSS2_TCTI_RC_TRY_AGAIN);
	if (rc != TSS2_RC_SUCCESS)
		return broken(link, TPM_LINK_GONE, rc);
	link->is_due = false;
	note_made(link);
	return rc;
}

static TSS2_RC send_command(struct tpm_link *link)
{
	TSS2_RC rc = Tss2_Tcti_Transmit(link->inner, link->command_len, link->command);

	if (rc != TSS2_RC_SUCCESS)
		return broken(link, TPM_LINK_GONE, rc);
	link->is_due = true;
	return rc;
}

static bool is_usable(const struct tpm_link *link)
{
	return link->state != TPM_LINK_LATE && link->state != TPM_LINK_GONE;
}

/* ESAPI gives a command up, without fetching the answer, if it has no memory for that. Such an
 * answer must not be taken for the next command's. */
static TSS2_RC begin_anew(struct tpm_link *link)
{
	TSS2_RC rc;

	if (!is_usable(link))
		return TSS2_TCTI_RC_IO_ERROR;
	link->state = TPM_LINK_UP;
	link->deadline = tl_deadline_in(tl_clock_mono_ms(), link->budget_ms);
	rc = link->is_due ? receive_once(link) : TSS2_RC_SUCCESS;
	link->response_len = 0;
	link->deadline = tl_deadline_in(tl_clock_mono_ms(), link->budget_ms);
	return rc;
}

static TSS2_RC link_transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
	struct tpm_link *link = from_tcti(tcti);
	TSS2_RC rc = begin_anew(link);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (size > sizeof(link->command))
		return TSS2_TCTI_RC_BAD_VALUE;
	memcpy(link->command, command, size);
	link->command_len = size;
	return send_command(link);
}

static TSS2_RC receive_until_not_busy(struct tpm_link *link)
{
	for (unsigned int attempt = 2;; attempt++) {
		TSS2_RC rc = receive_once(link);

		if (rc != TSS2_RC_SUCCESS || !is_busy(link->response, link->response_len))
			return rc;
		if (!wait_before_retry(link, attempt))
			return broken(link, TPM_LINK_BUSY, TSS2_TCTI_RC_IO_ERROR);
		rc = send_command(link);
		if (rc != TSS2_RC_SUCCESS)
			return rc;
	}
}

/* The time limit of ESAPI's synchronous calls is "never"; ours holds instead. */
static TSS2_RC link_receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *response,
			    int32_t timeout)
{
	struct tpm_link *link = from_tcti(tcti);
	TSS2_RC rc;

	(void)timeout;
	if (!link->response_len) {
		rc = receive_until_not_busy(link);
		if (rc != TSS2_RC_SUCCESS) {
			link->response_len = 0;
			return rc;
		}
	}
	if (response && *size < link->response_len)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	*size = link->response_len;
	if (response) {
		memcpy(response, link->response, link->response_len);
		link->response_len = 0;
	}
	return TSS2_RC_SUCCESS;
}

static void link_finalize(TSS2_TCTI_CONTEXT *tcti)
{
	(void)tcti; /* tpm_link_close() does it */
}

static TSS2_RC link_cancel(TSS2_TCTI_CONTEXT *tcti)
{
	return Tss2_Tcti_Cancel(from_tcti(tcti)->inner);
}

static TSS2_RC link_poll_handles(TSS2_TCTI_CONTEXT *tcti, TSS2_TCTI_POLL_HANDLE *handles, size_t *n)
{
	return Tss2_Tcti_GetPollHandles(from_tcti(tcti)->inner, handles, n);
}

static TSS2_RC link_locality(TSS2_TCTI_CONTEXT *tcti, uint8_t locality)
{
	return Tss2_Tcti_SetLocality(from_tcti(tcti)->inner, locality);
}

static TSS2_RC link_make_sticky(TSS2_TCTI_CONTEXT *tcti, TPM2_HANDLE *handle, uint8_t sticky)
{
	return Tss2_Tcti_MakeSticky(from_tcti(tcti)->inner, handle, sticky);
}

struct tpm_link *tpm_link_new(TSS2_TCTI_CONTEXT *consume_inner, uint64_t budget_ms)
{
	struct tpm_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->common.v1 = (TSS2_TCTI_CONTEXT_COMMON_V1){
		.magic = 0x746c6c696e6b0001, /* "tllink", 1; any value but the loader's would do */
		.version = 2,
		.transmit = link_transmit,
		.receive = link_receive,
		.finalize = link_finalize,
		.cancel = link_cancel,
		.getPollHandles = link_poll_handles,
		.setLocality = link_locality,
	};
	link->common.makeSticky = link_make_sticky;
	link->inner = consume_inner;
	link->budget_ms = budget_ms;
	return link;
}

int tpm_link_open(const char *tcti, uint64_t budget_ms, struct tpm_link **ret, struct tl_error *err)
{
	TSS2_TCTI_CONTEXT *inner = NULL;
	struct tpm_link *link;
	TSS2_RC rc;

	/* The loader would take an empty name for "whatever is there". */
	if (!tcti || !*tcti)
		return tl_fail(err, TL_E_TPM_OPEN, EINVAL,
			       "no TPM interface was given; 'device:/dev/tpmrm0' is the usual one");
	rc = Tss2_TctiLdr_Initialize(tcti, &inner);
	if (rc != TSS2_RC_SUCCESS)
		return tl_fail(err, TL_E_TPM_OPEN, ENODEV, "open TPM '%s': %s", tcti,
			       Tss2_RC_Decode(rc));
	link = tpm_link_new(inner, budget_ms);
	if (!link) {
		Tss2_TctiLdr_Finalize(&inner);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the TPM");
	}
	*ret = link;
	return 0;
}

TSS2_TCTI_CONTEXT *tpm_link_tcti(struct tpm_link *link)
{
	return (TSS2_TCTI_CONTEXT *)link;
}

enum tpm_link_state tpm_link_state(const struct tpm_link *link)
{
	return link->state;
}

static void flush_made(struct tpm_link *link, TPM2_HANDLE handle)
{
	const uint8_t command[HANDLE_END] = {
		TPM2_ST_NO_SESSIONS >> 8,
		TPM2_ST_NO_SESSIONS & 0xff,
		[5] = HANDLE_END,
		[8] = TPM2_CC_FlushContext >> 8,
		[9] = TPM2_CC_FlushContext & 0xff,
		[10] = (uint8_t)(handle >> 24),
		[11] = (uint8_t)(handle >> 16),
		[12] = (uint8_t)(handle >> 8),
		[13] = (uint8_t)handle,
	};

	if (link_transmit(tpm_link_tcti(link), sizeof(command), command) == TSS2_RC_SUCCESS)
		(void)receive_until_not_busy(link);
	link->response_len = 0;
}

void tpm_link_flush(struct tpm_link *link, TPM2_HANDLE keep)
{
	(void)begin_anew(link);
	/* What is flushed leaves the list, and the last one takes its place. */
	for (size_t i = link->n_made; i-- > 0;)
		if (link->made[i] != keep && link->state == TPM_LINK_UP)
			flush_made(link, link->made[i]);
}

struct tpm_link *tpm_link_close(struct tpm_link *link)
{
	if (!link)
		return NULL;
	if (link->state == TPM_LINK_UP)
		tpm_link_flush(link, 0);
	Tss2_TctiLdr_Finalize(&link->inner);
	free(link);
	return NULL;
}
