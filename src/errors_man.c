/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the manual page teelaunch-errors(7) to standard output, out of the very table that the
 * programs report from. Runs while building; not installed.
 */
#include <stdio.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>

#define DATE "2026-11-22"

/* The hundreds of the numbers; see src/core/catalogue.def. */
static const char *const sections[] = {
	"GENERAL",          "MACHINE AND DISK", "METADATA", "LAUNCH SPEC", "POLICY",
	"RESOLVE AND PULL", "CONTAINERD",       "MEASURE",  "ATTESTATION", "WORKLOAD AND END",
	"VERIFIER",         "TEELAUNCH VM",     "TIMELINE",
};

static const char intro[] =
	".SH NAME\n"
	"teelaunch\\-errors \\- every error of teelaunchd and teeverifierd, and what to do\n"
	".SH DESCRIPTION\n"
	"Every failure has a code, which never changes its meaning.\n"
	"It stands in the log, in the launch report and in the verifier's answers.\n"
	"Each entry says at which stage it arises, its class, what happened, what that means and\n"
	"what to do now.\n"
	".PP\n"
	"The class decides what may follow:\n"
	".TP\n.B denied\npolicy, or an input that a retry can't change: the machine stops.\n"
	".TP\n.B retry\nnetwork, registry, verifier, containerd or TPM: the restart policy "
	"decides.\n"
	".TP\n.B fatal\nintegrity, or a bug: the machine stops.\n"
	".TP\n.B workload\nthe workload itself ended badly: the restart policy decides.\n";

/* Text as roff shows it: no minus that becomes a dash, no request at the start of a line. */
static void print_text(const char *s)
{
	fputs("\\&", stdout);
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
	putchar('\n');
}

static void print_row(const struct tl_catalogue_row *row)
{
	const struct tl_catalogue_words *words = tl_catalogue_words(row->code);

	printf(".TP\n.B %s\n%s, stage %s, class %s.\n.br\nWhat happened:\n", row->id, words->name,
	       row->stage, tl_class_name(row->class));
	print_text(words->cause);
	puts(".br\nWhat it means:");
	print_text(row->effect);
	puts(".br\nWhat to do:");
	print_text(row->action);
}

int main(void)
{
	size_t n, section, last = (size_t)-1;
	const struct tl_catalogue_row *rows = tl_catalogue(&n);

	puts(".TH TEELAUNCH\\-ERRORS 7 " DATE " teelaunch teelaunch");
	fputs(intro, stdout);
	for (size_t i = 0; i < n; i++) {
		section = (size_t)rows[i].code / 100;
		if (section >= TL_ARRAY_SIZE(sections))
			return 1;
		if (section != last)
			printf(".SH %s\n", sections[section]);
		last = section;
		print_row(&rows[i]);
	}
	puts(".SH SEE ALSO\n.BR teelaunchd (8),\n.BR teeverifierd (8)");
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
