//! One stream on its way from one member of the cluster to others.
//!
//! Both ends count bytes, so that the sender knows how much waits on the way, and the receiver what it
//! has missed. With too much on the way messages are left out, and video up to the next key frame:
//! a receiver that lags costs its own players frames, and nobody else anything.

use super::super::cluster::{MemberId, PublicationId};
use crate::flash::{Body, ConfigurationPart};
use crate::transport::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// The sender learns of what has arrived so many times in a window.
const RECEIPTS: u64 = 8;
/// The far end is gone if nothing came of it for this long.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// Where a stream goes that is published here.
#[derive(Debug, Default)]
pub(super) struct Outlets {
    /// Its name among members of the cluster.
    pub(super) id: Option<PublicationId>,
    to: BTreeMap<MemberId, Outlet>,
}

/// A member that gets a stream.
#[derive(Debug)]
struct Outlet {
    /// Bytes that were ever sent, and those that have arrived.
    sent: u64,
    received: u64,
    /// Bytes that were sent before it last wanted the stream.
    sent_before: u64,
    /// When it last wanted the stream, and for how many players.
    renewed: Time,
    players: usize,
    lacks_key_frame: bool,
}

impl Outlets {
    /// Clients of other members that play the stream.
    pub(super) fn players(&self) -> usize {
        self.to.values().map(|outlet| outlet.players).sum()
    }

    /// A member gets the stream from now on, first `len` bytes that it lacks. Returns the number of
    /// bytes before them.
    pub(super) fn begin(
        &mut self,
        now: Time,
        to: MemberId,
        players: usize,
        (len, lacks_key_frame): (u64, bool),
    ) -> u64 {
        let before = self.to.get(&to).map_or(0, |outlet| outlet.sent);
        let outlet = Outlet {
            sent: before + len,
            received: before,
            sent_before: before,
            renewed: now,
            players,
            lacks_key_frame,
        };
        self.to.insert(to, outlet);
        before
    }

    /// A member that has received so much wants more of the stream. False if it was forgotten.
    pub(super) fn renew(&mut self, now: Time, to: MemberId, received: u64, players: usize) -> bool {
        let Some(outlet) = self.to.get_mut(&to) else { return false };
        // What has not arrived since the last time never will.
        outlet.note_received(received.max(outlet.sent_before));
        outlet.sent_before = outlet.sent;
        (outlet.renewed, outlet.players) = (now, players);
        true
    }

    pub(super) fn note_received(&mut self, from: MemberId, bytes: u64) {
        if let Some(outlet) = self.to.get_mut(&from) {
            outlet.note_received(bytes);
        }
    }

    pub(super) fn remove(&mut self, member: MemberId) {
        self.to.remove(&member);
    }

    /// Forgets members that have not wanted the stream for long.
    pub(super) fn expire(&mut self, now: Time) {
        self.to.retain(|_, outlet| outlet.renewed + GONE_AFTER > now);
    }

    /// A message is published. Returns the members that get it, each with the number of bytes that
    /// were sent to it before, and the number of those that do not, with more than `window` on the way.
    pub(super) fn send(
        &mut self,
        body: &Body,
        len: u64,
        window: u64,
    ) -> (Vec<(MemberId, u64)>, u64) {
        let mut to = Vec::new();
        for (&member, outlet) in &mut self.to {
            let before = outlet.sent;
            if outlet.takes(body, len, window) {
                to.push((member, before));
            }
        }
        let left_out = self.to.len() - to.len();
        (to, left_out as u64)
    }
}

impl Outlet {
    fn note_received(&mut self, bytes: u64) {
        self.received = self.received.max(bytes.min(self.sent));
    }

    fn takes(&mut self, body: &Body, len: u64, window: u64) -> bool {
        let is_frame = matches!(body, Body::Video(_)) && ConfigurationPart::of(body).is_none();
        if self.sent - self.received + len > window {
            self.lacks_key_frame = true;
            return false;
        }
        if is_frame {
            self.lacks_key_frame &= !body.is_key_frame();
            if self.lacks_key_frame {
                return false;
            }
        }
        self.sent += len;
        true
    }
}

/// A stream that comes from another member.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) id: PublicationId,
    /// Bytes that have arrived, or were missed, and those of which the sender knows.
    received: u64,
    reported: u64,
    /// When something was last received from the member.
    heard: Time,
}

/// What a part of a stream is to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Taken {
    /// It follows what was there before.
    Next,
    /// Something is missing before it.
    AfterGap,
    /// It comes too late.
    Late,
    /// The stream was begun anew.
    Again,
}

impl Intake {
    pub(super) fn new(now: Time, id: PublicationId, received: u64) -> Self {
        Self { id, received, reported: received, heard: now }
    }

    /// `len` bytes have arrived, before which `offset` were sent.
    pub(super) fn take(&mut self, now: Time, offset: u64, len: u64) -> Taken {
        self.heard = now;
        if offset < self.received {
            return Taken::Late;
        }
        let is_next = offset == self.received;
        self.received = offset.saturating_add(len);
        if is_next { Taken::Next } else { Taken::AfterGap }
    }

    pub(super) fn hear(&mut self, now: Time) {
        self.heard = now;
    }

    pub(super) fn is_gone(&self, now: Time) -> bool {
        self.heard + GONE_AFTER <= now
    }

    /// The bytes that have arrived, if the sender is to know, which sends no more than `window`.
    pub(super) fn receipt(&mut self, window: u64) -> Option<u64> {
        let is_due = self.received - self.reported >= window / RECEIPTS;
        is_due.then(|| self.report())
    }

    /// The bytes that have arrived, which the sender knows from now on.
    pub(super) fn report(&mut self) -> u64 {
        self.reported = self.received;
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const WINDOW: u64 = 1000;
    const NOW: Time = Time::ZERO;

    fn frame(is_key: bool) -> Body {
        Body::Video(Bytes::from_static(if is_key { b"\x17\x01" } else { b"\x27\x01" }))
    }

    fn sends(outlets: &mut Outlets, body: &Body, len: u64) -> bool {
        let (to, left_out) = outlets.send(body, len, WINDOW);
        assert_eq!(to.len() as u64 + left_out, 1);
        left_out == 0
    }

    fn member() -> MemberId {
        MemberId::worker(1)
    }

    #[test]
    fn video_goes_on_at_a_key_frame_when_there_is_space() {
        let mut outlets = Outlets::default();
        let audio = Body::Audio(Bytes::from_static(b"\xaf\x01a"));
        let header = Body::Video(Bytes::from_static(b"\x17\0"));
        outlets.begin(NOW, member(), 1, (0, true));
        assert!(!sends(&mut outlets, &frame(false), 10), "nobody could show it");
        assert!(sends(&mut outlets, &header, 10) && sends(&mut outlets, &frame(true), 700));
        assert!(sends(&mut outlets, &frame(false), 200));
        assert!(!sends(&mut outlets, &frame(false), 100), "too much is on the way");
        assert!(sends(&mut outlets, &audio, 20), "this fits");
        assert!(!sends(&mut outlets, &frame(false), 10), "without the one before");
        assert!(!sends(&mut outlets, &frame(true), 500));
        outlets.note_received(member(), 910);
        assert!(!sends(&mut outlets, &frame(false), 10) && sends(&mut outlets, &frame(true), 500));
        assert!(sends(&mut outlets, &frame(false), 10));
        outlets.note_received(member(), u64::MAX);
        assert!(sends(&mut outlets, &frame(false), WINDOW), "no more can arrive than was sent");
    }

    /// What is lost would fill the window for ever.
    #[test]
    fn what_has_not_arrived_after_two_renewals_is_lost() {
        let mut outlets = Outlets::default();
        outlets.begin(NOW, member(), 1, (0, true));
        assert!(sends(&mut outlets, &frame(true), WINDOW));
        assert!(outlets.renew(NOW, member(), 0, 2) && !sends(&mut outlets, &frame(true), 10));
        assert!(outlets.renew(NOW, member(), 0, 2) && sends(&mut outlets, &frame(true), 10));
        assert_eq!(outlets.players(), 2);
        outlets.expire(NOW + GONE_AFTER);
        assert!(!outlets.renew(NOW, member(), 0, 2));
    }

    #[test]
    fn a_receiver_knows_what_it_has_missed() {
        let id = PublicationId { member: member(), number: 0 };
        let mut intake = Intake::new(NOW, id, 100);
        assert_eq!(intake.take(NOW, 100, 50), Taken::Next);
        assert_eq!(intake.take(NOW, 100, 50), Taken::Late);
        assert_eq!(intake.take(NOW, 160, 50), Taken::AfterGap);
        assert_eq!((intake.take(NOW, 210, 7), intake.receipt(WINDOW)), (Taken::Next, None));
        assert_eq!(intake.take(NOW, 217, 100), Taken::Next);
        assert_eq!((intake.receipt(WINDOW), intake.receipt(WINDOW)), (Some(317), None));
        assert!(!intake.is_gone(NOW) && intake.is_gone(NOW + GONE_AFTER));
    }
}
