#!/usr/bin/env bash
# Address translators of all common kinds, made of network namespaces and nftables: what `rtmfp probe`
# says behind each, and which pairs of members meet by introduction.
#
#   tests/trials/nat.sh [path/to/rtmfp] [KIND...]
#
# Needs root, `ip` and `nft`. Prints a line for each kind, ok or FAIL, and then a table: whether the
# member of a row, which joins first, meets that of a column. FAIL marks what `impossible` below does not
# say. With kinds, only pairs of these. KEEP=DIR keeps the output of members that fail.
#
#   server 203.0.113.1, .2, .3 ── bridge ──┬── router A 203.0.113.10 ── 192.168.1.2: host
#                                          └── router B 203.0.113.20 ── 192.168.2.2: host
set -u

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
rtmfp="$(realpath "${1:-$here/../../target/debug/rtmfp}")"
shift
ALL=(none cone address port symmetric cgn firewall blocked)
kinds=("$@")
((${#kinds[@]})) || kinds=("${ALL[@]}")
# Seconds in which a pair that can meet has met.
MEET="${MEET:-25}"
failed=0
prefix="rtmfp-nat-$$"
work="$(mktemp -d)"
namespaces=()
started=()

clean_up() {
    local it
    # Not at the end of a subshell.
    [[ $BASHPID == "$$" ]] || return
    for it in "${started[@]}"; do kill -9 "$it" 2>/dev/null; done
    wait 2>/dev/null
    for it in "${namespaces[@]}"; do ip netns del "$it" 2>/dev/null; done
    rm -rf "$work"
}
trap clean_up EXIT

give_up() {
    printf '%s\n' "$*" >&2
    exit 2
}

# space NAME: a network namespace.
space() {
    ip netns add "$prefix-$1" || give_up "needs root and network namespaces"
    namespaces+=("$prefix-$1")
    ip -n "$prefix-$1" link set lo up
}

inside() {
    local where="$prefix-$1"
    shift
    ip netns exec "$where" "$@"
}

# cable A PORT B PORT: joins two namespaces.
cable() {
    ip link add "$2" netns "$prefix-$1" type veth peer name "$4" netns "$prefix-$3" ||
        give_up "there is no veth"
    ip -n "$prefix-$1" link set "$2" up
    ip -n "$prefix-$3" link set "$4" up
}

# at NAME PORT ADDRESS...
at() {
    local where="$prefix-$1" port="$2" address
    shift 2
    for address in "$@"; do ip -n "$where" addr add "$address" dev "$port"; done
}

# Nothing new comes in: a packet that a router took for its own would have the port of the host, and the
# answer to it would leave from another one.
CLOSED='chain in { type filter hook input priority filter; iifname wan ct state new drop; }'

# rules KIND PUBLIC HOST: what a router does.
rules() {
    local public="$2" host="$3"
    # One public port for one port of the host; everything for a port of the host gets in (cone), or
    # only from addresses that were sent something in the last minute.
    local one="chain out { type nat hook postrouting priority srcnat; oifname wan snat to $public; }
        chain before { type nat hook prerouting priority dstnat;
            iifname wan ip daddr $public meta l4proto udp dnat to $host; }"
    case "$1" in
    cone) cat <<NFT ;;
table ip nat {
    $one
}
NFT
    address) cat <<NFT ;;
table ip nat {
    set known { type ipv4_addr; timeout 60s; }
    chain notes { type filter hook forward priority filter;
        oifname wan meta l4proto udp update @known { ip daddr }
        iifname wan ip saddr != @known drop; }
    $one
}
NFT
    port) cat <<NFT ;;
table ip nat {
    chain out { type nat hook postrouting priority srcnat; oifname wan masquerade; }
    $CLOSED
}
NFT
    symmetric) cat <<NFT ;;
table ip nat {
    chain out { type nat hook postrouting priority srcnat;
        oifname wan meta l4proto udp masquerade to :20000-60000 fully-random; }
    $CLOSED
}
NFT
    firewall) cat <<NFT ;;
table ip nat {
    chain pass { type filter hook forward priority filter; iifname wan ct state new drop; }
    $CLOSED
}
NFT
    blocked) cat <<NFT ;;
table ip nat {
    chain out { type nat hook postrouting priority srcnat; oifname wan masquerade; }
    chain pass { type filter hook forward priority filter; meta l4proto udp drop; }
}
NFT
    esac
}

# side NAME NUMBER KIND: a host behind a router of a kind, or two.
side() {
    local name="$1" number="$2" kind="$3" public="203.0.113.${2}0"
    space "$name-router"
    space "$name-host"
    cable net "p-$name" "$name-router" wan
    ip -n "$prefix-net" link set "p-$name" master bridge
    at "$name-router" wan "$public/24"
    inside "$name-router" sysctl -qw net.ipv4.ip_forward=1
    local host="192.168.$number.2"
    case "$kind" in
    none | firewall)
        # The host has the public address; the router hands its neighbors' questions on.
        host="203.0.113.${number}5"
        cable "$name-router" lan "$name-host" eth0
        inside "$name-router" sysctl -qw net.ipv4.conf.all.proxy_arp=1
        at "$name-host" eth0 "$host/32"
        ip -n "$prefix-$name-router" route add "$host/32" dev lan
        at "$name-router" lan "169.254.1.1/32"
        ip -n "$prefix-$name-host" route add 169.254.1.1 dev eth0
        ip -n "$prefix-$name-host" route add default via 169.254.1.1
        ;;
    cgn)
        # A home behind the translator of a provider.
        space "$name-home"
        cable "$name-router" lan "$name-home" wan
        at "$name-router" lan "100.64.$number.1/24"
        at "$name-home" wan "100.64.$number.2/24"
        ip -n "$prefix-$name-home" route add default via "100.64.$number.1"
        inside "$name-home" sysctl -qw net.ipv4.ip_forward=1
        cable "$name-home" lan "$name-host" eth0
        at "$name-home" lan "192.168.$number.1/24"
        at "$name-host" eth0 "$host/24"
        ip -n "$prefix-$name-host" route add default via "192.168.$number.1"
        rules port - - | inside "$name-home" nft -f - || give_up "nft does not take the rules"
        ;;
    *)
        cable "$name-router" lan "$name-host" eth0
        at "$name-router" lan "192.168.$number.1/24"
        at "$name-host" eth0 "$host/24"
        ip -n "$prefix-$name-host" route add default via "192.168.$number.1"
        ;;
    esac
    case "$kind" in
    none) ;;
    cgn) rules port "$public" "$host" ;;
    *) rules "$kind" "$public" "$host" ;;
    esac | inside "$name-router" nft -f - || give_up "nft does not take the rules for $kind"
}

# gone NAME: takes a side away.
gone() {
    local it kept=()
    for it in "${namespaces[@]}"; do
        case "$it" in
        "$prefix-$1-"*) ip netns del "$it" ;;
        *) kept+=("$it") ;;
        esac
    done
    namespaces=("${kept[@]}")
}

# forget: the server forgets the hosts that had these addresses before.
forget() {
    ip -n "$prefix-server" neigh flush all
}

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

# expected KIND: mapping, filtering and reachability.
expected() {
    case "$1" in
    none) echo endpoint-independent endpoint-independent open ;;
    cone) echo endpoint-independent endpoint-independent open ;;
    address) echo endpoint-independent address-dependent introduced-to-all ;;
    port | cgn | firewall) echo endpoint-independent address-and-port-dependent introduced ;;
    symmetric) echo address-and-port-dependent address-and-port-dependent symmetric ;;
    esac
}

# member SIDE OUT: a member of the group.
member() {
    ip netns exec "$prefix-$1-host" "$rtmfp" join "$group" --via rtmfp://203.0.113.1/nat --json \
        --for 600s >"$2" 2>"$2.err" &
    started+=($!)
}

[[ -x $rtmfp ]] || give_up "no such program: $rtmfp"
space net
ip -n "$prefix-net" link add bridge type bridge || give_up "there is no bridge"
ip -n "$prefix-net" link set bridge up
space server
cable net p-server server eth0
ip -n "$prefix-net" link set p-server master bridge
at server eth0 203.0.113.1/24 203.0.113.2/24 203.0.113.3/24
RTMFP_CONNECTIVITY_OTHER_ADDRESSES='["203.0.113.2", "203.0.113.3"]' \
    ip netns exec "$prefix-server" "$rtmfp" serve --no-admin --listen 203.0.113.1:1935 --json >"$work/serve" 2>"$work/serve.err" &
started+=($!)
until_true 60 grep -qs listening "$work/serve" || give_up "the server does not listen: $(cat "$work/serve.err")"
group="$("$rtmfp" groupspec new nat --posting --server-channel)" || give_up "no groupspec"

for kind in "${kinds[@]}"; do
    side a 1 "$kind"
    forget
    if [[ $kind == blocked ]]; then
        inside a-host "$rtmfp" probe rtmfp://203.0.113.1 --json --timeout 5s >"$work/probe" 2>"$work/err"
        if [[ $? == 3 ]] && grep -q '"event":"unreachable"' "$work/probe"; then
            printf 'ok    probe behind %-10s unreachable\n' "$kind"
        else
            printf 'FAIL  probe behind %-10s %s\n' "$kind" "$(cat "$work/probe" "$work/err")"
            failed=$((failed + 1))
        fi
    else
        inside a-host "$rtmfp" probe rtmfp://203.0.113.1 --json >"$work/probe" 2>"$work/err"
        found="$(sed -E 's/.*"mapping":"?([^",]*)"?,"filtering":"?([^",]*)"?,"hairpin":([^,]*),"reachability":"([^"]*)".*/\1 \2 \4/' "$work/probe")"
        if [[ $found == "$(expected "$kind")" ]]; then
            printf 'ok    probe behind %-10s %s\n' "$kind" "$found"
        else
            printf 'FAIL  probe behind %-10s %s\n' "$kind" "$(cat "$work/probe" "$work/err")"
            failed=$((failed + 1))
        fi
    fi
    gone a
done

# Which pairs cannot meet: both ends' filters look at ports, and one end has another port for each far end.
impossible() {
    case "$1 $2" in
    *blocked*) return 0 ;;
    'symmetric symmetric') return 0 ;;
    'symmetric port' | 'symmetric cgn' | 'symmetric firewall') return 0 ;;
    'port symmetric' | 'cgn symmetric' | 'firewall symmetric') return 0 ;;
    esac
    return 1
}

printf '\n%-11s' pairs
printf '%-11s' "${kinds[@]}"
printf '\n'
for a in "${kinds[@]}"; do
    printf '%-11s' "$a"
    for b in "${kinds[@]}"; do
        rm -f "$work/a" "$work/b"
        side a 1 "$a"
        side b 2 "$b"
        forget
        member a "$work/a"
        first=$!
        until_true 10 grep -qs connected "$work/a"
        member b "$work/b"
        second=$!
        if impossible "$a" "$b"; then wait_for=12; else wait_for="$MEET"; fi
        if until_true "$wait_for" grep -qs neighbor_connected "$work/a"; then met=yes; else met=no; fi
        if impossible "$a" "$b"; then should=no; else should=yes; fi
        if [[ $met == "$should" ]]; then
            printf '%-11s' "$met"
        else
            printf '%-11s' "$met(FAIL)"
            [[ -z ${KEEP:-} ]] || cp "$work"/[ab] "$work"/[ab].err "$KEEP"
            failed=$((failed + 1))
        fi
        kill -9 "$first" "$second" 2>/dev/null
        wait "$first" "$second" 2>/dev/null
        gone a
        gone b
    done
    printf '\n'
done
exit $((failed > 0))
