#!/bin/sh
# Builds the Debian package in target/debian/. It wants cargo-deb: cargo install cargo-deb
#   packaging/deb.sh             the package
#   packaging/deb.sh --debug     without optimization, which is sooner done
set -eu
cd "$(dirname "$0")/.."
case "${1-}" in
--debug) profile=dev output=debug ;;
*) profile=release output=release ;;
esac
target=${CARGO_TARGET_DIR:-target}
cargo build --locked --profile "$profile" --bin rtmfp
rm -rf "$target/packaging"
"$target/$output/rtmfp" generate "$target/packaging"
# Without the line tables of the release profile, which are nine tenths of the binary.
cargo deb --locked --no-build --strip --profile "$profile"
