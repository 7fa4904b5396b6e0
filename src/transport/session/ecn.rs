//! Congestion marks (RFC 3168) and their report (chunk 0xec).
//!
//! The chunk is not in RFC 7016. rtmfp-cpp sends it before acknowledgements: one byte, the low
//! eight bits of the number of packets received with the mark. An end that does not know it skips
//! it, as the observed player does.

use crate::transport::Ecn;

/// A report that is behind the last one by this much or less was overtaken by it.
const MAX_OVERTAKEN: u8 = 32;

/// Marks in both directions of a session.
#[derive(Debug)]
pub(super) struct EcnState {
    /// Packets with user data may be marked.
    sends: bool,
    /// The far end has reported.
    reported: bool,
    /// The far end's last report.
    far_count: u8,
    /// A reaction holds until this transmission is acknowledged.
    recover: u64,
    /// Packets that were received with the mark.
    received: u8,
    /// Packets came that may be marked, and no report has left since.
    due: bool,
}

impl EcnState {
    pub(super) const fn new(sends: bool) -> Self {
        Self { sends, reported: false, far_count: 0, recover: 0, received: 0, due: false }
    }

    /// The mark of a packet with user data.
    pub(super) const fn outgoing(&self) -> Ecn {
        if self.sends { Ecn::Capable } else { Ecn::NotCapable }
    }

    /// A packet was received.
    pub(super) const fn on_packet(&mut self, ecn: Ecn) {
        match ecn {
            Ecn::NotCapable => return,
            Ecn::Capable => {}
            Ecn::Congested => self.received = self.received.wrapping_add(1),
        }
        self.due = true;
    }

    /// The count to report before the next acknowledgement, if any is due.
    pub(super) const fn report(&self) -> Option<u8> {
        if self.due { Some(self.received) } else { None }
    }

    /// The report has left.
    pub(super) const fn on_report_sent(&mut self) {
        self.due = false;
    }

    /// The far end reports. True if it has received marks since its last report.
    pub(super) const fn on_report(&mut self, count: u8) -> bool {
        self.reported = true;
        let more = count.wrapping_sub(self.far_count);
        let is_newer = more != 0 && more < u8::MAX - MAX_OVERTAKEN + 1;
        if is_newer {
            self.far_count = count;
        }
        is_newer
    }

    /// A packet with acknowledgements was processed. A far end that has not reported by now does
    /// not report.
    pub(super) const fn on_acknowledgement(&mut self) {
        self.sends &= self.reported;
    }

    /// Nothing was acknowledged. The path may not pass what is marked as capable.
    pub(super) const fn on_timeout(&mut self) {
        self.sends &= self.reported;
    }

    /// True if congestion that was reported now should be answered: not more than once for what
    /// was in flight at a time. `acknowledged` and `next` are transmission sequence numbers.
    pub(super) const fn should_react(&mut self, acknowledged: u64, next: u64) -> bool {
        let reacts = acknowledged >= self.recover;
        if reacts {
            self.recover = next;
        }
        reacts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_count_unless_they_were_overtaken() {
        let mut ecn = EcnState::new(true);
        assert!(!ecn.on_report(0));
        assert!(ecn.on_report(3));
        assert!(!ecn.on_report(3) && !ecn.on_report(2));
        assert!(ecn.on_report(220));
        assert!(ecn.on_report(10), "it wraps");
        assert!(!ecn.on_report(240));
    }

    #[test]
    fn a_far_end_that_acknowledges_without_reporting_gets_no_more() {
        let mut ecn = EcnState::new(true);
        assert_eq!(ecn.outgoing(), Ecn::Capable);
        ecn.on_acknowledgement();
        assert_eq!(ecn.outgoing(), Ecn::NotCapable);
        let mut ecn = EcnState::new(true);
        ecn.on_report(0);
        ecn.on_acknowledgement();
        ecn.on_timeout();
        assert_eq!(ecn.outgoing(), Ecn::Capable);
    }

    #[test]
    fn nothing_is_reported_until_something_capable_came() {
        let mut ecn = EcnState::new(true);
        ecn.on_packet(Ecn::NotCapable);
        assert_eq!(ecn.report(), None);
        ecn.on_packet(Ecn::Capable);
        assert_eq!(ecn.report(), Some(0));
        ecn.on_report_sent();
        assert_eq!(ecn.report(), None);
        ecn.on_packet(Ecn::Congested);
        assert_eq!(ecn.report(), Some(1));
    }

    #[test]
    fn one_reaction_for_what_was_in_flight() {
        let mut ecn = EcnState::new(true);
        assert!(ecn.should_react(5, 20));
        assert!(!ecn.should_react(19, 40));
        assert!(ecn.should_react(20, 41));
    }
}
