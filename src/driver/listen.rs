//! Addresses to listen on, as people write them.

use super::ascii_host;
use crate::text::{HostPort, decimal};
use crate::wire::Shown;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use thiserror::Error;

/// The addresses that one text stands for: a name or a port alone may be several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen(Vec<SocketAddr>);

/// A text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ListenError(String);

impl Listen {
    /// Reads `1935`, `:1935`, `192.0.2.7`, `192.0.2.7:1935`, `localhost:1935`, `[2001:db8::7]:1935` or
    /// `[fe80::1%eth0]:1935`. A name is looked up, which may block.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if it has another form, or if the name has no address here.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, ListenError> {
        let (host, port) = split(text).filter(|(host, _)| is_whole(host)).ok_or_else(|| {
            ListenError(format!(
                "{:?} is no address to listen on: write a port (1935), an address \
                 (192.0.2.7:1935, [2001:db8::7]:1935, [fe80::1%eth0]:1935) or a name of this host \
                 (localhost:1935)",
                Shown::new(text)
            ))
        })?;
        let port = port.unwrap_or(default_port);
        match host {
            "" | "*" => {
                let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
                Ok(Self(any.map(|ip| SocketAddr::new(ip, port)).to_vec()))
            }
            host => resolve(host, port).map_err(ListenError),
        }
    }

    /// The addresses of several texts, each once.
    pub fn merged(all: impl IntoIterator<Item = Self>) -> Vec<SocketAddr> {
        let mut merged = Vec::new();
        for address in all.into_iter().flat_map(|listen| listen.0) {
            if !merged.contains(&address) {
                merged.push(address);
            }
        }
        merged
    }
}

/// Host and port; an empty host for a port alone.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(port) = decimal(text) {
        return Some(("", Some(port)));
    }
    match HostPort::parse(text).filter(|_| !text.is_empty())? {
        HostPort { host, port: None, .. } => Some((host, None)),
        HostPort { host, port: Some(port), .. } => Some((host, Some(decimal(port)?))),
    }
}

/// True if a numeric host is a whole IPv4 address: resolvers take `1.2` for 1.0.0.2.
fn is_whole(host: &str) -> bool {
    let is_numeric = !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    !is_numeric || host.parse::<Ipv4Addr>().is_ok()
}

fn resolve(host: &str, port: u16) -> Result<Listen, String> {
    let ascii = ascii_host(host).map_err(|error| format!("{host}: {error}"))?;
    let found = (&*ascii, port).to_socket_addrs();
    let found = found.map_err(|error| {
        let zone = if host.contains('%') { "; is the interface's name right?" } else { "" };
        format!("{host} is no address of this host: {error}{zone}")
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(Listen(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        Listen::parse(text, 1935).unwrap().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_form_that_people_write() {
        for port in ["1935", ":1935", "*:1935"] {
            assert_eq!(read(port), ["0.0.0.0:1935", "[::]:1935"], "{port}");
        }
        assert_eq!(read("0"), ["0.0.0.0:0", "[::]:0"]);
        assert_eq!(read("192.0.2.7"), ["192.0.2.7:1935"]);
        assert_eq!(read("192.0.2.7:80"), ["192.0.2.7:80"]);
        for v6 in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:1935"] {
            assert_eq!(read(v6), ["[2001:db8::7]:1935"], "{v6}");
        }
        assert_eq!(read("[fe80::1%1]:80"), ["[fe80::1%1]:80"]);
        assert_eq!(read("fe80::1%1"), ["[fe80::1%1]:1935"]);
        let localhost = read("localhost:1936");
        assert!(localhost.contains(&"127.0.0.1:1936".to_owned()), "{localhost:?}");
        let member = Listen::parse("192.0.2.7", 0).unwrap();
        assert_eq!(member.0, ["192.0.2.7:0".parse().unwrap()]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn zones_have_the_names_of_interfaces() {
        assert_eq!(read("[fe80::1%lo]:1935"), ["[fe80::1%1]:1935"]);
        let error = Listen::parse("[fe80::1%nonesuch]:1935", 1935).unwrap_err().to_string();
        assert!(error.contains("the interface's name"), "{error}");
    }

    #[test]
    fn mistakes_are_explained() {
        for wrong in [
            "",
            "99999",
            "192.0.2.7:x",
            "192.0.2.7:99999",
            "[::1]80",
            "[::1",
            "host:",
            "10.1",
            "10.0.0.1.1:5",
        ] {
            let error = Listen::parse(wrong, 1935).unwrap_err().to_string();
            assert!(error.contains("no address to listen on"), "{wrong}: {error}");
        }
    }

    #[test]
    fn options_add_up() {
        let options = ["1935", "0.0.0.0:1935"].map(|text| Listen::parse(text, 1935).unwrap());
        assert_eq!(Listen::merged(options).len(), 2);
    }
}
