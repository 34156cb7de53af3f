#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo: two real launches in a world of their own (see world/demo.py). Needs root, for containerd.
#
#   tests/demo.sh        with the programs of build/bin ('make build'), or of TL_PROGRAMS
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "demo: containerd needs root; run this as root" >&2
		exit 1
	}
	exec sudo --preserve-env=TL_PROGRAMS,NO_COLOR "$0" "$@"
fi
TL_PROGRAMS=$(realpath "${TL_PROGRAMS:-build/bin}")
export TL_PROGRAMS
exec /usr/bin/python3 -B tests/world/demo.py "$@"
