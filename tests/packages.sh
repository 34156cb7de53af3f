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

say "the section 'Install the tool' of docs/operators.md"
# shellcheck disable=SC2016 # sed's own
commands=$(sed -n '/^## Install the tool/,/^## [^I]/{/^```sh/,/^```$/{/^```/!p}}' docs/operators.md)
[ "$(printf '%s\n' "$commands" | wc -l)" = 3 ] || fail "no three commands in docs/operators.md: $commands"
sh -eux -c "$commands" >/tmp/install.log 2>&1 || { tail -n 40 /tmp/install.log; fail "they failed"; }

say "its examples, with the installed program"
[ "$(command -v teelaunch)" = /usr/bin/teelaunch ] || fail "teelaunch isn't installed"
cp docs/operators.md /tmp
TL_PROGRAMS=/usr/bin python3 -B tests/integration/docs_examples.py /tmp/operators.md

say "another folder, umask and time zone make the same bits"
mkdir -p /srv/other/place
git clone -q . /srv/other/place/source
(
	cd /srv/other/place/source
	umask 027
	TZ=Asia/Tokyo dpkg-buildpackage -us -uc -b -Pnocheck >/tmp/second.log 2>&1
) || { tail -n 40 /tmp/second.log; fail "the second build failed"; }
for deb in "$top"/../*.deb; do
	cmp "$deb" "/srv/other/place/$(basename "$deb")"
done

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
