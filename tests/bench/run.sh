#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measures a launch beside `ctr images pull` + `ctr run` of the same image on the same containerd.
#
#   tests/bench/run.sh [--runs N] [--pulls N] [--json FILE]
#
# With the programs of build/bin, or of TL_PROGRAMS. Needs root. What it prints is what
# docs/PERFORMANCE.md shows.
set -eu
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "bench: containerd needs root; run this as root" >&2
		exit 1
	}
	exec sudo --preserve-env=TL_PROGRAMS,TMPDIR "$0" "$@"
fi
TL_PROGRAMS=$(realpath "${TL_PROGRAMS:-build/bin}")
export TL_PROGRAMS
/usr/bin/python3 -B tests/bench/bench.py "$@"
# Lines into the journal, beside systemd-cat.
echo
/usr/bin/python3 -B tests/bench/journal.py
# The protected disk beside a raw one, in a machine under QEMU.
echo
exec /usr/bin/python3 -B tests/bench/disk.py --json build/bench-disk.json
