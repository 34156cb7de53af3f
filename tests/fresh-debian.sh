#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fresh-debian.sh MIRROR [TARGET...]: runs `make TARGET` (default: check) of the last commit, or the
# script TARGET if it is one of tests/, on a Debian 12 that has nothing installed but make and git, so
# that a missing build dependency shows. MIRROR - is the one that this machine's apt uses.
#
# Needs root, debootstrap and about 6 GB below $TMPDIR. Mounts live in a mount namespace and
# processes in a process namespace of their own: both are gone when this ends. Without a TARGET's
# failure the tree is removed; KEEP=1 keeps it.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '3,10s/^# \{0,1\}//p' "$0"; exit 2; }
mirror=$1
shift
[ "$(id -u)" = 0 ] || { echo "SKIP root: debootstrap and mounts need it"; exit 77; }
if [ "$mirror" = - ]; then
	# shellcheck disable=SC2016 # apt's own
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
		'Label: Debian' 'Codename: bookworm' 'Component: main' | head -n 1)
	[ -n "$mirror" ] || { echo "fresh-debian: apt knows no mirror of Debian 12; apt-get update?"; exit 1; }
fi
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh-debian.XXXXXX")
root=$work/root
trap '[ -n "${KEEP:-}" ] && echo "kept: $work" || rm -rf --one-file-system "$work"' EXIT

debootstrap --variant=minbase bookworm "$root" "$mirror" >"$work/debootstrap.log"
cp /etc/resolv.conf "$root/etc/"
# What the installer of a real machine writes.
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
git clone -q --no-hardlinks "$top" "$root/teelaunch"

cat >"$root/inside.sh" <<'INSIDE'
set -eu
export DEBIAN_FRONTEND=noninteractive CI=true
apt-get update -qq
apt-get install -qq -y --no-install-recommends make git ca-certificates >/dev/null
cd /teelaunch
for target in "$@"; do
	case $target in
	tests/*.sh) set -- "./$target" ;;
	*) set -- make "$target" ;;
	esac
	echo "== $*"
	"$@" </dev/null
done
INSIDE

[ $# -ge 1 ] || set -- check
# shellcheck disable=SC2016 # expanded inside
unshare --mount --pid --fork --kill-child sh -eu -c '
	root=$1
	shift
	# As on a real machine, / is a mount of its own: tests make it private in namespaces of theirs.
	mount --rbind "$root" "$root"
	mount -t proc proc "$root/proc"
	for d in sys dev; do
		mount --rbind "/$d" "$root/$d"
	done
	mount -t tmpfs tmpfs "$root/run"
	# No chroot: in one, the kernel gives nobody a user namespace.
	cd "$root"
	mkdir .before
	pivot_root . .before
	umount -l /.before
	rmdir /.before
	exec /usr/bin/env -i HOME=/root PATH="$PATH" sh /inside.sh "$@"
' sh "$root" "$@"
