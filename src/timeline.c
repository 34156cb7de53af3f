/* SPDX-License-Identifier: Apache-2.0 */
#include "timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#define COMMAND "teelaunch timeline"

enum { STATUS_FAILED = 1, STATUS_MALFORMED = 3 };

static const char usage[] =
	"usage: teelaunch timeline [-o FILE] REPORT\n\n"
	"Draws the stages of a launch report, with the critical path marked, as SVG.\n\n"
	"REPORT is the document (teelaunch-report(5)), or a console's output: then it is the last\n"
	"report in there; - is stdin.\n\n"
	"  -o, --output FILE   where the picture goes [standard output]\n"
	"      --help          this text\n\n"
	"Exit status: 0 done, 3 the report can't be read or has no stages, 1 the command itself "
	"failed.";

struct request {
	const char *report, *output;
};

/* 0, 1 (help was printed) or -EINVAL (the reason was printed). */
static int request_parse(int argc, char **argv, struct request *ret)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1)
		switch (option) {
		case 'o':
			ret->output = optarg;
			break;
		case 'h':
			puts(usage);
			return 1;
		default:
			return -EINVAL;
		}
	if (optind + 1 != argc) {
		fputs(COMMAND ": one report is needed\n", stderr);
		return -EINVAL;
	}
	ret->report = argv[optind];
	return 0;
}

static int write_to(const char *path, const struct tl_buf *svg, struct tl_error *err)
{
	auto_free char *folder = NULL, *name = NULL;
	auto_close int dir = -1;
	int r;

	if (!path || strcmp(path, "-") == 0) {
		r = tl_write_all(STDOUT_FILENO, svg->data, svg->len_bytes);
		return r < 0 ? tl_fail_sys(err, TL_E_IO, -r, "standard output") : 0;
	}
	folder = strdup(path);
	name = strdup(path);
	if (!folder || !name)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a path");
	dir = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "'%s'", path);
	return tl_file_replace(dir, basename(name), svg->data, svg->len_bytes, 0644, err);
}

static int draw(const struct request *q, struct tl_error *err)
{
	const bool is_stdin = strcmp(q->report, "-") == 0;
	auto_buf struct tl_buf text = { 0 }, svg = { 0 };
	struct timeline t;
	int r;

	tl_buf_init(&text, TIMELINE_INPUT_MAX_BYTES);
	r = tl_file_read(is_stdin ? "/dev/stdin" : q->report, &text, err);
	if (r == 0)
		r = timeline_read(tl_buf_str(&text), text.len_bytes, &t, err);
	if (r < 0)
		return r;
	timeline_mark_critical(&t);
	r = timeline_draw(&t, &svg);
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the picture");
	return write_to(q->output, &svg, err);
}

int timeline_main(int argc, char **argv)
{
	struct request q = { 0 };
	struct tl_error err = { 0 };
	int r = request_parse(argc, argv, &q);

	if (r)
		return r > 0 ? 0 : STATUS_FAILED;
	r = draw(&q, &err);
	if (r == 0)
		return 0;
	fprintf(stderr, COMMAND ": %s: %s (%s)\n", q.report, err.msg,
		tl_catalogue_find(err.code)->id);
	return err.code == TL_E_REPORT_INPUT ? STATUS_MALFORMED : STATUS_FAILED;
}
