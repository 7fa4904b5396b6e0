//! What a recorded player has published, put together from the fragments that it sent.

use super::account::{Account, Act};
use super::player::Step;
use bytes::Bytes;
use rtmfp::proto::group::FlowKind;
use rtmfp::proto::group::message::{Fragment, MulticastControl, MulticastData};
use std::collections::BTreeMap;

/// A message of data: type, time, selector, null.
const UNKNOWN: &[u8] = &[0x0f, 0, 0, 0, 0, 0, 5];

/// A member that publishes has the fragments from the first on, and is the first to name them. The messages
/// of its script, each at the time of the first map or fragment that shows it; without the two commands of the end,
/// which are of unpublish().
pub fn messages(account: &Account) -> Vec<(f64, Step)> {
    let mut known: BTreeMap<u64, f64> = BTreeMap::new();
    let mut fragments: BTreeMap<u64, Fragment> = BTreeMap::new();
    for (at, _, act) in &account.acts {
        let Act::Sent(kind, message) = act else { continue };
        if *kind == FlowKind::MulticastData {
            if let Ok(MulticastData::Fragment(fragment)) = MulticastData::parse(message) {
                known.entry(fragment.number()).or_insert(*at);
                fragments.insert(fragment.number(), fragment);
            }
        } else if *kind == FlowKind::MulticastControl {
            let number = match MulticastControl::parse(message) {
                Ok(MulticastControl::Map(map)) => map.newest(),
                // It is sent with the first fragment.
                Ok(MulticastControl::Description(_)) => 1,
                _ => continue,
            };
            known.entry(number).or_insert(*at);
        }
    }
    let mut messages = Vec::new();
    let (mut first, mut whole) = (0, Vec::new());
    let last = fragments.keys().next_back().copied().unwrap_or_default();
    for number in 1..=last {
        // Whatever names a fragment shows those before it too, and the rest of the message.
        let shown = |number| known.range(number..).map(|(_, at)| *at).fold(f64::MAX, f64::min);
        let Some(fragment) = fragments.get(&number) else {
            // Nobody wanted it, so it is not in the log.
            messages.push((shown(number), Step::Published(Bytes::from_static(UNKNOWN))));
            continue;
        };
        if fragment.begins() {
            (first, whole) = (number, Vec::new());
        }
        whole.extend_from_slice(fragment.payload());
        if !fragment.has_more() && whole.first() != Some(&0x11) {
            messages.push((shown(first), Step::Published(Bytes::copy_from_slice(&whole))));
        }
    }
    messages
}
