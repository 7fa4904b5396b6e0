//! The page with the server's state.

use anyhow::Context;
use rtmfp::web::admin::{Admin, DEFAULT_PORT};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the page is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AdminArgs {
    /// TCP address of the status page and metrics: PORT (on this host), ADDR or ADDR:PORT; everybody
    /// who can reach it can read them [default: 127.0.0.1:8936, or none if that is taken]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin: Option<SocketAddr>,

    /// Serve no status page and no metrics
    #[arg(long, conflicts_with = "admin")]
    no_admin: bool,
}

/// The page, or why there is none.
pub(super) enum Page {
    Open(Admin),
    None,
    /// The usual address is taken.
    Taken(SocketAddr),
}

impl AdminArgs {
    /// Serves the page. An address that was asked for must be free; the usual one may be taken.
    pub(super) async fn open(&self) -> anyhow::Result<Page> {
        if self.no_admin {
            return Ok(Page::None);
        }
        let address = self.admin.unwrap_or_else(Admin::default_address);
        match Admin::open(address).await {
            Ok(page) => Ok(Page::Open(page)),
            Err(error) if self.admin.is_none() && error.kind() == ErrorKind::AddrInUse => {
                Ok(Page::Taken(address))
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot serve the status page at {address} (--admin chooses another address, \
                     --no-admin none)"
                )
            }),
        }
    }
}

impl Page {
    pub(super) fn admin(&self) -> Option<&Admin> {
        match self {
            Self::Open(admin) => Some(admin),
            Self::None | Self::Taken(_) => None,
        }
    }

    /// Where it is, in a line or two.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Open(admin) => {
                let (url, address) = (admin.url(), admin.address());
                let warning = match address.ip().is_loopback() {
                    true => String::new(),
                    false => {
                        format!("WARNING: who can reach TCP {address} can see who is connected\n")
                    }
                };
                format!("  {:<12} {url}\n{warning}", "status page")
            }
            Self::None => String::new(),
            Self::Taken(address) => {
                let none = format!("none: {address} is taken (--admin PORT chooses another)");
                format!("  {:<12} {none}\n", "status page")
            }
        }
    }

    /// Notes for people where standard output is for programs.
    pub(super) fn warn(&self) {
        match self {
            Self::Taken(address) => {
                tracing::warn!(%address, "no status page: the address is taken");
            }
            Self::Open(admin) if !admin.address().ip().is_loopback() => {
                let address = admin.address();
                tracing::warn!(%address, "the status page can be read by all who can reach it");
            }
            _ => {}
        }
    }

    pub(super) async fn close(self) {
        if let Self::Open(admin) = self {
            admin.close().await;
        }
    }
}

/// Reads `8936`, `192.0.2.7`, `192.0.2.7:8936`, `localhost:8936`, `[::1]:8936`.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((ip, DEFAULT_PORT).into());
    }
    let numeric = text.replacen("localhost", "127.0.0.1", 1);
    numeric.parse().map_err(|_| {
        format!(
            "{text:?} is no address for the status page: write a port of this host (8936) or an \
             address (192.0.2.7:8936, [::1]:8936)"
        )
    })
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
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected, "{text}");
        }
        for wrong in ["", "99999", "example.org", "1.2.3.4:x", "[::1"] {
            assert!(address(wrong).unwrap_err().contains("no address"), "{wrong}");
        }
    }
}
