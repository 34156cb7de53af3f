/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "src/vm/argv.h"
#include "src/vm/console.h"
#include "src/vm/dns.h"
#include "src/vm/qmp.h"

/* --- command lines ------------------------------------------------------------------------ */

static const struct vm_machine machine = {
	.image = "/a,b.raw",
	.firmware = "/code.fd",
	.vars = "/vars.fd",
	.data = "/data.raw",
	.memory_mb = 768,
	.qmp_fd = 5,
	.tpm_fd = 7,
	.incoming_fd = -1,
};

static const char *after(const struct tl_strv *v, const char *name, const char *part)
{
	for (size_t i = 0; i + 1 < v->n; i++)
		if (strcmp(v->items[i], name) == 0 && strstr(v->items[i + 1], part))
			return v->items[i + 1];
	return NULL;
}

static void the_machine_is_described_in_full(void **state)
{
	auto_strv struct tl_strv v = { 0 };

	(void)state;
	assert_int_equal(vm_qemu_argv(&machine, &v), 0);
	assert_string_equal(v.items[0], "qemu-system-x86_64");
	assert_non_null(after(&v, "-accel", "tcg"));
	assert_string_equal(after(&v, "-m", ""), "768");
	assert_string_equal(after(&v, "-smp", ""), "1");
	assert_string_equal(after(&v, "-chardev", "id=qmp"), "socket,id=qmp,fd=5");
	assert_string_equal(after(&v, "-chardev", "id=tpm"), "socket,id=tpm,fd=7");
	assert_non_null(after(&v, "-netdev", "host=169.254.169.254"));
	assert_non_null(after(&v, "-device", "serial=teelaunch-data"));
	assert_non_null(after(&v, "-drive", "unit=0,format=raw,readonly=on,file=/code.fd"));
	assert_true(tl_strv_contains(&v, "-no-reboot"));
	assert_null(after(&v, "-incoming", ""));
	assert_null(after(&v, "-chardev", "qmp2"));
	assert_null(after(&v, "-machine", "smm=on"));
}

/* Else a path could add an option of its own to the drive. */
static void a_comma_in_a_path_stays_part_of_the_path(void **state)
{
	auto_strv struct tl_strv v = { 0 };

	(void)state;
	assert_int_equal(vm_qemu_argv(&machine, &v), 0);
	assert_string_equal(after(&v, "-drive", "id=boot"),
			    "if=none,id=boot,format=raw,readonly=on,file=/a,,b.raw");
}

static void what_is_optional_appears_when_asked_for(void **state)
{
	struct vm_machine m = machine;
	auto_strv struct tl_strv v = { 0 };

	(void)state;
	m.is_kvm = m.is_secure_boot = true;
	m.qmp = "/s,1";
	m.incoming_fd = 9;
	assert_int_equal(vm_qemu_argv(&m, &v), 0);
	assert_string_equal(after(&v, "-machine", ""), "q35,smm=on");
	assert_string_equal(after(&v, "-accel", ""), "kvm");
	assert_string_equal(after(&v, "-cpu", ""), "host");
	assert_non_null(after(&v, "-global", "secure,value=on"));
	assert_string_equal(after(&v, "-chardev", "qmp2"),
			    "socket,id=qmp2,path=/s,,1,server=on,wait=off");
	assert_string_equal(after(&v, "-incoming", ""), "fd:9");
}

static void the_tpm_is_told_where_its_state_is(void **state)
{
	auto_strv struct tl_strv v = { 0 }, setup = { 0 };

	(void)state;
	assert_int_equal(vm_swtpm_argv("/st", "/log", 4, &v), 0);
	assert_string_equal(after(&v, "--tpmstate", ""), "dir=/st");
	assert_string_equal(after(&v, "--ctrl", ""), "type=unixio,clientfd=4");
	assert_true(tl_strv_contains(&v, "--terminate"));
	assert_int_equal(vm_swtpm_setup_argv("/st", "/conf", "/log", &setup), 0);
	assert_string_equal(after(&setup, "--pcr-banks", ""), "sha256");
}

/* --- options ------------------------------------------------------------------------------ */

static void sizes_have_units_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 }, { "17", 17 }, { "1K", 1024 }, { "4G", 4ULL << 30 }, { "2T", 2ULL << 40 }
	};
	static const char *const bad[] = { "", "K", "-1", "1.5G", "4GB", "4g", "99999999999T" };
	uint64_t got;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(good); i++) {
		assert_int_equal(vm_size_parse(good[i].text, &got), 0);
		assert_int_equal(got, good[i].bytes);
	}
	got = 42;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++)
		assert_true(vm_size_parse(bad[i], &got) < 0);
	assert_int_equal(got, 42);
}

static void a_forward_is_a_port_and_a_place(void **state)
{
	static const char *const bad[] = { "",      "80",    "80=",      "80=h",
					   "80=:1", "0=h:1", "80=h:0",   "80=h:65536",
					   "x=h:1", "80=h:", "80=a:b:1", "=h:1" };
	struct vm_forward f = { .port = 7 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++)
		assert_true(vm_forward_parse(bad[i], &f) < 0);
	assert_int_equal(f.port, 7);
	assert_int_equal(vm_forward_parse("443=localhost:8443", &f), 0);
	assert_int_equal(f.port, 443);
	assert_string_equal(f.host, "localhost");
	assert_int_equal(f.host_port, 8443);
	free(f.host);
	assert_int_equal(vm_forward_parse("443=[::1]:9", &f), 0);
	assert_string_equal(f.host, "::1");
	free(f.host);
}

/* --- names ---------------------------------------------------------------------------------- */

#define ASK(flags, name, type) "\x12\x34" flags "\0\1\0\0\0\0\0\0" name "\0\0" type "\0\1"
#define METADATA               "\x8metadata\6GOOGLE\x8internal"

static void a_known_name_has_one_address(void **state)
{
	static const struct {
		const char *query;
		size_t n;
		const char *flags, *tail; /* of the answer; NULL: none */
		size_t tail_bytes;
	} rows[] = {
#define ROW(ask, flags, tail) { ask, sizeof(ask) - 1, flags, tail, sizeof(tail) - 1 }
		ROW(ASK("\1\0", METADATA, "\1"), "\x85\x80",
		    "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xa9\xfe\xa9\xfe"),
		ROW(ASK("\0\0", "\3reg\4test", "\1"), "\x84\x80",
		    "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xa9\xfe\xa9\xfe"),
		ROW(ASK("\1\0", METADATA, "\x1c"), "\x85\x80", ""),
		ROW(ASK("\1\0", "\3www\4test", "\1"), "\x85\x83", ""),
	};
	auto_strv struct tl_strv names = { 0 };

	(void)state;
	assert_int_equal(tl_strv_add(&names, "reg.test"), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_buf struct tl_buf got = { 0 };

		tl_buf_init(&got, DNS_MESSAGE_MAX);
		assert_int_equal(dns_answer(rows[i].query, rows[i].n, &names, &got), 0);
		assert_int_equal(got.len_bytes, rows[i].n + rows[i].tail_bytes);
		assert_memory_equal(got.data, "\x12\x34", 2);
		assert_memory_equal(got.data + 2, rows[i].flags, 2);
		assert_int_equal(got.data[7], rows[i].tail_bytes != 0);
		assert_memory_equal(got.data + 12, rows[i].query + 12, rows[i].n - 12);
		assert_memory_equal(got.data + rows[i].n, rows[i].tail, rows[i].tail_bytes);
		/* Cut anywhere, it is no question. */
		for (size_t n = 0; n < rows[i].n; n++) {
			auto_buf struct tl_buf none = { 0 };

			tl_buf_init(&none, DNS_MESSAGE_MAX);
			assert_int_equal(dns_answer(rows[i].query, n, &names, &none), -EBADMSG);
			assert_int_equal(none.len_bytes, 0);
		}
	}
}

static void what_is_no_question_gets_no_answer(void **state)
{
	static const struct {
		const char *query;
		size_t n;
	} rows[] = {
#define BAD(ask) { ask, sizeof(ask) - 1 }
		BAD(ASK("\x80\0", METADATA, "\1")), /* an answer */
		BAD(ASK("\x28\0", METADATA, "\1")), /* an update */
		BAD(ASK("\1\0", "\xc0\x0c", "\1")), /* a name that points at itself */
		BAD(ASK("\1\0",
			"\x40"
			"aaaa",
			"\1")),                                   /* a label of 64 bytes */
		BAD("\x12\x34\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1"), /* two questions, it says */
	};
	const struct tl_strv names = { 0 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_buf struct tl_buf got = { 0 };

		tl_buf_init(&got, DNS_MESSAGE_MAX);
		assert_int_equal(dns_answer(rows[i].query, rows[i].n, &names, &got), -EBADMSG);
		assert_int_equal(got.len_bytes, 0);
	}
}

/* --- qemu's monitor ----------------------------------------------------------------------- */

static void each_kind_of_message_is_told_apart(void **state)
{
	static const struct {
		const char *line;
		struct qmp_message want;
	} rows[] = {
		{ "{\"QMP\": {\"version\": {}}}", { .kind = QMP_GREETING } },
		{ "{\"return\": {}}", { .kind = QMP_RETURN } },
		{ "{\"return\": {\"status\": \"paused\", \"running\": false}}",
		  { .kind = QMP_RETURN, .status = "paused" } },
		{ "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}",
		  { .kind = QMP_ERROR, .name = "GenericError", .text = "no" } },
		{ "{\"timestamp\": {}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
		  "\"reason\": \"guest-reset\"}}",
		  { .kind = QMP_EVENT, .name = "SHUTDOWN", .reason = "guest-reset" } },
		{ "{\"event\": \"STOP\"}", { .kind = QMP_EVENT, .name = "STOP" } },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct qmp_message got;

		assert_int_equal(qmp_parse(rows[i].line, strlen(rows[i].line), &got), 0);
		assert_memory_equal(&got, &rows[i].want, sizeof(got));
	}
}

static void what_is_no_message_is_refused_and_changes_nothing(void **state)
{
	static const char *const lines[] = { "",       "{}",         "[]",
					     "7",      "{\"event\"", "{\"other\": 1}",
					     "\"QMP\"" };
	struct qmp_message m = { .kind = QMP_ERROR };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(lines); i++)
		assert_int_equal(qmp_parse(lines[i], strlen(lines[i]), &m), -EBADMSG);
	assert_int_equal(m.kind, QMP_ERROR);
}

static void the_reason_of_the_shutdown_is_the_end_of_the_vm(void **state)
{
	(void)state;
	assert_int_equal(qmp_shutdown_end("guest-shutdown"), VM_END_POWEROFF);
	assert_int_equal(qmp_shutdown_end("guest-reset"), VM_END_RESET);
	assert_int_equal(qmp_shutdown_end("guest-panic"), VM_END_PANIC);
	assert_int_equal(qmp_shutdown_end("host-qmp-quit"), VM_END_QUIT);
	assert_int_equal(qmp_shutdown_end("host-signal"), VM_END_FAILED);
	assert_int_equal(qmp_shutdown_end(""), VM_END_FAILED);
}

/* --- the console -------------------------------------------------------------------------- */

static void line_keep(void *arg, const char *line)
{
	assert_int_equal(tl_strv_add(arg, line), 0);
}

static void bytes_become_lines_without_control_sequences(void **state)
{
	static const struct {
		const char *bytes;
		const char *lines[4];
	} rows[] = {
		{ "a\nb\n", { "a", "b" } },
		{ "a\tb\n", { "a b" } },
		{ "a\r\nb\r\n", { "a", "b" } },
		{ "a\r\r\nb", { "a", "b" } },
		{ "one\rtwo\n", { "one", "two" } },
		{ "\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe\n", { "BdsDxe" } },
		{ "\x1b[0;32mok\x1b[0m\n", { "ok" } },
		{ "\x1b"
		  "cx\n",
		  { "x" } },
		{ "\x1b[1\nx\n", { "", "x" } },
		{ "no end", { "no end" } },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		for (size_t step = 1; step <= strlen(rows[i].bytes); step++) {
			auto_strv struct tl_strv got = { 0 };
			struct console c;

			console_init(&c);
			for (size_t at = 0; at < strlen(rows[i].bytes); at += step)
				assert_int_equal(console_feed(&c, rows[i].bytes + at,
							      strnlen(rows[i].bytes + at, step),
							      line_keep, &got),
						 0);
			console_finish(&c, line_keep, &got);
			console_done(&c);
			for (size_t k = 0; k < got.n; k++)
				assert_string_equal(got.items[k], rows[i].lines[k]);
			assert_null(rows[i].lines[got.n]);
		}
	}
}

static void a_line_without_end_comes_in_pieces(void **state)
{
	auto_strv struct tl_strv got = { 0 };
	struct console c;
	char bytes[1000];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	console_init(&c);
	for (int i = 0; i < 20; i++)
		assert_int_equal(console_feed(&c, bytes, sizeof(bytes), line_keep, &got), 0);
	console_finish(&c, line_keep, &got);
	console_done(&c);
	assert_int_equal(got.n, 3);
	assert_true(strlen(got.items[0]) < CONSOLE_LINE_MAX);
	assert_int_equal(strlen(got.items[0]) + strlen(got.items[1]) + strlen(got.items[2]), 20000);
}

static void a_line_tells_how_far_the_vm_is(void **state)
{
	static const struct {
		const char *line;
		enum console_kind kind;
		const char *name;
		uint64_t took_ms;
		bool is_failed;
	} rows[] = {
		{ "BdsDxe: starting Boot0001 \"x\"", CONSOLE_BOOT, "firmware", 0, false },
		{ "[    0.0] Linux version 6.1.0", CONSOLE_BOOT, "kernel", 0, false },
		{ "time=t level=INFO event=stage.done stage=pull took_ms=120", CONSOLE_STAGE,
		  "pull", 120, false },
		{ "level=ERROR event=stage.failed stage=policy took_ms=3 code=TL0401 msg='stage=x'",
		  CONSOLE_STAGE, "policy", 3, true },
		{ "level=INFO event=launch.start version=1", CONSOLE_BOOT, "launcher", 0, false },
		{ "level=INFO event=pulled stage=no", CONSOLE_EVENT, "pulled", 0, false },
		{ "level=INFO event=stage.done stage=pull took_ms=x", CONSOLE_STAGE, "pull", 0,
		  false },
		{ "event=pulled", CONSOLE_TEXT, "", 0, false },
		{ "hello: I have BdsDxe: starting Boot", CONSOLE_TEXT, "", 0, false },
		{ "", CONSOLE_TEXT, "", 0, false },
		{ "level=INFO "
		  "event=0123456789012345678901234567890123456789012345678901234567890123456789",
		  CONSOLE_TEXT, "", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct console_item got;

		console_read(rows[i].line, &got);
		assert_int_equal(got.kind, rows[i].kind);
		assert_string_equal(got.name, rows[i].name);
		assert_int_equal(got.took_ms, rows[i].took_ms);
		assert_int_equal(got.is_failed, rows[i].is_failed);
		assert_null(got.report);
	}
}

static void only_a_report_of_the_known_schema_is_one(void **state)
{
	static const char *const bad[] = {
		"TEELAUNCH-REPORT ", "TEELAUNCH-REPORT {",
		"TEELAUNCH-REPORT {\"schema\":\"teelaunch.report/2\"}",
		"TEELAUNCH-REPORT [\"teelaunch.report/1\"]",
		"x TEELAUNCH-REPORT {\"schema\":\"teelaunch.report/1\"}"
	};
	struct console_item got;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		console_read(bad[i], &got);
		assert_int_equal(got.kind, CONSOLE_TEXT);
		assert_null(got.report);
	}
	console_read("TEELAUNCH-REPORT {\"schema\":\"teelaunch.report/1\",\"result\":\"success\"}",
		     &got);
	assert_int_equal(got.kind, CONSOLE_REPORT);
	assert_string_equal(json_string_value(json_object_get(got.report, "result")), "success");
	json_decref(got.report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_is_described_in_full),
		cmocka_unit_test(a_comma_in_a_path_stays_part_of_the_path),
		cmocka_unit_test(what_is_optional_appears_when_asked_for),
		cmocka_unit_test(the_tpm_is_told_where_its_state_is),
		cmocka_unit_test(sizes_have_units_of_1024),
		cmocka_unit_test(a_forward_is_a_port_and_a_place),
		cmocka_unit_test(a_known_name_has_one_address),
		cmocka_unit_test(what_is_no_question_gets_no_answer),
		cmocka_unit_test(each_kind_of_message_is_told_apart),
		cmocka_unit_test(what_is_no_message_is_refused_and_changes_nothing),
		cmocka_unit_test(the_reason_of_the_shutdown_is_the_end_of_the_vm),
		cmocka_unit_test(bytes_become_lines_without_control_sequences),
		cmocka_unit_test(a_line_without_end_comes_in_pieces),
		cmocka_unit_test(a_line_tells_how_far_the_vm_is),
		cmocka_unit_test(only_a_report_of_the_known_schema_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
