//! The page with the server's state.

use anyhow::Context;
use rtmfp::server::{AdminListen, AdminSettings};
use rtmfp::web::admin::Admin;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// Where the page is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AdminArgs {
    /// TCP address of the status page and metrics: PORT (on this host), ADDR or ADDR:PORT; everybody
    /// who can reach it can read them [default: 127.0.0.1:8936, or none if that is taken]
    #[arg(long, value_name = "ADDR")]
    admin: Option<AdminListen>,

    /// Serve no status page and no metrics
    #[arg(long, conflicts_with_all = ["admin", "admin_host"])]
    no_admin: bool,

    /// Name of this host by which the status page is reached, beside its addresses and localhost; may be
    /// given several times
    #[arg(long, value_name = "NAME", value_parser = AdminSettings::host)]
    admin_host: Vec<String>,
}

/// The page, or why there is none.
pub(super) enum Page {
    Open(Admin),
    None,
    /// The usual address is taken.
    Taken(SocketAddr),
}

impl AdminArgs {
    /// Options overrule what the settings say.
    pub(super) fn apply(&self, settings: &mut AdminSettings) {
        if self.no_admin {
            settings.listen = AdminListen::Off;
        } else if let Some(listen) = self.admin {
            settings.listen = listen;
        }
        if !self.admin_host.is_empty() {
            settings.hosts = self.admin_host.iter().cloned().collect();
        }
    }
}

impl Page {
    /// Serves the page. An address that was asked for must be free; the usual one may be taken.
    pub(super) async fn open(settings: &AdminSettings) -> anyhow::Result<Self> {
        let (address, is_chosen) = match settings.listen {
            AdminListen::Off => return Ok(Self::None),
            AdminListen::Auto => (Admin::default_address(), false),
            AdminListen::At(address) => (address, true),
        };
        match Admin::open_for(address, settings.hosts.iter().cloned()).await {
            Ok(page) => Ok(Self::Open(page)),
            Err(error) if !is_chosen && error.kind() == ErrorKind::AddrInUse => {
                Ok(Self::Taken(address))
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot serve the status page at {address} (--admin chooses another address, \
                     --no-admin none)"
                )
            }),
        }
    }

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
