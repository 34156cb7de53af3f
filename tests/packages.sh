#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# packages.sh: on a fresh Debian 12, as root and in a clone: does what docs/operators.md says, word for
# word, and shows that the packages build the same bits twice, pass lintian, start nothing, and leave
# nothing behind. Installs packages: meant for tests/fresh-debian.sh.
set -eu
cd "$(dirname "$0")/.."
top=$(pwd)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

say() { printf '== packages: %s\n' "$*"; }
fail() { printf 'packages: %s\n' "$*" >&2; exit 1; }

# A release needs an address for reports (docs/SECURITY.md); what is built here is nobody's.
sed -i 's/@teelaunch\.invalid>/@teelaunch.example>/' debian/control debian/changelog
git -c user.name=x -c user.email=x@teelaunch.example commit -qm "An address" debian/control debian/changelog

say "the section 'Install the tool' of docs/operators.md"
# shellcheck disable=SC2016 # sed's own
commands=$(sed -n '/^## Install the tool/,/^## [^I]/{/^```sh/,/^```$/{/^```/!p}}' docs/operators.md)
[ "$(printf '%s\n' "$commands" | wc -l)" = 3 ] || fail "no three commands in docs/operators.md: $commands"
sh -eux -c "$commands" >/tmp/install.log 2>&1 || { tail -n 40 /tmp/install.log; fail "they failed"; }

say "its examples, with the installed program"
[ "$(command -v teelaunch)" = /usr/bin/teelaunch ] || fail "teelaunch isn't installed"
cp docs/operators.md /tmp
TL_PROGRAMS=/usr/bin python3 -B tests/integration/docs_examples.py /tmp/operators.md

say "docs/SECURITY.md: a release, by another user, in another year, time zone, language, umask, home and with one job"
apt-get install -qq -y --no-install-recommends faketime locales openssh-client >/dev/null
localedef -i tr_TR -f UTF-8 tr_TR.UTF-8
useradd --home-dir /srv/release builder
release=/srv/release/by/another
mkdir -p $release/user
git clone -q . $release/clone
ssh-keygen -q -t ed25519 -N '' -C '' -f $release/key
printf 'release@teelaunch namespaces="git,teelaunch-release" %s\n' "$(cat $release/key.pub)" >$release/release-signers
chown -R builder /srv/release
# Commands of a section: its sh blocks, the number of which is $2.
recipe() {
	sed -n "/^### $1\$/,/^##/{/^\`\`\`sh/,/^\`\`\`$/p}" docs/SECURITY.md | awk -v n="$2" '/^```sh/ { k++; next } /^```/ { next } k == n'
}
recipe 'Make one' 1 >$release/make.sh
recipe 'Check one' 1 >$release/check.sh
recipe 'Check one' 2 >$release/check_tag.sh
for wanted in make.sh:dpkg-buildpackage check.sh:sha256sum check_tag.sh:verify-tag; do
	grep -q "${wanted#*:}" "$release/${wanted%%:*}" || fail "docs/SECURITY.md has no recipe"
done
as_builder() { # FOLDER SCRIPT
	(cd "$1" && setpriv --reuid=builder --regid=builder --clear-groups env -i PATH="$PATH" HOME=/srv/release USER=builder \
		TZ=Asia/Kathmandu LC_ALL=tr_TR.UTF-8 LANGUAGE=tr DEB_BUILD_OPTIONS=parallel=1 \
		GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@teelaunch.example \
		KEY=$release/key VERSION=0.0.0 OUT=$release \
		faketime -f '+3y' sh -euc "umask 077; . $2" >/tmp/release.log 2>&1) ||
		{ tail -n 40 /tmp/release.log; fail "$2 failed"; }
}
as_builder $release/clone $release/make.sh
for deb in "$top"/../*.deb; do
	cmp "$deb" "$release/one/$(basename "$deb")"
	sha256sum "$deb"
done
cp $release/one/*.deb $release/one/SHA256SUMS* $release/release-signers $release/user
chown builder $release/user/*
as_builder $release/user $release/check.sh
as_builder $release/clone $release/check_tag.sh

say "lintian"
apt-get install -qq -y --no-install-recommends lintian >/dev/null
lintian --allow-root --pedantic -I -E --profile debian --tag-display-limit 0 \
	--fail-on error,warning,info,pedantic,experimental "$top"/../teelaunch_*.changes

say "all three together"
apt-get install -qq -y --no-install-recommends ../teelaunch_*.deb ../teelaunchd_*.deb ../teeverifierd_*.deb \
	systemd >/dev/null
for program in teelaunch teelaunchd teeverifierd; do
	"$program" --version
	bash -c ". /usr/share/bash-completion/completions/$program; complete -p $program" >/dev/null
done
getent passwd teeverifierd | grep -q ':/nonexistent:/usr/sbin/nologin$' || fail "no user teeverifierd"
for unit in /lib/systemd/system/tee*.service; do
	state=$(systemctl is-enabled "$(basename "$unit")" 2>/dev/null || true)
	case $state in
	disabled | static) ;;
	*) fail "$unit is '$state', though nobody asked for it" ;;
	esac
done
say "docs/verifier.md: the files of the service; its own command line serves"
# shellcheck disable=SC2016 # sed's own
commands=$(sed -n '/^## Running it/,$p' docs/verifier.md | sed -n '/^```sh/,/^```$/{/^```/!p;/^```$/q}')
(sh -eux -c "$commands" 2>/tmp/verifier.log) || { cat /tmp/verifier.log; fail "they failed"; }
cp -p /etc/teeverifierd/tls.pem /etc/teeverifierd/ak-roots.pem
apt-get install -qq -y --no-install-recommends curl >/dev/null
run=$(mktemp -d)
chown teeverifierd: "$run"
command=$(sed -n '/^ExecStart=/,/[^\\]$/p' /lib/systemd/system/teeverifierd.service | sed 's/^ExecStart=//; s/\\$//' | tr -d '\n')
issuer=$(sed -n 's/^ISSUER=//p' /etc/teeverifierd/environment)
ISSUER=$issuer setpriv --reuid=teeverifierd --regid=teeverifierd --clear-groups sh -c "exec $command --listen 127.0.0.1:0 --port-file $run/port" \
	>"$run/log" 2>&1 &
pid=$!
for _ in $(seq 150); do
	[ -s "$run/port" ] || ! kill -0 "$pid" 2>/dev/null || { sleep 0.2; continue; }
	break
done
port=$(cat "$run/port") || { cat "$run/log"; fail "teeverifierd doesn't serve"; }
curl -sS --fail --cacert /etc/teeverifierd/tls.pem --resolve "verifier.example:$port:127.0.0.1" \
	"https://verifier.example:$port/.well-known/openid-configuration" | grep -qF "\"$issuer\"" ||
	fail "the discovery document isn't that of $issuer"
kill "$pid"
wait "$pid" || fail "teeverifierd ended badly"

say "docs/image-builders.md, in this tree"
cp docs/image-builders.md /tmp
TL_PROGRAMS=/usr/sbin python3 -B tests/integration/docs_examples.py /tmp/image-builders.md
for script in /var/lib/dpkg/info/teelaunchd.p*; do
	! grep -qE 'deb-systemd-invoke|systemctl .*(re)?start' "$script" || fail "$script starts or stops a launch"
done

say "and away again"
apt-get purge -qq -y teelaunch teelaunchd teeverifierd >/dev/null
rm -r /etc/systemd/system/teelaunchd.service.d /etc/teeverifierd
left=$(find / -xdev \( -path /proc -o -path /sys -o -path "$top" -o -path /srv -o -path /tmp \) -prune -o \
	\( -name 'teelaunch*' -o -name 'teeverifierd*' \) ! -name '*.deb' ! -name '*.changes' ! -name '*.buildinfo' -print)
[ -z "$left" ] || fail "purging leaves: $left"
say "ok"
