#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh [MINUTES]: every target, MINUTES in all (default 1), two at a time (run.py).
set -eu
exec python3 "$(dirname "$0")/run.py" fuzz --minutes "${1:-1}"
