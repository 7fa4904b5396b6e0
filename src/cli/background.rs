//! Servers that are connected to in the background, while members are found on the local network.

use super::format;
use super::screen;
use rtmfp::peer::Search;
use rtmfp::vod::FileEvent;

/// Reports, once each, that no server is reached and that one is.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// The servers, comma-separated; empty if there are none, or if they are needed.
    servers: String,
    has_failed: bool,
    has_connected: bool,
}

impl Background {
    /// `servers` are connected to in the background if `lan`.
    pub(crate) fn new(lan: bool, servers: &str) -> Self {
        let servers = if lan { servers.to_owned() } else { String::new() };
        Self { servers, ..Self::default() }
    }

    /// Reports the state at the beginning.
    pub(crate) fn begin(&mut self, search: &Search) {
        match (&search.connect_failure, search.server.filter(|_| search.connected)) {
            (_, Some(server)) => self.connected(server),
            (Some(error), None) => self.failed(error),
            (None, None) => {}
        }
    }

    pub(crate) fn note(&mut self, event: &FileEvent) {
        match event {
            FileEvent::Connected { server, .. } => self.connected(server),
            FileEvent::ConnectFailed(error) => self.failed(error),
            _ => {}
        }
    }

    /// The servers if none has answered.
    pub(crate) fn silent(&self) -> Option<&str> {
        (!self.servers.is_empty() && !self.has_connected).then_some(&self.servers)
    }

    fn connected(&mut self, server: impl std::fmt::Display) {
        if self.silent().is_some() {
            screen::line(&format!("connected to {server}"));
            self.has_connected = true;
        }
    }

    fn failed(&mut self, error: impl std::fmt::Display) {
        if self.silent().is_some() && !self.has_failed {
            screen::line(&format!(
                "cannot connect to {}: {}; going on without it on the local network, and trying again",
                self.servers,
                format::printable(&error.to_string())
            ));
            self.has_failed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::proto::node::NetConnectionError;

    #[test]
    fn only_servers_in_the_background_are_silent() {
        let failed = FileEvent::ConnectFailed(NetConnectionError::Closed);
        let connected =
            FileEvent::Connected { server: ([192, 0, 2, 7], 1935).into(), again: false };
        for (lan, servers, is_silent) in [(true, "h", true), (true, "", false), (false, "h", false)]
        {
            let mut background = Background::new(lan, servers);
            background.note(&failed);
            assert_eq!(background.silent(), is_silent.then_some(servers));
            background.note(&connected);
            assert_eq!(background.silent(), None);
        }
    }
}
