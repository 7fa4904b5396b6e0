#!/usr/bin/env bash
# Trials of the built command in circumstances that once made it fail: odd captures, odd places to
# write to, power cuts, networks without a gateway, servers that die.
#
#   tests/trials/run.sh [path/to/rtmfp]
#
# Prints a line for each trial: ok, FAIL with the reason, or skip where the machine does not allow
# it (some need root). The exit status is 0 if none failed. Nothing waits for a time that ought to be
# enough: conditions are waited for, and PATIENCE only bounds how long.
set -u

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
captures="$here/../../fixtures/captures"
rtmfp="$(realpath "${1:-$here/../../target/debug/rtmfp}")"
PATIENCE="${PATIENCE:-120}"
SKIP=77
failed=0

# trial NAME FUNCTION: runs the function in a directory and a shell of its own.
trial() {
    local directory reason status
    directory="$(mktemp -d)"
    reason="$(
        exec 2>"$directory/log"
        cd "$directory" || exit 1
        export XDG_STATE_HOME="$directory/state"
        unset RTMFPKEYLOGFILE RUST_LOG
        trap clean_up EXIT
        "$2"
    )"
    status=$?
    case $status in
    0) printf 'ok    %s\n' "$1" ;;
    "$SKIP") printf 'skip  %s: %s\n' "$1" "$reason" ;;
    *)
        printf 'FAIL  %s: %s\n' "$1" "${reason:-exit status $status}"
        tail -n 20 "$directory/log" | sed 's/^/      | /'
        failed=$((failed + 1))
        ;;
    esac
    rm -rf "$directory"
}

# What a trial started, and the namespaces that it made.
started=()
namespaces=()

clean_up() {
    local it
    for it in "${started[@]}"; do kill -9 "$it" 2>/dev/null; done
    wait 2>/dev/null
    for it in "${namespaces[@]}"; do ip netns del "$it" 2>/dev/null; done
}

fail() {
    printf '%s' "$*"
    exit 1
}

skip() {
    printf '%s' "$*"
    exit "$SKIP"
}

# until_true COMMAND...: tries it again and again, for at most PATIENCE seconds.
until_true() {
    local end=$((SECONDS + PATIENCE))
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# start OUT COMMAND...: in the background, standard output into a file.
start() {
    local out="$1"
    shift
    "$@" >"$out" &
    started+=($!)
}

# share OPTION...: starts a share and waits for its link, which is left in $link.
share() {
    rm -f link
    start link "${in_namespace[@]}" "$rtmfp" share "$@"
    until_true grep -q '^rtmfp-share://.' link 2>/dev/null || fail "share printed no link"
    link="$(cat link)"
}
in_namespace=()

fetch() {
    timeout "$PATIENCE" "$rtmfp" fetch "$link" --seed-for 0 "$@"
}

# counts CAPTURE DATAGRAMS STARTUP
counts() {
    local stats
    stats="$("$rtmfp" decode --stats "$captures/links/$1.pcap")" || fail "decode failed"
    [[ "$(awk '$1 == "datagrams" { print $2 }' <<<"$stats")" == "$2" ]] || fail "not $2 datagrams"
    [[ "$(awk '$1 == "startup" { print $2 }' <<<"$stats")" == "$3" ]] || fail "not $3 startup packets"
}

pppoe() { counts pppoe 5 5; }
ppp() { counts ppp 5 5; }
pktap() { counts pktap149 5 5; }
one_datagram() { counts zeros-one-datagram 1 0; }

decrypted_onto_its_input() {
    local name
    cp "$captures/flash-startup.pcap" original
    cp original a.pcap
    cp "$captures/flash-startup.keys" a.keys
    ln -s a.pcap soft
    ln a.pcap hard
    for name in a.pcap ./a.pcap soft hard; do
        "$rtmfp" decode a.pcap -k a.keys --decrypted "$name" && fail "$name was not refused"
        cmp -s original a.pcap || fail "the capture was changed by way of $name"
    done
    "$rtmfp" decode a.pcap -k a.keys --decrypted a.keys && fail "the key log was not refused"
    cmp -s "$captures/flash-startup.keys" a.keys || fail "the key log was changed"
    "$rtmfp" decode a.pcap -k a.keys --decrypted new || fail "another file was refused"
    [[ -s new ]] || fail "nothing was written"
}

pipes_and_descriptors() {
    head -c 300000 /dev/urandom >f.bin
    share f.bin --listen 127.0.0.1:0
    mkfifo pipe
    start copy cat pipe
    fetch -o pipe --force || fail "fetching into a pipe failed"
    until_true cmp -s f.bin copy || fail "the pipe carried something else"
    [[ -p pipe ]] || fail "the pipe was replaced"
    fetch -o /dev/stdout >out || fail "fetching to /dev/stdout failed"
    cmp -s f.bin out || fail "standard output has something else"
}

device() {
    mknod null c 1 3 || skip "needs root, for mknod"
    : >null || skip "devices cannot be opened here"
    head -c 300000 /dev/urandom >f.bin
    share f.bin --listen 127.0.0.1:0
    fetch -o null || fail "fetching into a device failed"
    fetch -o null --force || fail "fetching into a device with --force failed"
    [[ -c null ]] || fail "the device was replaced"
}

missing_directory() {
    head -c 200000 /dev/urandom >f.bin
    share f.bin --listen 127.0.0.1:0
    fetch -o videos/ || fail "fetching into a new directory failed"
    cmp -s f.bin videos/f.bin || fail "the file is not in the directory"
    fetch -o missing/film 2>err && fail "a missing directory was not refused"
    grep -q 'connecting to' err && fail "it connected before it looked at the directory"
    true
}

# What a power cut leaves: the data, and the list beside it empty or gone.
lost_list() {
    local state
    head -c 20000000 /dev/urandom >f.bin
    share f.bin --listen 127.0.0.1:0
    mkdir o
    for state in empty gone; do
        rm -f o/*
        head -c 10485760 f.bin >o/f.bin.part
        if [[ $state == empty ]]; then : >o/f.bin.part.rtmfp; fi
        fetch -o o 2>err || fail "list $state: $(tail -n 1 err)"
        cmp -s f.bin o/f.bin || fail "list $state: another file"
        grep -q '9.5 MB fetched now' err || fail "list $state: $(grep 'fetched now' err)"
    done
}

bad_byte() {
    head -c 2000000 /dev/urandom >f.bin
    share f.bin --listen 127.0.0.1:0
    mkdir o
    cp f.bin o/f.bin
    # Whatever the byte is, one of the two differs from it.
    printf '\000' | dd of=o/f.bin bs=1 seek=777777 conv=notrunc
    cmp -s f.bin o/f.bin && printf '\001' | dd of=o/f.bin bs=1 seek=777777 conv=notrunc
    "$rtmfp" fetch "$link" --check -o o && fail "the bad byte was not found"
    fetch -o o 2>err || fail "the repair failed"
    cmp -s f.bin o/f.bin || fail "it is not repaired"
    grep -q '65.5 kB fetched now' err || fail "$(grep 'fetched now' err)"
    "$rtmfp" fetch "$link" --check -o o || fail "the repaired file is not good"
}

# Makes two hosts on a LAN that has no gateway: a at 192.168.77.10, b at 192.168.77.11.
lan() {
    a="rtmfp-trial-$$-$RANDOM-a" b="rtmfp-trial-$$-$RANDOM-b"
    ip netns add "$a" || skip "needs root and network namespaces"
    namespaces+=("$a")
    ip netns add "$b" || skip "needs root and network namespaces"
    namespaces+=("$b")
    ip link add lan netns "$a" type veth peer name lan netns "$b" || skip "there is no veth"
    ip -n "$a" link set lo up
    ip -n "$b" link set lo up
    ip -n "$a" addr add 192.168.77.10/24 dev lan
    ip -n "$b" addr add 192.168.77.11/24 dev lan
    ip -n "$a" link set lan up
    ip -n "$b" link set lan up
    in_namespace=(ip netns exec "$a")
}

lan_without_a_gateway() {
    lan
    echo hello >f.bin
    share f.bin
    [[ $link == rtmfp-share://192.168.77.10:* ]] || fail "the link is $link"
    timeout "$PATIENCE" ip netns exec "$b" "$rtmfp" fetch "$link" -o g.bin --seed-for 0 ||
        fail "fetch failed"
    cmp -s f.bin g.bin || fail "another file"
}

vpn_as_default_route() {
    lan
    ip link add vpn netns "$a" type veth peer name vpn netns "$b" || skip "there is no veth"
    ip -n "$b" link set vpn up
    ip -n "$a" addr add 10.99.0.2/24 dev vpn
    ip -n "$a" link set vpn up
    ip -n "$a" route add default via 10.99.0.1 || skip "no default route can be set"
    echo hello >f.bin
    share f.bin
    [[ $link == rtmfp-share://10.99.0.2:* ]] || fail "the VPN is not first in $link"
    [[ $link == */also=192.168.77.10:* ]] || fail "the LAN is missing in $link"
    share f.bin --new --listen 192.168.77.10:0
    [[ $link == rtmfp-share://192.168.77.10:* ]] || fail "--listen: the link is $link"
    [[ $link != *10.99.0.2* ]] || fail "--listen does not narrow the link $link"
    share f.bin --new --public-address films.example:7777
    [[ $link == rtmfp-share://films.example:7777/* ]] || fail "--public-address: the link is $link"
}

# A host that gets another address reports it.
changed_address() {
    lan
    echo hello >f.bin
    start link "${in_namespace[@]}" "$rtmfp" -v share f.bin 2>err
    until_true grep -q '^rtmfp-share://.' link 2>/dev/null || fail "share printed no link"
    ip -n "$a" addr add 192.168.77.20/24 dev lan
    until_true grep -q 'addresses of this host have changed.*192\.168\.77\.20' err ||
        fail "the new address was not noticed"
}

restarted_share() {
    head -c 100000 /dev/urandom >f.bin
    share f.bin --listen 127.0.0.1:0
    local first="$link"
    kill -INT "${started[-1]}"
    wait "${started[-1]}" || fail "share did not end well"
    share f.bin --listen 127.0.0.1:0
    # Somebody else may have taken the port meanwhile; peer ID and group do not depend on it.
    [[ ${link#*/1/} == "${first#*/1/}" ]] || fail "the link is another one"
    fetch -o g.bin || fail "fetch failed"
}

# A rendezvous server dies and is back: those who come next meet the others within seconds.
crashed_server() {
    local address server group begin took
    group="$("$rtmfp" groupspec new crash --posting --server-channel)" || fail "no groupspec"
    start serve "$rtmfp" serve -l 127.0.0.1:0
    server=${started[-1]}
    until_true grep -q '127\.0\.0\.1:[0-9]' serve || fail "the server does not listen"
    address="$(grep -o '127\.0\.0\.1:[0-9]*' serve | head -n 1)"
    start A "$rtmfp" join "$group" --via "rtmfp://$address/x" --for 600s
    start B "$rtmfp" join "$group" --via "rtmfp://$address/x" --for 600s
    until_true grep -q neighbour A || fail "two members do not meet"
    kill -9 "$server"
    wait "$server"
    start again "$rtmfp" serve -l "$address"
    until_true grep -q "$address" again || fail "the server is not back"
    begin=$SECONDS
    start C "$rtmfp" join "$group" --via "rtmfp://$address/x" --for 600s
    until_true grep -q neighbour C || fail "the newcomer met nobody"
    took=$((SECONDS - begin))
    ((took <= 30)) || fail "the newcomer met the others after $took s"
}

[[ -x $rtmfp ]] || {
    printf 'no such program: %s\n' "$rtmfp" >&2
    exit 2
}
trial 'capture with PPPoE' pppoe
trial 'capture with PPP' ppp
trial 'capture with PKTAP' pktap
trial 'capture of another program: one datagram' one_datagram
trial 'decrypted capture onto its input' decrypted_onto_its_input
trial 'fetch into a pipe and to standard output' pipes_and_descriptors
trial 'fetch into a device' device
trial 'fetch into a directory that is missing' missing_directory
trial 'fetch with a lost list of chunks' lost_list
trial 'fetch over a file with a bad byte' bad_byte
trial 'share on a LAN without a gateway' lan_without_a_gateway
trial 'share with a VPN as default route' vpn_as_default_route
trial 'share on a host that gets another address' changed_address
trial 'share that is started again' restarted_share
trial 'server that crashed and is back' crashed_server
exit $((failed > 0))
