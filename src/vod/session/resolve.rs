//! [`resolve`].

use crate::vod::ServerAddress;
use std::io;
use std::net::SocketAddr;

/// All addresses of a server. Asks the operating system's resolver if it is a name.
///
/// # Errors
///
/// What the resolver says, or [`io::ErrorKind::NotFound`] if there is no address.
pub async fn resolve(server: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for address in tokio::net::lookup_host((server.host(), server.port())).await? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(addresses),
    }
}
