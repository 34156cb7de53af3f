#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo: two launches, one that is allowed and one that is denied.
#
#   tests/demo.sh           each in a VM of its own (see world/vm_demo.py); needs no root
#   tests/demo.sh --host    on this machine, without a VM (see world/demo.py); needs root, for containerd
#
# With the programs of build/bin ('make build'), or of TL_PROGRAMS.
set -eu
cd "$(dirname "$0")/.."
TL_PROGRAMS=$(realpath "${TL_PROGRAMS:-build/bin}")
export TL_PROGRAMS
if [ "${1:-}" != --host ]; then
	exec /usr/bin/python3 -B tests/world/vm_demo.py "$@"
fi
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "demo: containerd needs root; run this as root" >&2
		exit 1
	}
	exec sudo --preserve-env=TL_PROGRAMS,NO_COLOR "$0" "$@"
fi
shift
exec /usr/bin/python3 -B tests/world/demo.py "$@"
