//! The reasons why nothing arrives, in words: members asked, members met, and the step that failed.

use super::format;
use rtmfp::Fingerprint;
use rtmfp::peer::Search;
use rtmfp::proto::transport::OpenSessionError;

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
            lines.push(format!("             {}", self.provider_state(peer, *was_met)));
        }
        for (peer, so_far) in
            self.search.trying.iter().filter(|(p, _)| !self.is_provider(p)).take(NAMED)
        {
            lines.push(format!("  trying     {peer}"));
            lines.push(format!("             {so_far} so far"));
        }
        let others = self.search.unreached.iter().rev().filter(|(peer, _)| !self.is_provider(peer));
        for (peer, error) in others.clone().take(NAMED) {
            lines.push(format!("  unreached  {peer}"));
            lines.push(format!("             {error}"));
        }
        match others.count().saturating_sub(NAMED) {
            0 => {}
            more => lines
                .push(format!("  and {} more not reached", format::count(more as u64, "member"))),
        }
        lines
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
        match find(&self.search.unreached, peer) {
            _ if was_met => "was met".into(),
            Some(error) => format!("not reached: {error}"),
            None => match find(&self.search.trying, peer) {
                Some(so_far) => format!("being tried: {so_far}"),
                None => "not met: it has left, or never joined by way of this server".into(),
            },
        }
    }

    fn is_provider(&self, peer: &Fingerprint) -> bool {
        self.provider.as_ref().is_some_and(|(provider, _)| provider == peer)
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
        let asked = |n| format!("no answer from 192.0.2.{n}:5000, 192.0.2.99:1935 within 30 s");
        assert!(text.contains(&format!("not reached: {}", asked(1))), "{text}");
        assert!(text.contains(&format!("             {}", asked(6))), "{text}");
        assert!(!text.contains(&asked(2)) && text.contains("2 members more not reached"), "{text}");
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
