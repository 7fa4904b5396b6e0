//! Async API of a group member.
