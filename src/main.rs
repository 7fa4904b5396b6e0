//! The `rtmfp` command.

fn main() {}
