#!/bin/sh
# Draws the curves in protocol-notes/swarm.md anew, from simulated runs: about a minute.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --locked --example bench
draw() {
    name=$1
    shift
    "${CARGO_TARGET_DIR:-target}"/release/examples/bench swarm --runs 1 --seed 1 \
        --svg "protocol-notes/curves/swarm-$name.svg" "$@"
}
draw 10 --n 10
draw 20 --n 20
draw 10-arrivals --n 10 --arrivals 10
draw 10-hetero --n 10 --hetero
