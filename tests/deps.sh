#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install what debian/control's Build-Depends names and this machine lacks. Quiet, and a matter of
# milliseconds, when nothing is missing.
#
#   tests/deps.sh            install
#   tests/deps.sh --list     only print what is missing, one package a line; exit 1 if anything is
set -eu
cd "$(dirname "$0")/.."
control=debian/control

say() { printf 'deps: %s\n' "$*" >&2; }

command -v dpkg-query >/dev/null 2>&1 || {
	say "this machine has no dpkg; install the packages that $control names in Build-Depends by hand"
	exit 1
}

# Build-Depends as lines "name operator version" (the last two may be "-"). Of alternatives the
# first is taken; build profiles and architectures are not looked at. build-essential is never
# written down in a control file, and always meant.
wanted() {
	echo "build-essential - -"
	awk '
		/^#/ { next }
		/^[^ \t]/ { on = 0 }
		/^Build-Depends:/ { on = 1; sub(/^[^:]*:/, "") }
		on { text = text " " $0 }
		END {
			n = split(text, item, ",")
			for (i = 1; i <= n; i++) {
				sub(/\|.*/, "", item[i])
				gsub(/<[^>]*>/, "", item[i])
				gsub(/\[[^]]*\]/, "", item[i])
				gsub(/[()]/, " ", item[i])
				sub(/:any/, "", item[i])
				k = split(item[i], w, " ")
				if (k == 1) print w[1], "-", "-"
				if (k >= 3) print w[1], w[2], w[3]
			}
		}' "$control"
}

# What is installed, as "name version", followed by what installed packages provide, as
# "name version" where the provision has one and "name -" where it has none.
installed() {
	dpkg-query -W -f '${db:Status-Status}\t${Package}\t${Version}\t${Provides}\n' | awk -F'\t' '
		$1 != "installed" { next }
		{ print $2, $3 }
		$4 != "" {
			n = split($4, p, ",")
			for (i = 1; i <= n; i++) {
				gsub(/[()=]/, " ", p[i])
				k = split(p[i], w, " ")
				print w[1], (k > 1 ? w[2] : "-")
			}
		}'
}

satisfies() { # NAME OPERATOR VERSION LIST
	found=1
	while read -r have version; do
		[ "$have" = "$1" ] || continue
		[ "$2" = - ] && return 0
		case $2 in
		'>=') op=ge ;; '<=') op=le ;; '=') op=eq ;; '>>') op=gt ;; '<<') op=lt ;;
		*) say "$control: '$1' has the unknown relation '$2'"; exit 1 ;;
		esac
		[ "$version" != - ] && dpkg --compare-versions "$version" "$op" "$3" && return 0
	done <<-END
		$(printf '%s\n' "$4" | grep -F "$1 ")
	END
	return "$found"
}

list=$(installed)
missing=$(wanted | while read -r name op version; do
	satisfies "$name" "$op" "$version" "$list" || echo "$name"
done)

if [ "${1:-}" = --list ]; then
	[ -z "$missing" ] || { printf '%s\n' "$missing"; exit 1; }
	exit 0
fi
[ -n "$missing" ] || exit 0

# debhelper-compat is provided by debhelper and can be installed under no other name.
# shellcheck disable=SC2046,SC2086  # one word per package is what is wanted
set -- $(printf '%s\n' $missing | sed 's/^debhelper-compat$/debhelper/')

as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		say "these packages are missing, and installing them needs root (or sudo): $*"
		exit 1
	}
	as_root=sudo
fi

# RUNLEVEL=1: invoke-rc.d starts no daemon of a package that is only here to be run by the tests.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
say "installing $# packages: $*"
for step in "update -q" "install -y -q --no-install-recommends"; do
	names=
	[ "${step%% *}" = update ] || names="$*"
	# shellcheck disable=SC2086
	if ! $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get $step $names >"$log" 2>&1 </dev/null
	then
		tail -n 25 "$log" >&2
		say "apt-get ${step%% *} failed; its last lines are above"
		exit 1
	fi
done

still=$("$0" --list) || {
	# shellcheck disable=SC2086
	say "apt-get was content, but these are still missing or too old:" $still
	exit 1
}
