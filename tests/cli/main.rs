//! The built `rtmfp` command as a process.
#![allow(unreachable_pub, reason = "modules of a test")]

#[cfg(unix)]
mod admin;
#[cfg(unix)]
mod admin_api;
#[cfg(unix)]
mod admin_browser;
mod bench;
mod cluster;
mod decode_captures;
mod decode_input;
mod decode_output;
mod demo;
mod errors;
mod fetch_check;
mod fetch_output;
mod flash_file;
mod groupspec;
mod join;
mod json;
mod keylog;
mod limits;
mod links;
mod load;
mod origin;
#[cfg(unix)]
mod origin_dies;
mod probe;
mod serve;
mod serve_member;
mod serve_settings;
mod serve_workers;
#[cfg(unix)]
mod server_limits;
mod share_again;
mod share_fetch;
mod share_folder;
mod share_lan;
mod share_large;
mod share_library;
mod share_signed;
mod stream;
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod token;
mod waiting;
#[cfg(unix)]
mod watch;
#[cfg(unix)]
mod watch_browser;
mod web_server;
#[cfg(unix)]
mod webdriver;
mod wireshark;
