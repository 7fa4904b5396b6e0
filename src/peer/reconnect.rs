//! [`Reconnect`]: the next server to connect to, and the time. Without sockets and clock.

use super::error::{Problem, Unreachable};
use crate::flash::{Host, Uri};
use crate::node::NetConnectionError;
use crate::transport::Time;
use std::net::SocketAddr;
use std::time::Duration;

/// Delay before the first attempt to connect again.
const RECONNECT_FIRST: Duration = Duration::from_secs(2);
/// Longest delay between attempts; each delay is twice the one before.
const RECONNECT_MAX: Duration = Duration::from_secs(60);

/// A server whose name has been resolved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResolvedServer {
    pub(super) uri: Uri,
    pub(super) addresses: Vec<SocketAddr>,
}

impl ResolvedServer {
    /// A server whose name, if it has one, has not been resolved yet.
    pub(super) fn unresolved(uri: &Uri) -> Self {
        let addresses = match uri.server() {
            Some((Host::Ip(ip), port)) => vec![SocketAddr::new(*ip, port)],
            _ => Vec::new(),
        };
        Self { uri: uri.clone(), addresses }
    }

    /// `HOST:PORT`.
    pub(super) fn name(&self) -> String {
        self.uri.server().map(|(host, port)| format!("{host}:{port}")).unwrap_or_default()
    }

    /// The name that the addresses were resolved from, with the port.
    pub(super) fn resolvable(&self) -> Option<(String, u16)> {
        match self.uri.server()? {
            (Host::Name(name), port) => Some((name.clone(), port)),
            (Host::Ip(_), _) => None,
        }
    }
}

/// The reaction to a failed attempt.
#[derive(Debug)]
pub(super) enum Next {
    /// Try another server at once.
    Connect(ResolvedServer),
    /// Wait until the next attempt is due.
    Wait,
    /// Give up: no server could be reached.
    GiveUp(Vec<Unreachable>),
}

/// The servers of a connection, one of which is connected to or tried at a time.
///
/// The first connection tries one server after the other at once, and fails when all have failed.
/// From then on, a lost connection is opened again, at the next server after each failure, with
/// increasing delays. So it is from the beginning if servers are tried patiently.
#[derive(Debug)]
pub(super) struct Reconnect {
    servers: Vec<ResolvedServer>,
    current: usize,
    /// The failures of servers, until the first connection.
    failures: Vec<Unreachable>,
    /// There was a connection, or the first is waited for patiently.
    is_patient: bool,
    /// When the next attempt is due.
    due: Option<Time>,
    backoff: Duration,
}

impl Reconnect {
    /// The servers in the order in which they are tried, and the failures of those that cannot be
    /// tried.
    pub(super) fn new(servers: Vec<ResolvedServer>, failures: Vec<Unreachable>) -> Self {
        Self {
            servers,
            current: 0,
            failures,
            is_patient: false,
            due: None,
            backoff: RECONNECT_FIRST,
        }
    }

    /// The same, but the first attempts are repeated as later ones are: no failure is the last.
    pub(super) fn patiently(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// The server that is connected to or tried.
    pub(super) fn current(&self) -> Option<&ResolvedServer> {
        self.servers.get(self.current)
    }

    /// The connection is up.
    pub(super) fn connected(&mut self) {
        self.is_patient = true;
        self.failures.clear();
        self.due = None;
        self.backoff = RECONNECT_FIRST;
    }

    /// The connection is lost.
    pub(super) fn lost(&mut self, now: Time) {
        self.due = Some(now + self.backoff);
        self.backoff = (self.backoff * 2).min(RECONNECT_MAX);
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self, now: Time, error: &NetConnectionError) -> Next {
        let Some(failed) = self.servers.get(self.current) else {
            return Next::GiveUp(std::mem::take(&mut self.failures));
        };
        let is_last = self.current + 1 >= self.servers.len();
        if self.is_patient {
            self.current = if is_last { 0 } else { self.current + 1 };
            self.lost(now);
            return Next::Wait;
        }
        let (server, addresses) = (failed.name(), failed.addresses.clone());
        let problem = Problem::Connect { addresses, error: error.clone() };
        self.failures.push(Unreachable { server, problem });
        match self.servers.get(self.current + 1) {
            Some(next) => {
                self.current += 1;
                Next::Connect(next.clone())
            }
            None => Next::GiveUp(std::mem::take(&mut self.failures)),
        }
    }

    /// When the next attempt is due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// The server to connect to, if an attempt is due.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Option<ResolvedServer> {
        self.due.take_if(|due| *due <= now)?;
        self.current().cloned()
    }

    /// Sets the addresses of the current server. `None` if the current server is another one
    /// meanwhile.
    pub(super) fn resolved(
        &mut self,
        uri: &Uri,
        addresses: Vec<SocketAddr>,
    ) -> Option<&ResolvedServer> {
        let server = self.servers.get_mut(self.current).filter(|server| server.uri == *uri)?;
        if !addresses.is_empty() {
            server.addresses = addresses;
        }
        Some(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(n: u8) -> ResolvedServer {
        let address = SocketAddr::from(([192, 0, 2, n], 1935));
        let uri = format!("rtmfp://192.0.2.{n}/app").parse().unwrap();
        ResolvedServer { uri, addresses: vec![address] }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    const ERROR: NetConnectionError = NetConnectionError::Closed;

    #[test]
    fn the_first_connection_tries_each_server_once_and_reports_all_failures() {
        let mut reconnect = Reconnect::new(vec![server(1), server(2)], Vec::new());
        assert_eq!(reconnect.current(), Some(&server(1)));
        let Next::Connect(next) = reconnect.failed(at(0), &ERROR) else { panic!("gives up") };
        assert_eq!(next, server(2));
        let Next::GiveUp(failures) = reconnect.failed(at(0), &ERROR) else { panic!("goes on") };
        let names: Vec<_> = failures.iter().map(|failure| failure.server.as_str()).collect();
        assert_eq!(names, ["192.0.2.1:1935", "192.0.2.2:1935"]);
        assert_eq!(reconnect.poll_timeout(), None);
    }

    #[test]
    fn a_lost_connection_is_tried_again_at_longer_and_longer_intervals() {
        let mut reconnect = Reconnect::new(vec![server(1), server(2)], Vec::new());
        reconnect.connected();
        reconnect.lost(at(0));
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..7 {
            let due = reconnect.poll_timeout().unwrap();
            waits.push(due.since(now).as_secs());
            now = due;
            let server = reconnect.handle_timeout(now).unwrap();
            assert_eq!(reconnect.handle_timeout(now), None, "once");
            assert_eq!(Some(&server), reconnect.current());
            assert!(matches!(reconnect.failed(now, &ERROR), Next::Wait));
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(reconnect.current(), Some(&server(2)), "servers take turns");
        reconnect.connected();
        assert_eq!(reconnect.poll_timeout(), None);
        reconnect.lost(now);
        assert_eq!(reconnect.poll_timeout(), Some(now + RECONNECT_FIRST));
    }

    #[test]
    fn new_addresses_are_those_of_the_server_that_is_tried() {
        let mut reconnect = Reconnect::new(vec![server(1)], Vec::new());
        let addresses = vec![SocketAddr::from(([192, 0, 2, 9], 1935))];
        let tried = reconnect.resolved(&server(1).uri, addresses.clone()).unwrap();
        assert_eq!(tried.addresses, addresses);
        let tried = reconnect.resolved(&server(1).uri, Vec::new()).unwrap();
        assert_eq!(tried.addresses, addresses, "the earlier ones stay when the name has none");
        assert_eq!(reconnect.resolved(&server(2).uri, addresses), None);
    }
}
