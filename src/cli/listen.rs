//! The forms of `--listen`.

pub(crate) use rtmfp::driver::Listen;
use rtmfp::driver::ListenError;
use rtmfp::proto::flash::uri::DEFAULT_PORT;
use std::net::SocketAddr;

/// Reads the address of a server. Without a port it is RTMFP's.
pub(crate) fn server_address(text: &str) -> Result<Listen, ListenError> {
    Listen::parse(text, DEFAULT_PORT)
}

/// Reads the address of a member. Without a port it is any that is free.
pub(crate) fn member_address(text: &str) -> Result<Listen, ListenError> {
    Listen::parse(text, 0)
}

/// All addresses of some options, each once.
pub(crate) fn addresses(options: Vec<Listen>) -> Vec<SocketAddr> {
    Listen::merged(options)
}
