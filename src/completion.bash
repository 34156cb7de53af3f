# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the completions of teelaunch, teelaunchd and teeverifierd share. Needs nothing but bash.
#
# _PROGRAM_follows KEY, for the keys "", "VERB", "--OPTION" behind "VERB " or " ", prints what may
# follow: words, <file>, <dir>, <pair> (NAME=FILE), or nothing that could be known. It fails for
# anything else, so for options that take no value.
_teelaunch_complete()
{
	local follows=_${1##*/}_follows at=$COMP_CWORD verb='' kind
	local cur=${COMP_WORDS[at]}

	COMPREPLY=()
	if [[ $at -gt 1 ]] && $follows "${COMP_WORDS[1]}" >/dev/null; then
		verb=${COMP_WORDS[1]}
	fi
	# NAME=FILE is three words here.
	if [[ $cur == = ]]; then
		cur=
	elif [[ ${COMP_WORDS[at - 1]} == = ]]; then
		at=$((at - 1))
	fi
	if [[ ${COMP_WORDS[at]} == = ]]; then
		[[ $at -gt 2 && $($follows "$verb ${COMP_WORDS[at - 2]}") == '<pair>' ]] || return 0
		kind='<file>'
	else
		kind=$($follows "$verb ${COMP_WORDS[at - 1]}") || kind=$($follows "$verb")
	fi
	# compopt fails where no completion is under way: in tests.
	case $kind in
	'<file>' | '<dir>') compopt -o filenames 2>/dev/null || : ;;
	esac
	case $kind in
	'<pair>') ;;
	'<file>') mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	'<dir>') mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur") ;;
	esac
}
