//! The rendezvous server's logic, without sockets.
