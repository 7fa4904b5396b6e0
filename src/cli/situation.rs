//! The reasons why nothing arrives, in words: members asked, members met, and the step that failed.

use super::format;
use rtmfp::Fingerprint;
use rtmfp::peer::Search;
use rtmfp::proto::transport::OpenSessionError;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Unreachable members that are named; of others only the number is given.
const NAMED: usize = 3;

/// The state of the search for members.
pub(crate) struct Situation {
    pub(crate) search: Search,
    /// The member that the link names, and whether it has been met.
    pub(crate) provider: Option<(Fingerprint, bool)>,
}

impl Situation {
    /// Lines of at most 80 columns where the addresses allow it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Search { known, met, neighbors, ref on_lan, .. } = self.search;
        let mut lines = Vec::new();
        if !self.is_serverless() {
            lines.push(format!("  server     {}", self.server()));
        }
        for address in on_lan {
            lines.push(format!("  network    members are looked for at {address}"));
        }
        lines.push(format!(
            "  members    {known} known, {met} met so far, {neighbors} connected now"
        ));
        if let Some((peer, was_met)) = &self.provider {
            lines.push(format!("  provider   {peer}"));
            let state = self.provider_state(peer, *was_met);
            lines.extend(state.lines().map(|line| format!("             {line}")));
        }
        let mut candidates = self.candidates();
        candidates.retain(|candidate| !self.is_provider(candidate.peer));
        for candidate in candidates.iter().take(NAMED) {
            let state = if candidate.has_failed { "unreached" } else { "trying" };
            lines.push(format!("  {state:<10} {}", candidate.peer));
            lines.extend(candidate.reason().lines().map(|line| format!("             {line}")));
        }
        match candidates.len().saturating_sub(NAMED) {
            0 => {}
            more => lines
                .push(format!("  and {} more not reached", format::count(more as u64, "member"))),
        }
        lines
    }

    /// Members that are tried or could not be reached, each once: the latest failures first.
    fn candidates(&self) -> Vec<Candidate<'_>> {
        let Search { server, trying, unreached, .. } = &self.search;
        let is_tried = |peer: &Fingerprint| find(trying, peer).is_some();
        let failed = unreached.iter().rev().map(|(peer, outcome)| Candidate {
            peer,
            outcome,
            server: *server,
            has_failed: true,
            is_tried: is_tried(peer),
        });
        let tried = trying.iter().filter(|(peer, _)| find(unreached, peer).is_none());
        let tried = tried.map(|(peer, outcome)| Candidate {
            peer,
            outcome,
            server: *server,
            has_failed: false,
            is_tried: true,
        });
        failed.chain(tried).collect()
    }

    /// True if no server was ever tried.
    fn is_serverless(&self) -> bool {
        let Search { server, connected, connect_failure, on_lan, .. } = &self.search;
        !connected && server.is_none() && connect_failure.is_none() && !on_lan.is_empty()
    }

    fn server(&self) -> String {
        let Search { server, connected, connect_failure, is_unserved, known, .. } = &self.search;
        let address =
            server.map_or_else(|| "none has answered".into(), |server| server.to_string());
        match (connected, connect_failure) {
            (true, _) if *is_unserved => {
                format!("{address}, connected; it keeps no groups, so it names no members")
            }
            (true, _) if *known == 0 => {
                format!("{address}, connected; it has named nobody else in the group")
            }
            (true, _) => format!("{address}, connected"),
            (false, Some(failure)) => {
                format!("{address}, not connected: {}", format::printable(&failure.to_string()))
            }
            (false, None) => format!("{address}, not connected"),
        }
    }

    fn provider_state(&self, peer: &Fingerprint, was_met: bool) -> String {
        let candidates = self.candidates();
        match candidates.iter().find(|candidate| candidate.peer == peer) {
            _ if was_met => "was met".into(),
            Some(it) if it.has_failed => format!("not reached: {}", it.reason()),
            Some(it) => format!("being tried: {}", it.reason()),
            None if self.is_serverless() => {
                "not met: it has left, or is not on this network".into()
            }
            None => "not met: it has left, or never joined by way of this server".into(),
        }
    }

    fn is_provider(&self, peer: &Fingerprint) -> bool {
        self.provider.as_ref().is_some_and(|(provider, _)| provider == peer)
    }
}

/// A member that is tried or could not be reached.
struct Candidate<'a> {
    peer: &'a Fingerprint,
    outcome: &'a OpenSessionError,
    server: Option<SocketAddr>,
    has_failed: bool,
    is_tried: bool,
}

impl Candidate<'_> {
    /// What was tried and where it stopped, in one or two lines.
    fn reason(&self) -> String {
        let again = match (self.has_failed, self.is_tried) {
            (false, _) => " so far",
            (true, true) => "; trying again",
            (true, false) => "",
        };
        let OpenSessionError::NoAnswer { addresses, after } = self.outcome else {
            return format!("{}{again}", self.outcome);
        };
        let asked = |address: &&SocketAddr| Some(**address) == self.server;
        let own: Vec<_> =
            addresses.iter().filter(|it| !asked(it)).map(ToString::to_string).collect();
        let within = format!("within {}{again}", seconds(*after));
        match (own.is_empty(), addresses.iter().find(asked)) {
            (true, Some(server)) => format!(
                "{server} was asked for it, and named no address {within}\n\
                 (it is not connected to this server)"
            ),
            (true, None) => format!("no address to ask became known {within}"),
            (false, server) => {
                let introduced = if server.is_some() { "introduced by the server; " } else { "" };
                // A server that is reached can tell more of them.
                let probe = server.map(|it| format!(":\nrtmfp probe rtmfp://{it} at both ends"));
                format!(
                    "{introduced}no answer from {} {within}\n\
                     (it is gone, or a NAT or firewall lets nothing through{})",
                    own.join(", "),
                    probe.unwrap_or_default()
                )
            }
        }
    }
}

/// `0.1 s`, `20 s`.
fn seconds(time: Duration) -> String {
    match time {
        time if time < Duration::from_secs(10) => format!("{:.1} s", time.as_secs_f64()),
        time => format!("{:.0} s", time.as_secs_f64()),
    }
}

/// The state of the search as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    server: Option<SocketAddr>,
    connected: bool,
    serves_groups: bool,
    on_lan: Vec<SocketAddr>,
    members_known: usize,
    members_met: usize,
    neighbors: usize,
    trying: Vec<Reason>,
    unreached: Vec<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    peer_id: String,
    reason: String,
}

impl Report {
    pub(crate) fn of(situation: &Situation) -> Self {
        let search = &situation.search;
        let (failed, trying): (Vec<_>, Vec<_>) =
            situation.candidates().into_iter().partition(|candidate| candidate.has_failed);
        let reasons = |candidates: Vec<Candidate<'_>>| {
            let reason = |candidate: Candidate<'_>| Reason {
                peer_id: candidate.peer.to_string(),
                reason: candidate.reason().replace('\n', " "),
            };
            candidates.into_iter().map(reason).collect()
        };
        Self {
            server: search.server,
            connected: search.connected,
            serves_groups: !search.is_unserved,
            on_lan: search.on_lan.clone(),
            members_known: search.known,
            members_met: search.met,
            neighbors: search.neighbors,
            trying: reasons(trying),
            unreached: reasons(failed),
        }
    }
}

fn find<'a>(
    list: &'a [(Fingerprint, OpenSessionError)],
    peer: &Fingerprint,
) -> Option<&'a OpenSessionError> {
    list.iter().find(|(listed, _)| listed == peer).map(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::proto::node::NetConnectionError;
    use std::time::Duration;

    fn peer(n: u8) -> Fingerprint {
        Fingerprint([n; 32])
    }

    fn unreached(n: u8) -> (Fingerprint, OpenSessionError) {
        let addresses = vec![([192, 0, 2, n], 5000).into(), ([192, 0, 2, 99], 1935).into()];
        (peer(n), OpenSessionError::NoAnswer { addresses, after: Duration::from_secs(30) })
    }

    fn search() -> Search {
        let mut search = Search::default();
        search.server = Some(([192, 0, 2, 99], 1935).into());
        search.connected = true;
        search
    }

    #[test]
    fn an_empty_group() {
        let situation = Situation { search: search(), provider: Some((peer(7), false)) };
        assert_eq!(
            situation.lines().join("\n"),
            "  server     192.0.2.99:1935, connected; it has named nobody else in the group\n  \
               members    0 known, 0 met so far, 0 connected now\n  \
               provider   0707070707070707070707070707070707070707070707070707070707070707\n             \
                          not met: it has left, or never joined by way of this server"
        );
        assert!(situation.lines().iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn without_a_server_the_network_is_named() {
        let mut search = Search::default();
        search.on_lan = vec![([239, 255, 19, 35], 30_303).into()];
        let lines = Situation { search, provider: None }.lines();
        assert_eq!(
            lines,
            [
                "  network    members are looked for at 239.255.19.35:30303",
                "  members    0 known, 0 met so far, 0 connected now",
            ]
        );
    }

    #[test]
    fn members_that_do_not_answer_are_named_with_their_addresses() {
        let mut search = search();
        (search.known, search.met) = (6, 1);
        search.unreached = (1..=6).map(unreached).collect();
        let text = Situation { search, provider: Some((peer(1), false)) }.lines().join("\n");
        let asked =
            |n| format!("introduced by the server; no answer from 192.0.2.{n}:5000 within 30 s\n");
        assert!(text.contains(&format!("not reached: {}", asked(1))), "{text}");
        assert!(text.contains(&format!("             {}", asked(6))), "{text}");
        assert!(!text.contains(&asked(2)) && text.contains("2 members more not reached"), "{text}");
    }

    /// What is printed of a member that is tried, or could not be reached, with this outcome.
    fn reason(failed: bool, tried: bool, addresses: &[&str], server: Option<&str>) -> String {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let outcome =
            (peer(3), OpenSessionError::NoAnswer { addresses, after: Duration::from_secs(5) });
        let mut search = Search::default();
        search.server = server.map(|text| text.parse().unwrap());
        search.unreached.extend(failed.then(|| outcome.clone()));
        search.trying.extend(tried.then_some(outcome));
        let lines = Situation { search, provider: None }.lines();
        let at = lines.iter().position(|line| line.ends_with(&peer(3).to_string())).unwrap();
        lines[at..].join("\n")
    }

    #[test]
    fn each_candidate_has_what_was_tried_and_where_it_stopped() {
        let (server, member) = ("192.0.2.99:1935", "192.0.2.3:5000");
        let unknown = reason(true, false, &[server], Some(server));
        assert_eq!(
            unknown,
            format!(
                "  unreached  {}\n             {server} was asked for it, and named no address within \
                 5.0 s\n             (it is not connected to this server)",
                peer(3)
            )
        );
        let blocked = reason(true, true, &[server, member], Some(server));
        assert!(blocked.contains(&format!("no answer from {member} within 5.0 s; trying again\n")));
        assert!(
            blocked.contains("introduced by the server; ") && blocked.contains("a NAT or firewall")
        );
        assert!(blocked.contains(&format!("rtmfp probe rtmfp://{server} at both ends")));
        assert_eq!(blocked.matches("0303").count(), 16, "once: {blocked}");
        let on_lan = reason(false, true, &[member], None);
        assert!(
            on_lan.contains(&format!("             no answer from {member} within 5.0 s so far\n"))
        );
        let nameless = reason(false, true, &[], None);
        assert!(nameless.contains("no address to ask became known within 5.0 s so far"));
    }

    #[test]
    fn the_step_that_failed_is_the_servers() {
        let with = |change: fn(&mut Search)| {
            let mut search = search();
            change(&mut search);
            Situation { search, provider: None }.lines()[0].clone()
        };
        assert!(with(|search| search.is_unserved = true).contains("keeps no groups"));
        let down = with(|search| {
            search.connected = false;
            search.connect_failure = Some(NetConnectionError::Closed);
        });
        assert_eq!(
            down,
            "  server     192.0.2.99:1935, not connected: the server closed the session"
        );
    }
}
