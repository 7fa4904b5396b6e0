//! One endpoint with its NetConnection and groups, without sockets.
