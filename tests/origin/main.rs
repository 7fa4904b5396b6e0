//! Files of web servers: over sockets, with a web server that counts what it sends.
#![allow(unreachable_pub, reason = "modules of a test")]

mod hostile;
mod hybrid;
mod playlist;
mod providers;
mod scene;
mod verified;
mod web;
