//! The rendezvous server as a process.
