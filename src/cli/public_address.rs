//! `--public-address`: the address that a router forwards to this host.

use super::screen;
use rtmfp::driver::{Announced, MAX_HOST_ADDRESSES};
use rtmfp::proto::text::HostPort;
use rtmfp::vod::ServerAddress;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A name or an address, and a port if it is another than here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicAddress {
    host: String,
    port: Option<u16>,
}

impl FromStr for PublicAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not HOST or HOST:PORT, as in example.org:1935");
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self { host: text.to_owned(), port: None });
        }
        let server: ServerAddress = text.parse().map_err(|_| error())?;
        let port = HostPort::parse(text).and_then(|parts| parts.port).map(|_| server.port());
        Ok(Self { host: server.host().to_owned(), port })
    }
}

impl PublicAddress {
    /// The address of a server that listens on `port` here.
    pub(crate) fn of_server(&self, port: u16) -> anyhow::Result<ServerAddress> {
        Ok(ServerAddress::new(&self.host, self.port.unwrap_or(port))?)
    }

    /// The addresses for other members, as IPs; the port is that of the socket unless it was given. A
    /// name that has no address here may have one elsewhere: that is a warning.
    pub(crate) async fn announced(&self) -> Vec<Announced> {
        let mut ips: Vec<IpAddr> = match tokio::net::lookup_host((self.host.as_str(), 0)).await {
            Ok(resolved) => resolved.map(|address| address.ip()).collect(),
            Err(error) => {
                let host = &self.host;
                screen::line(&format!("WARNING: --public-address {host} has no address: {error}"));
                Vec::new()
            }
        };
        ips.dedup();
        ips.truncate(MAX_HOST_ADDRESSES);
        ips.into_iter().map(|ip| Announced { ip, port: self.port }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        for (text, host, port) in [
            ("example.org", "example.org", None),
            ("example.org:1936", "example.org", Some(1936)),
            ("203.0.113.9", "203.0.113.9", None),
            ("203.0.113.9:1935", "203.0.113.9", Some(1935)),
            ("[2001:db8::9]:7", "2001:db8::9", Some(7)),
            ("[2001:db8::9]", "2001:db8::9", None),
            ("2001:db8::9", "2001:db8::9", None),
        ] {
            let parsed = PublicAddress { host: host.into(), port };
            assert_eq!(text.parse(), Ok(parsed), "{text}");
        }
        for text in ["", ":", ":1935", "a b", "example.org:0", "example.org:99999", "[::1]x", "a/b"]
        {
            assert!(text.parse::<PublicAddress>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn members_learn_the_port_of_the_socket_unless_another_is_given() {
        let announced = |text: &str| text.parse::<PublicAddress>().unwrap();
        let ip = "203.0.113.9".parse().unwrap();
        assert_eq!(announced("203.0.113.9").announced().await, [Announced { ip, port: None }]);
        assert_eq!(announced("203.0.113.9:7").announced().await, [Announced { ip, port: Some(7) }]);
        assert_eq!(announced("a.example").of_server(1935).unwrap().to_string(), "a.example:1935");
        assert_eq!(announced("a.example:7").of_server(1935).unwrap().to_string(), "a.example:7");
    }
}
