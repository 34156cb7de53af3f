#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh [--long]: builds and checks everything; the last line is "N passed, N failed, N skipped".
set -eu
cd "$(dirname "$0")/.."
exec /usr/bin/python3 -B tests/check/run.py "$@" </dev/null
