//! [`resolve`].

use crate::driver;
use crate::vod::ServerAddress;
use std::io;
use std::net::SocketAddr;

/// The addresses of a server. Asks the operating system's resolver if it is a name.
///
/// # Errors
///
/// Those of [`driver::resolve`].
pub async fn resolve(server: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    driver::resolve(server.host(), server.port()).await
}
