/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes teelaunch-metadata(7) or teelaunch-labels(7) to standard output, out of the very tables
 * that keys and labels are parsed by. Runs while building; not installed.
 */
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/launch_policy.h>

#define DATE "2026-11-22"

static const struct page {
	const char *name; /* also the argument */
	const struct tl_key_doc *(*get)(size_t i);
	const char *title, *intro, *section;
} pages[] = {
	{ "teelaunch-metadata", tl_launch_spec_key,
	  "the metadata keys by which an operator describes a launch",
	  "The operator of a virtual machine sets these keys in its instance attributes.\n"
	  "They are read once, at start; a later change has no effect on this run.\n"
	  "All values are strings; a value of any other type, under any key, fails the launch.\n"
	  "A key that begins with tee\\- but isn't listed here has no effect and is warned of.\n"
	  "Where true or false is asked for, 1, t, T, TRUE, True, 0, f, F, FALSE and False do "
	  "too.\n"
	  "What the image's author doesn't allow, see\n.BR teelaunch\\-labels (7),\nis denied.\n"
	  ".PP\nLimits: the document 512 KiB, 1024 variables, 4096 arguments, 1024 elements of\n"
	  "any other list.\nNo value may hold a NUL character.\n",
	  "KEYS" },
	{ "teelaunch-labels", tl_launch_policy_label,
	  "the image labels by which an author restricts a launch",
	  "The author of a container image sets these labels on it.\n"
	  "They say what the operator may change, see\n.BR teelaunch\\-metadata (7).\n"
	  "A label that can't be read denies every launch of the image.\n"
	  "A label holds at most 4096 bytes.\n"
	  ".PP\nNo label allows a mount at /, or at or below /proc, /sys, /dev and\n"
	  "/run/container_launcher, nor an override of the variable HOSTNAME.\n",
	  "LABELS" },
};

/* Text as roff shows it: no minus that becomes a dash, no request at the start of a line. */
static void print_text(const char *s)
{
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else if (*s == '\'')
			fputs("\\(aq", stdout);
		else
			putchar(*s);
	}
}

static void print_line(const char *head, const char *s)
{
	fputs(head, stdout);
	print_text(s);
	putchar('\n');
}

static void print_row(const struct tl_key_doc *doc)
{
	bool is_prefix = strcmp(doc->name, "tee-env-") == 0;

	fputs(".TP\n.B ", stdout);
	print_text(doc->name);
	puts(is_prefix ? "\\fINAME\\fR" : "");
	print_line("\\&", doc->description);
	print_line(".br\nValue: ", doc->type);
	print_line(".br\nDefault: ", doc->fallback);
	if (doc->governed_by)
		print_line(".br\nAllowed by the label " TL_LABEL_PREFIX, doc->governed_by);
}

static int page_print(const struct page *page)
{
	fputs(".TH ", stdout);
	print_text(page->name);
	puts(" 7 " DATE " teelaunch teelaunch\n.SH NAME");
	print_text(page->name);
	print_line(" \\- ", page->title);
	printf(".SH DESCRIPTION\n%s.SH %s\n", page->intro, page->section);
	for (size_t i = 0; page->get(i); i++)
		print_row(page->get(i));
	puts(".SH SEE ALSO\n.BR teelaunch\\-explain (1),\n.BR teelaunch\\-errors (7),\n"
	     ".BR teelaunchd (8)");
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < TL_ARRAY_SIZE(pages); i++)
		if (strcmp(argv[1], pages[i].name) == 0)
			return page_print(&pages[i]);
	fputs("usage: keys_man teelaunch-metadata|teelaunch-labels\n", stderr);
	return 1;
}
