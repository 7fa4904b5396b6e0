//! Reports without an allocation for each record: read in place, and written record by record. A
//! member of a large group handles many, and most records bring nothing new.

use super::kind;
use super::report::{ADDRESSES, ASK, MAX_ADDRESSES, MAX_REPORT, RECEIVER, UNSETTLED};
use crate::crypto::Fingerprint;
use crate::group::address::EPD_PREFIX;
use crate::wire::option::{encode_option, option_len};
use crate::wire::{Address, OptionList, OptionListRef, Reason, WireError, vlu};
use bytes::Bytes;

/// Bytes of the endpoint discriminator of a member.
const EPD_LEN: usize = EPD_PREFIX.len() + 32;

/// A report, read in place; [`Report`](super::Report) is a copy of it as values.
#[derive(Debug, Clone, Copy)]
pub(in crate::proto::group::membership) struct ReportRef<'a> {
    options: OptionListRef<'a>,
    records: &'a [u8],
}

/// The entry of one member.
#[derive(Debug, Clone, Copy)]
pub(in crate::proto::group::membership) struct RecordRef<'a> {
    epd: &'a [u8],
    age: u64,
    options: OptionListRef<'a>,
}

impl<'a> ReportRef<'a> {
    /// The report, if the message is one.
    pub(in crate::proto::group::membership) fn of(
        message: &'a [u8],
    ) -> Option<Result<Self, WireError>> {
        match message {
            [kind::REPORT, body @ ..] => Some(Self::parse(body).map_err(|e| e.within(1))),
            _ => None,
        }
    }

    /// Reads the body, after the type byte, to its end: a report with an error counts for nothing.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        if body.len() >= MAX_REPORT {
            return Err(WireError::new("report", 0, Reason::TooLarge));
        }
        let (options, records) = OptionListRef::parse(body)?;
        let mut rest = records;
        while !rest.is_empty() {
            let base = body.len() - rest.len();
            (_, rest) = RecordRef::parse(rest).map_err(|e| e.within(base))?;
        }
        Ok(Self { options, records })
    }

    pub(super) fn options(&self) -> OptionList {
        self.options.to_owned()
    }

    /// True if the sender requests a report in answer.
    pub(in crate::proto::group::membership) fn asks(&self) -> bool {
        self.options.find(ASK).is_some()
    }

    /// The receiver's address as the sender sees it.
    pub(in crate::proto::group::membership) fn receiver_address(&self) -> Option<Address> {
        addresses(self.options, RECEIVER).next()
    }

    /// The sender's own addresses, at most [`MAX_ADDRESSES`].
    pub(in crate::proto::group::membership) fn sender_addresses(
        &self,
    ) -> impl Iterator<Item = Address> + 'a {
        addresses(self.options, ADDRESSES)
    }

    /// The members that the sender knows.
    pub(in crate::proto::group::membership) fn records(
        &self,
    ) -> impl Iterator<Item = RecordRef<'a>> + 'a {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            // All of them were read before. At the end there is none.
            let (record, after) = RecordRef::parse(rest).ok()?;
            rest = after;
            Some(record)
        })
    }
}

impl<'a> RecordRef<'a> {
    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let (epd, rest) = vlu::parse_prefixed("record.epd", input)?;
        let base = input.len() - rest.len();
        let (age, rest) = vlu::parse("record.age", rest).map_err(|e| e.within(base))?;
        let base = input.len() - rest.len();
        let (options, rest) = OptionListRef::parse(rest).map_err(|e| e.within(base))?;
        Ok((Self { epd, age, options }, rest))
    }

    pub(super) const fn epd(&self) -> &'a [u8] {
        self.epd
    }

    pub(super) fn options(&self) -> OptionList {
        self.options.to_owned()
    }

    /// The member, if the endpoint discriminator names it by its fingerprint.
    pub(in crate::proto::group::membership) fn peer(&self) -> Option<Fingerprint> {
        self.epd.strip_prefix(&EPD_PREFIX)?.try_into().ok().map(Fingerprint)
    }

    /// Seconds since the latest message from the member.
    pub(in crate::proto::group::membership) const fn age(&self) -> u64 {
        self.age
    }

    /// The member's addresses, at most [`MAX_ADDRESSES`].
    pub(in crate::proto::group::membership) fn addresses(
        &self,
    ) -> impl Iterator<Item = Address> + 'a {
        addresses(self.options, ADDRESSES)
    }
}

/// The addresses of an option before the first malformed one, at most [`MAX_ADDRESSES`].
fn addresses<'a>(options: OptionListRef<'a>, kind: u64) -> impl Iterator<Item = Address> + use<'a> {
    let mut rest = options.find(kind).unwrap_or_default();
    let next = move || {
        let (address, after) = Address::parse(rest).ok()?;
        rest = after;
        Some(address)
    };
    std::iter::from_fn(next).take(MAX_ADDRESSES)
}

/// Writes the message of a report.
#[derive(Debug)]
pub(in crate::proto::group::membership) struct ReportWriter {
    message: Vec<u8>,
}

impl ReportWriter {
    /// A report without records. It asks for one in answer, and says that its sender is unsettled, if
    /// these are true; the other arguments are those of [`Report::new`](super::Report::new).
    pub(in crate::proto::group::membership) fn new(
        [ask, is_unsettled]: [bool; 2],
        receiver: Address,
        sender: impl Iterator<Item = Address> + Clone,
    ) -> Self {
        let mut message = Vec::with_capacity(1024);
        message.push(kind::REPORT);
        for (option, _) in [(ASK, ask), (UNSETTLED, is_unsettled)].iter().filter(|(_, set)| *set) {
            encode_option(*option, &[], &mut message);
        }
        encode_addresses(RECEIVER, std::iter::once(receiver), &mut message);
        encode_addresses(ADDRESSES, sender, &mut message);
        vlu::encode(0, &mut message);
        Self { message }
    }

    /// Appends a record. False if the report would be too long.
    pub(in crate::proto::group::membership) fn push(
        &mut self,
        peer: &Fingerprint,
        age: u64,
        addresses: &[Address],
    ) -> bool {
        let list: usize = addresses.iter().map(Address::encoded_len).sum();
        let options = option_len(ADDRESSES, list) + 1;
        let len = vlu::prefixed_len(EPD_LEN) + vlu::encoded_len(age) + options;
        let has_place = self.message.len() + len < MAX_REPORT;
        if has_place {
            vlu::encode(EPD_LEN as u64, &mut self.message);
            self.message.extend_from_slice(&EPD_PREFIX);
            self.message.extend_from_slice(&peer.0);
            vlu::encode(age, &mut self.message);
            encode_addresses(ADDRESSES, addresses.iter().copied(), &mut self.message);
            vlu::encode(0, &mut self.message);
        }
        has_place
    }

    pub(in crate::proto::group::membership) fn finish(mut self) -> Bytes {
        self.message.shrink_to_fit();
        self.message.into()
    }
}

/// Appends an option of addresses.
fn encode_addresses(
    kind: u64,
    addresses: impl Iterator<Item = Address> + Clone,
    out: &mut Vec<u8>,
) {
    let list: usize = addresses.clone().map(|address| address.encoded_len()).sum();
    vlu::encode((vlu::encoded_len(kind) + list) as u64, out);
    vlu::encode(kind, out);
    addresses.for_each(|address| address.encode(out));
}

#[cfg(test)]
mod tests {
    use super::super::{MembershipMessage, Record, Report};
    use super::*;
    use crate::wire::Origin;
    use proptest::prelude::*;

    fn address(port: u16) -> Address {
        Address::new(([127, 0, 0, 1], port).into(), Origin::Reflexive)
    }

    fn check(body: &[u8]) {
        let (whole, terse) = (Report::parse(body), ReportRef::parse(body));
        let (Ok(whole), Ok(terse)) = (&whole, &terse) else {
            return assert_eq!(whole.err(), terse.err());
        };
        assert_eq!(terse.asks(), whole.asks());
        assert_eq!(terse.receiver_address(), whole.receiver_address());
        assert_eq!(terse.sender_addresses().collect::<Vec<_>>(), whole.sender_addresses());
        assert_eq!(terse.records().count(), whole.records.len());
        for (terse, whole) in terse.records().zip(&whole.records) {
            assert_eq!((terse.peer(), terse.age()), (whole.peer(), whole.age));
            assert_eq!(terse.addresses().collect::<Vec<_>>(), whole.addresses());
        }
    }

    #[test]
    fn the_same_report_both_ways() {
        for (ask, is_unsettled) in [(false, false), (true, false), (false, true), (true, true)] {
            let sender = [address(2), address(3)];
            let mut terse = ReportWriter::new([ask, is_unsettled], address(1), sender.into_iter());
            let mut whole = Report::new(ask, address(1), &sender);
            if is_unsettled {
                whole.set_unsettled();
            }
            for (age, addresses) in [(0, vec![]), (70_000, vec![address(4)])] {
                let peer = Fingerprint([age as u8; 32]);
                assert!(terse.push(&peer, age, &addresses));
                whole.records.push(Record::new(&peer, age, &addresses));
            }
            let message = terse.finish();
            assert_eq!(message, MembershipMessage::Report(whole).to_bytes());
            check(&message[1..]);
            assert!(ReportRef::of(&message).is_some_and(|report| report.is_ok()));
            for len in 0..message.len() - 1 {
                check(&message[1..=len]);
            }
        }
        assert!(ReportRef::of(&[0x0c]).is_none() && ReportRef::of(&[]).is_none());
    }

    #[test]
    fn a_report_has_a_limit() {
        let mut report = ReportWriter::new([true, false], address(1), std::iter::empty());
        let pushed = (0..10_000).take_while(|age| report.push(&Fingerprint([1; 32]), *age, &[]));
        assert!((400..600).contains(&pushed.count()));
        assert!(Report::parse(&report.finish()[1..]).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_alike(body: Vec<u8>) {
            check(&body);
        }

        #[test]
        fn changed_reports_are_read_alike(place in 0_usize..150, byte: u8) {
            let mut report = ReportWriter::new([true, false], address(1), [address(2)].into_iter());
            report.push(&Fingerprint([1; 32]), 300, &[address(3)]);
            report.push(&Fingerprint([2; 32]), 3, &[address(3), address(4)]);
            let mut body = report.finish()[1..].to_vec();
            let place = place % body.len();
            body[place] = byte;
            check(&body);
        }
    }
}
