#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh [MINUTES]: fuzzes every target, MINUTES in all (default 1), two at a time. New inputs are kept
# in build/fuzz/found/<target>/; an input that breaks a target is printed and makes this fail: put
# it into tests/fuzz/corpus/<target>/, then mend the code.
set -eu
minutes=${1:-1}
cd "$(dirname "$0")/../.."
top=$PWD
work=$top/build/fuzz

cmake --preset fuzz >/dev/null
cmake --build "$work" >"$work/build.log" || { cat "$work/build.log"; exit 1; }

targets=$(find "$work/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -printf '%f\n' | sort)
n=$(printf '%s\n' "$targets" | wc -l)
seconds=$((minutes * 60 * 2 / n))
[ "$seconds" -ge 5 ] || seconds=5
[ "$seconds" -le $((minutes * 60)) ] || seconds=$((minutes * 60))

mkdir -p "$work/crashes" "$work/logs"
export top work seconds
# shellcheck disable=SC2016 # expanded by the inner shell
fuzz_one='
	t=$1
	mkdir -p "$work/found/$t"
	set --
	[ ! -f "$top/tests/fuzz/$t.dict" ] || set -- "-dict=$top/tests/fuzz/$t.dict"
	if "$work/fuzz/$t" "$@" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -close_fd_mask=1 \
		-artifact_prefix="$work/crashes/$t-" "$work/found/$t" "$top/tests/fuzz/corpus/$t" \
		>"$work/logs/$t.log" 2>&1 </dev/null; then
		echo "ok      $t: $(grep -E "^stat::|^Done" "$work/logs/$t.log" | tail -n 1)"
	else
		echo "FAILED  $t: see $work/crashes/, log:"
		tail -n 60 "$work/logs/$t.log"
		exit 1
	fi'
echo "fuzzing $n targets, $seconds s each, two at a time"
printf '%s\n' "$targets" | xargs -P 2 -n 1 sh -c "$fuzz_one" fuzz_one
