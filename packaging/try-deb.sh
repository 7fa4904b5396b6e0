#!/bin/sh
# Installs the Debian package in a fresh Debian that boots with systemd, as an operator would, and looks whether the
# server runs there, answers, keeps its identity, and goes without a trace. Wants root, debootstrap and systemd-nspawn
# (package systemd-container).
#   packaging/try-deb.sh target/debian/rtmfp_*.deb            in Debian bookworm
#   packaging/try-deb.sh target/debian/rtmfp_*.deb trixie     in another one
#   KEEP=1 packaging/try-deb.sh …                             leaves it running: it prints how to get in
set -eu
package=$1
suite=${2-bookworm}
work=${TMPDIR-/tmp}/rtmfp-deb-$suite
root=$work/root
name=rtmfp-deb
mkdir -p "$work"

step() { printf '=== %s\n' "$*"; }
fail() {
    printf 'try-deb: FAILED: %s\n' "$*" >&2
    exit 1
}
# Runs a command in the booted system.
inside() { nsenter --target "$leader" --all /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }
# Waits 20 seconds at most for a command to succeed.
until_ok() {
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "$*"
}
end() {
    status=$?
    if [ "$status" != 0 ] && [ -n "${leader-}" ]; then
        inside journalctl --unit rtmfp --no-pager --lines=20 >&2 || true
    fi
    if [ "${KEEP-}" != 1 ] || [ "$status" != 0 ]; then
        [ -z "${nspawn-}" ] || { kill "$nspawn" 2>/dev/null && wait "$nspawn" 2>/dev/null; } || true
        ip netns delete $name 2>/dev/null || true
        rm -rf "$root"
    fi
    exit $status
}
trap end EXIT

if [ ! -e "$work/fresh.tar" ]; then
    step "a fresh Debian $suite"
    rm -rf "$root"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,curl,man-db \
        "$suite" "$root" >"$work/debootstrap.log" 2>&1 || fail "debootstrap, see $work/debootstrap.log"
    tar --create --file "$work/fresh.tar" --directory "$root" .
else
    step "the Debian $suite of $work/fresh.tar"
    rm -rf "$root"
    mkdir "$root"
    tar --extract --file "$work/fresh.tar" --directory "$root"
fi
cp "$package" "$root/root/rtmfp.deb"
rm -f "$root/usr/sbin/policy-rc.d"

step "boot, in a network of its own: 10.79.0.2, seen from here as 10.79.0.1"
ip netns add $name
ip netns exec $name ip link set lo up
ip link add rtmfp-deb0 type veth peer name host0 netns $name
ip addr add 10.79.0.1/24 dev rtmfp-deb0
ip link set rtmfp-deb0 up
ip netns exec $name ip addr add 10.79.0.2/24 dev host0
ip netns exec $name ip link set host0 up
systemd-nspawn --quiet --directory "$root" --boot --register=no --keep-unit \
    --network-namespace-path=/run/netns/$name >"$work/boot.log" 2>&1 </dev/null &
nspawn=$!
leader_of() { leader=$(pgrep --parent $nspawn | head -1) && [ -n "$leader" ]; }
until_ok leader_of
until_ok inside systemctl is-system-running --wait || true

step "install"
inside apt-get install --yes --no-install-recommends /root/rtmfp.deb 2>&1 | tail -5
until_ok inside systemctl is-active rtmfp
inside systemctl show rtmfp --property=ActiveState,SubState,StatusText,MainPID
until_ok inside curl --silent --fail http://127.0.0.1:8936/readyz
inside curl --silent http://127.0.0.1:8936/ | grep -q '<title' || fail "the status page"
inside systemd-analyze security rtmfp --no-pager | tail -1
inside man --pager=cat rtmfp-serve >/dev/null || fail "the man page"
first=$(inside journalctl --unit rtmfp --no-pager --output=cat)
printf '%s\n' "$first" | head -20

step "the identity stays, settings are read again, and a crash is mended"
identity() { inside sha256sum /var/lib/private/rtmfp/identity; }
before=$(identity)
inside systemctl restart rtmfp
[ "$before" = "$(identity)" ] || fail "another identity after a restart"
inside sed --in-place 's/^sessions = .*/sessions = 777/' /etc/rtmfp/serve.toml
inside systemctl reload rtmfp
reloaded() { inside journalctl --unit rtmfp --no-pager --output=cat | grep -q 'limits.sessions'; }
until_ok reloaded
pid() { inside systemctl show rtmfp --property=MainPID --value; }
crashed=$(pid)
inside sh -c "kill -KILL $crashed"
again() { [ "$(pid)" != "$crashed" ] && [ "$(pid)" != 0 ] && inside systemctl is-active rtmfp; }
until_ok again
until_ok inside curl --silent --fail http://127.0.0.1:8936/readyz

if [ "${KEEP-}" = 1 ]; then
    step "running at rtmfp://10.79.0.2/; in: nsenter --target $leader --all; end: kill $nspawn"
    exit 0
fi

step "remove and purge"
inside apt-get purge --yes rtmfp >/dev/null 2>&1
for path in /etc/rtmfp /var/lib/rtmfp /var/lib/private/rtmfp /usr/bin/rtmfp /usr/lib/systemd/system/rtmfp.service /lib/systemd/system/rtmfp.service; do
    [ ! -e "$root$path" ] || fail "$path is left after a purge"
done
step "all is well"
