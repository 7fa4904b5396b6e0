//! Sessions and flows (RFC 7016 §3), without sockets.
