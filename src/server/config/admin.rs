//! Where the page with a server's state is, and by which names.

use super::ADMIN_PORT;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// The longest name of a host (RFC 1123 §2.1).
const MAX_HOST: usize = 253;

/// The page with a server's state, for whoever serves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminSettings {
    /// Where it is.
    pub listen: AdminListen,
    /// Names by which it is reached, beside addresses and `localhost`.
    pub hosts: BTreeSet<String>,
}

impl AdminSettings {
    /// The name by which a host is known here, if it is one: in lower case, without a dot at its end.
    ///
    /// # Errors
    ///
    /// [`AdminHostError`]
    pub fn host(text: &str) -> Result<String, AdminHostError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label =
            |label: &str| (1..=63).contains(&label.len()) && label.chars().all(is_letter);
        match name.len() <= MAX_HOST && name.split('.').all(is_label) {
            true => Ok(name),
            false => Err(AdminHostError),
        }
    }
}

/// The text is no name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a name without port and path, such as status.example.org")]
pub struct AdminHostError;

/// Where the page is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdminListen {
    /// The usual address; without a page if that is taken.
    #[default]
    Auto,
    /// This TCP address, which has to be free.
    At(SocketAddr),
    /// There is none.
    Off,
}

/// The text is no address for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a port of this host (8936), an address (192.0.2.7:8936, [::1]:8936), auto or off")]
pub struct AdminListenError;

impl FromStr for AdminListen {
    type Err = AdminListenError;

    /// Reads `auto`, `off`, `8936`, `192.0.2.7`, `192.0.2.7:8936`, `localhost:8936`, `[::1]:8936`.
    fn from_str(text: &str) -> Result<Self, AdminListenError> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            return Ok(Self::At((Ipv4Addr::LOCALHOST, port).into()));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::At((ip, ADMIN_PORT).into()));
        }
        let numeric = text.replacen("localhost", "127.0.0.1", 1);
        numeric.parse().map(Self::At).map_err(|_| AdminListenError)
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::At(address) => address.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_people_write() {
        for (text, expected) in [
            ("80", "127.0.0.1:80"),
            (":80", "127.0.0.1:80"),
            ("0.0.0.0", "0.0.0.0:8936"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("::1", "[::1]:8936"),
            ("[::1]", "[::1]:8936"),
            ("[::1]:80", "[::1]:80"),
            ("auto", "auto"),
            ("off", "off"),
        ] {
            let listen: AdminListen = text.parse().unwrap();
            assert_eq!(listen.to_string(), expected, "{text}");
            assert_eq!(expected.parse(), Ok(listen), "what is written is read");
        }
        for wrong in ["", "99999", "example.org", "1.2.3.4:x", "[::1", "OFF"] {
            assert_eq!(wrong.parse::<AdminListen>(), Err(AdminListenError), "{wrong}");
        }
    }

    #[test]
    fn names_of_hosts() {
        assert_eq!(AdminSettings::host("Status.Example.ORG.").unwrap(), "status.example.org");
        assert_eq!(AdminSettings::host("box").unwrap(), "box");
        let long = format!("{}.org", "x".repeat(64));
        for wrong in ["", ".", "a..b", "*", "*.example", "a:80", "http://a", "a/b", "a b", &long] {
            assert_eq!(AdminSettings::host(wrong), Err(AdminHostError), "{wrong}");
        }
        assert!(AdminSettings::host(&"a.".repeat(127)).is_ok());
        assert!(AdminSettings::host(&"a.".repeat(128)).is_err());
    }
}
