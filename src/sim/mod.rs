//! A virtual network for deterministic tests.
