/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>

#include "log_fields.h"

/* A line twice, as message and as fields, with the names of its keys. */
#define LINE_ENTRY_BYTES_MAX (8 * TL_LOG_LINE_MAX)
/* A report has 256 KiB; what else is in its entry is small. */
#define DOCUMENT_BYTES_MAX (512 * 1024)

/* Its queue has room for 10 datagrams where nobody set net.unix.max_dgram_qlen (systemd does: 512),
 * which a journald that is busy with a workload's output fills at once.
 */
#define LINE_WAIT_MS 500
#define WAIT_MS      2000 /* of all lines, until one finds room at once */
#define STEP_MS      2

struct journal {
	int fd;
	struct sockaddr_un address;
	_Atomic uint64_t waited_ms; /* for room, since a line found it at once */
	atomic_ulong lost;          /* not said yet */
};

bool journal_is_stream(const char *stream, int fd)
{
	struct stat st;
	char expected[64];

	if (!stream || fstat(fd, &st) < 0)
		return false;
	snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, expected) == 0;
}

int journal_open(const char *path, struct journal **ret, struct tl_error *err)
{
	auto_free struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "journal");
	j->address.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(j->address.sun_path))
		return tl_fail(err, TL_E_IO, ENAMETOOLONG, "journal socket '%s'", path);
	strncpy(j->address.sun_path, path, sizeof(j->address.sun_path) - 1);
	if (access(path, W_OK) < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "journal socket '%s'", path);
	j->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (j->fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "make a socket for the journal");
	*ret = take_ptr(j);
	return 0;
}

/* Each in the form that a line feed in the value doesn't end. */
static int field_append(struct tl_buf *b, const char *name, const char *value, size_t n)
{
	uint64_t size = htole64(n);
	int r = tl_buf_append_str(b, name);

	if (r == 0)
		r = tl_buf_append_str(b, "\n");
	if (r == 0)
		r = tl_buf_append(b, &size, sizeof(size));
	if (r == 0)
		r = tl_buf_append(b, value, n);
	return r < 0 ? r : tl_buf_append_str(b, "\n");
}

static int text_append(struct tl_buf *b, const char *name, const char *value)
{
	return field_append(b, name, value, strlen(value));
}

static int head_append(struct tl_buf *b, int level, const char *event, const char *message)
{
	const char priority[] = { (char)('0' + level), '\0' };
	int r = text_append(b, "MESSAGE", message);

	if (r == 0)
		r = text_append(b, "PRIORITY", priority);
	if (r == 0)
		r = text_append(b, "SYSLOG_IDENTIFIER", JOURNAL_IDENTIFIER);
	return r < 0 ? r : text_append(b, "TL_EVENT", event);
}

static int pairs_append(struct tl_buf *b, const char *text)
{
	struct log_field field;
	int r = 0;

	while (r == 0 && (r = log_field_next(&text, &field)) > 0) {
		char name[LOG_FIELD_KEY_MAX + 3] = "TL_";

		for (size_t i = 0; field.key[i]; i++)
			name[3 + i] = (char)toupper((unsigned char)field.key[i]);
		r = text_append(b, name, field.value);
		free(field.value);
	}
	return r;
}

static int line_build(struct tl_buf *b, int level, const char *event, const char *text)
{
	auto_free char *message = NULL;
	int r;

	if (asprintf(&message, "level=%s event=%s %s", tl_log_level_name(level), event, text) < 0) {
		message = NULL;
		return -ENOMEM;
	}
	r = head_append(b, level, event, message);
	return r < 0 ? r : pairs_append(b, text);
}

/* What is too large for a datagram goes as a file that can't change any more. */
static int memory_file(const struct tl_buf *entry)
{
	auto_close int fd = memfd_create("teelaunchd-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || write(fd, entry->data, entry->len_bytes) != (ssize_t)entry->len_bytes)
		return -1;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -1;
	return take_fd(fd);
}

/* With the errno of sendmsg(2) if false. */
static bool message_send(struct journal *j, const struct msghdr *message)
{
	uint64_t before_ms = j->waited_ms, began_ms = tl_clock_mono_ms();
	uint64_t left_ms = before_ms < WAIT_MS ? WAIT_MS - before_ms : 0;
	bool has_waited = false;

	left_ms = left_ms < LINE_WAIT_MS ? left_ms : LINE_WAIT_MS;
	for (;;) {
		int error = sendmsg(j->fd, message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
		uint64_t waited_ms = tl_clock_mono_ms() - began_ms;

		if (error == EINTR)
			continue;
		if (error == EAGAIN && waited_ms < left_ms) {
			has_waited = true;
			tl_clock_sleep_ms(STEP_MS);
			continue;
		}
		if (has_waited)
			j->waited_ms += waited_ms;
		else if (!error)
			j->waited_ms = 0;
		errno = error;
		return !error;
	}
}

static bool send_file(struct journal *j, const struct tl_buf *entry)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr message = {
		.msg_name = &j->address,
		.msg_namelen = sizeof(j->address),
		.msg_control = &control,
		.msg_controllen = sizeof(control.bytes),
	};
	auto_close int fd = memory_file(entry);

	if (fd < 0)
		return false;
	*CMSG_FIRSTHDR(&message) = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(fd));
	return message_send(j, &message);
}

/* By name each time: a journald that starts anew makes another socket. */
static bool entry_send(struct journal *j, const struct tl_buf *entry)
{
	struct iovec iov = { entry->data, entry->len_bytes };
	struct msghdr message = {
		.msg_name = &j->address,
		.msg_namelen = sizeof(j->address),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};

	if (message_send(j, &message))
		return true;
	return (errno == EMSGSIZE || errno == ENOBUFS) && send_file(j, entry);
}

static bool built_send(struct journal *j, int built, const struct tl_buf *entry)
{
	bool is_sent = built == 0 && entry_send(j, entry);

	if (!is_sent)
		j->lost++;
	return is_sent;
}

/* How many there were is said by the first that gets through. */
static void lost_say(struct journal *j)
{
	auto_buf struct tl_buf entry = { 0 };
	unsigned long lost = atomic_exchange(&j->lost, 0);
	char text[32];

	if (lost == 0)
		return;
	tl_buf_init(&entry, LINE_ENTRY_BYTES_MAX);
	snprintf(text, sizeof(text), "lines=%lu", lost);
	if (line_build(&entry, LOG_WARNING, "journal.dropped", text) < 0 || !entry_send(j, &entry))
		j->lost += lost;
}

bool journal_line(void *ctx, int level, const char *event, const char *text)
{
	auto_buf struct tl_buf entry = { 0 };
	struct journal *j = ctx;
	bool is_sent;

	tl_buf_init(&entry, LINE_ENTRY_BYTES_MAX);
	is_sent = built_send(j, line_build(&entry, level, event, text), &entry);
	if (is_sent)
		lost_say(j);
	return is_sent;
}

bool journal_document(struct journal *j, int level, const char *event, const char *message,
		      const char *name, const char *value, size_t n)
{
	auto_buf struct tl_buf entry = { 0 };
	int r;

	tl_buf_init(&entry, DOCUMENT_BYTES_MAX);
	r = head_append(&entry, level, event, message);
	if (r == 0)
		r = field_append(&entry, name, value, n);
	return built_send(j, r, &entry);
}

struct journal *journal_close(struct journal *j)
{
	if (j)
		close(j->fd);
	free(j);
	return NULL;
}

struct journal *journal_attach(void)
{
	struct tl_error err = { 0 };
	struct journal *j = NULL;

	if (!journal_is_stream(getenv("JOURNAL_STREAM"), STDERR_FILENO))
		return NULL;
	if (journal_open(JOURNAL_SOCKET, &j, &err) == 0)
		tl_log_set_journal(journal_line, j);
	else
		tl_log_event(LOG_WARNING, "journal.text", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
	return j;
}

void journal_detach(struct journal *j)
{
	if (j)
		tl_log_set_journal(NULL, NULL);
	journal_close(j);
}
