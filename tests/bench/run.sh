#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole bench: tests/bench/bench.py, with the options given, then two that have no targets: lines into the
# journal, and the protected disk's speed.
#
#   tests/bench/run.sh [--quick] [--only NAME,...]
#
# With the programs of build/bin, or of TL_PROGRAMS. Needs root.
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
if [ $# != 0 ]; then
	exec /usr/bin/python3 -B tests/bench/bench.py "$@"
fi
/usr/bin/python3 -B tests/bench/bench.py
# Lines into the journal, beside systemd-cat.
echo
/usr/bin/python3 -B tests/bench/journal.py
# The protected disk beside a raw one, in a machine under QEMU.
echo
exec /usr/bin/python3 -B tests/bench/disk.py --json build/bench-disk.json
