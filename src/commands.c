/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"

#include "explain.h"
#include "measure.h"
#include "timeline.h"
#include "verify.h"
#include "vm/vm.h"

const struct command commands[] = {
	{ "explain", explain_main, "would this launch be allowed, and if not, why exactly?",
	  &explain_options },
	{ "explain-error", explain_error_main, "what an error code means and what to do", NULL },
	{ "measure", measure_main,
	  "what a launch measures, and what an event log makes of the registers",
	  &measure_options },
	{ "timeline", timeline_main, "draw the stages of a launch report", NULL },
	{ "verify", verify_main, "is this evidence, or this token, good?", &verify_options },
	{ "vm", vm_main, "boot an image with a software TPM and tell what became of the launch",
	  &vm_options_table },
	{ 0 },
};
