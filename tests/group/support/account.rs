//! What a player did, by a recording or as a group in its place.

use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{MembershipMessage, PostingMessage, Report};
use rtmfp::proto::group::{FlowKind, MessageId, PostKey};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// What a player does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Sent(FlowKind, Bytes),
    Finished(FlowKind),
    /// It rejected a neighbor's flow.
    Rejected(FlowKind),
}

impl Act {
    /// The keys of the values that this posts: announced, or sent by themselves.
    pub fn posted(&self) -> Vec<PostKey> {
        match self {
            Self::Sent(FlowKind::PostingValues, value) => vec![MessageId::of(value).key()],
            Self::Sent(FlowKind::PostingKeys, message) => {
                match PostingMessage::parse(message.clone()) {
                    Ok(PostingMessage::Announce(list)) => list.keys().collect(),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// What is determined of it: nonces, and what a member knows of the addresses and ages of
    /// others, are left out.
    pub fn determined(&self) -> String {
        let (kind, message) = match self {
            Self::Sent(kind, message) => (kind, message),
            Self::Finished(kind) => return format!("finished {kind:?}"),
            Self::Rejected(kind) => return format!("rejected {kind:?}"),
        };
        match MembershipMessage::parse(message).ok().filter(|_| *kind == FlowKind::Membership) {
            Some(MembershipMessage::Hello(hello)) => format!("hello to {}", hello.receiver),
            Some(MembershipMessage::Report(report)) => {
                let named: BTreeSet<_> = report.records.iter().filter_map(|r| r.peer()).collect();
                let receiver = report.receiver_address().map(|a| a.socket);
                format!("report {:?} unsettled: {} {named:?}", receiver, report.unsettled())
            }
            _ => format!("{kind:?} {message:02x?}"),
        }
    }
}

/// What a player did, to which neighbor, and when in seconds.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub acts: Vec<(f64, usize, Act)>,
    /// NetStatus events with what they are about.
    pub events: Vec<(f64, String)>,
    pub counts: Vec<String>,
    /// The reports at ticks, and to whom: its own addresses, and the members named.
    pub reports: Vec<(usize, BTreeSet<SocketAddr>, BTreeSet<Fingerprint>)>,
    /// What the calls of directed routing returned.
    pub results: Vec<String>,
}

impl Account {
    pub fn note_report(&mut self, to: usize, report: &Report) {
        let named = report.records.iter().filter_map(|record| record.peer());
        let own = report.sender_addresses().into_iter().map(|a| a.socket);
        self.reports.push((to, own.collect(), named.collect()));
    }

    /// The messages of one kind to a neighbor.
    pub fn sent(&self, to: usize, kind: FlowKind) -> Vec<Bytes> {
        let sent = self.acts.iter().filter_map(|(_, whom, act)| match act {
            Act::Sent(of, message) if *of == kind && *whom == to => Some(message.clone()),
            _ => None,
        });
        sent.collect()
    }

    /// What is determined of the membership messages to a neighbor, but for reports at ticks: one list
    /// for each relation, whose messages come in various orders.
    pub fn relations(&self, to: usize) -> Vec<BTreeSet<String>> {
        let mut relations: Vec<BTreeSet<String>> = Vec::new();
        for (_, _, act) in self.acts.iter().filter(|(_, whom, _)| *whom == to) {
            let Act::Sent(FlowKind::Membership, message) = act else { continue };
            if message[0] == 1 {
                relations.push(BTreeSet::new());
            }
            if !message.starts_with(&[0x0a, 0x01, 0x00]) {
                relations.last_mut().expect("a hello comes first").insert(act.determined());
            }
        }
        relations
    }

    /// The flows to a neighbor that were finished, and those of it that were rejected, in some order.
    /// Whether its membership flow is rejected at the end depends on who is faster.
    pub fn ended(&self, to: usize) -> Vec<String> {
        let acts = self.acts.iter().filter(|(_, whom, act)| {
            *whom == to && !matches!(act, Act::Sent(..) | Act::Rejected(FlowKind::Membership))
        });
        let mut ended: Vec<_> = acts.map(|(_, _, act)| act.determined()).collect();
        ended.sort();
        ended
    }

    /// The events of one kind, in their order.
    pub fn events_of(&self, code: &str) -> Vec<&str> {
        let events = self.events.iter().map(|(_, event)| event.as_str());
        events.filter(|event| event.split(' ').next() == Some(code)).collect()
    }

    /// The kinds of events.
    pub fn codes(&self) -> BTreeSet<&str> {
        self.events.iter().filter_map(|(_, event)| event.split(' ').next()).collect()
    }
}
