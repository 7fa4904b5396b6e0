//! The source and its documents agree with one another.
#![allow(unreachable_pub, reason = "modules of a test")]

mod actionscript;
mod conformance;
mod layering;
mod logs;
mod security;
mod shape;
mod source;
