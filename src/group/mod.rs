//! NetGroup without sockets.
