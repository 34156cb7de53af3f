/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of teelaunchd and their options, as tables: one row a verb, one row an option. Options
 * are "--name value" pairs; they are the image's word, on the command line of a unit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <teelaunch/str.h>

/* Nothing was begun. None of the launcher's own decisions: the exit unit makes a report of it. */
#define EXIT_USAGE 2

/* What a field is. OTHER: something that only its own verb knows. */
enum option_type { OPTION_OTHER, OPTION_TEXT, OPTION_NUMBER, OPTION_BOOL, OPTION_TEXTS };

struct option_row {
	const char *name, *arg;
	size_t offset;                                /* of the field in the verb's own struct */
	int (*parse)(const char *value, void *field); /* 0 or negative errno; NULL: a string */
	const char *help;
	enum option_type type;
};

#define OPTION_TYPE(type, member)                                                                  \
	_Generic(((type *)0)->member, const char *                                                 \
		 : OPTION_TEXT, uint64_t                                                           \
		 : OPTION_NUMBER, bool                                                            \
		 : OPTION_BOOL, struct tl_strv                                                   \
		 : OPTION_TEXTS, default                                                           \
		 : OPTION_OTHER)
#define OPTION(type, name, arg, member, parse, help)                                               \
	{                                                                                          \
		"--" name, arg, offsetof(type, member), parse, help, OPTION_TYPE(type, member)     \
	}

struct verb {
	const char *name, *summary, *exit_status; /* the texts of its --help */
	const struct option_row *rows;
	size_t rows_n;
	/* @argv: the words after the verb. Returns the exit status of the process. */
	int (*run)(const struct verb *verb, int argc, char **argv);
};

extern const struct verb verb_exit, verb_firewall, verb_run;
/* One a unit; NULL ends the list. */
extern const struct verb *const verbs[];

/** Set the fields of @arguments; what isn't given stays. -EINVAL, said on standard error. */
int options_parse(const struct verb *verb, void *arguments, int argc, char **argv);
void options_help(const struct verb *verb, FILE *to);

/* Parsers that verbs share; @field is named by the type. */
int parse_ms(const char *value, void *field); /* uint64_t; at most a day */
int parse_budget_ms(const char *value, void *field);
int parse_rate(const char *value, void *field);
/* uint64_t, 1 to 10,000 */                         /* the same, at least 1 */
int parse_absolute(const char *value, void *field); /* const char *, an absolute path */
int parse_ports(const char *value, void *field); /* struct tl_strv, empty before; "22/tcp,53/udp" */
/** const char *: a row whose parser sets the level of the log; error, warning, info, debug. */
int parse_log_level(const char *value, void *field);

/**
 * The process will hold secrets: no core dump, no ptrace by others, nothing for the world, and
 * nothing of the environment but where the service manager listens.
 */
void process_harden(void);
