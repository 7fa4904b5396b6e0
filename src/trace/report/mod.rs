//! Summaries of a capture: sessions, flows, groups, counts, as tables for people and as JSON.

mod flows;
mod groups;
mod sessions;
mod stats;

pub use flows::{flows, flows_json};
pub use groups::{groups, groups_json};
pub use sessions::{sessions, sessions_json};
pub use stats::{stats, stats_json};

use super::flows::FlowKey;
use std::collections::HashSet;

/// Sessions and flows that are remembered; with more everything is reported.
const MAX_CHOSEN: usize = 1 << 20;

/// The sessions and flows to report: those with a packet that a filter chose.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    sessions: HashSet<u64>,
    flows: HashSet<FlowKey>,
    is_everything: bool,
}

impl Chosen {
    /// All of them.
    pub fn everything() -> Self {
        Self { is_everything: true, ..Self::default() }
    }

    /// Adds session and flows of a packet.
    pub fn add(&mut self, packet: &super::PacketView<'_>) {
        if self.is_everything {
            return;
        }
        if let Some((session, side)) = packet.session {
            self.sessions.insert(session);
            for flow in super::filter::data_flows(packet) {
                self.flows.insert(FlowKey { session, side, flow });
            }
        }
        self.flows.extend(packet.messages.iter().map(|message| message.key));
        self.is_everything = self.sessions.len().max(self.flows.len()) > MAX_CHOSEN;
    }

    fn has_session(&self, session: u64) -> bool {
        self.is_everything || self.sessions.contains(&session)
    }

    fn has_flow(&self, key: &FlowKey) -> bool {
        self.is_everything || self.flows.contains(key)
    }
}
