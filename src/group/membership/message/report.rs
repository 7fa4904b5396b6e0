//! The report: the members of the group that a node announces to a neighbor.

use super::terse::{RecordRef, ReportRef};
use crate::crypto::Fingerprint;
use crate::group::address::EPD_PREFIX;
use crate::wire::{Address, OptionList, RawOption, WireError, vlu};
use bytes::Bytes;

/// The longest report that is parsed or written, in bytes.
pub const MAX_REPORT: usize = 20_000;

/// Addresses taken from one list; further ones are ignored.
pub const MAX_ADDRESSES: usize = 8;

pub(super) const ASK: u64 = 0x00;
pub(super) const ADDRESSES: u64 = 0x0a;
pub(super) const RECEIVER: u64 = 0x0d;
pub(super) const UNSETTLED: u64 = 0x0f;

/// A report: options about sender and receiver, then a record for each member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The options in their order; see the accessors.
    pub options: OptionList,
    /// The members that the sender knows.
    pub records: Vec<Record>,
}

/// The entry of one member in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The member's endpoint discriminator, normally `21 0F <fingerprint>`.
    pub epd: Bytes,
    /// Seconds since the latest message from the member to the sender, or to the node that reported
    /// it.
    pub age: u64,
    /// The member's addresses, in an option of type 0x0A.
    pub options: OptionList,
}

impl Report {
    /// A report as the player writes it. `ask` requests a report in answer; `receiver` is the
    /// receiver's address as the sender sees it; `sender` are the sender's own addresses.
    pub fn new(ask: bool, receiver: Address, sender: &[Address]) -> Self {
        let mut options = Vec::with_capacity(3);
        if ask {
            options.push(RawOption { kind: ASK, value: Bytes::new() });
        }
        options.push(address_option(RECEIVER, &[receiver]));
        options.push(address_option(ADDRESSES, sender));
        Self { options: OptionList(options), records: Vec::new() }
    }

    /// True if the sender requests a report in answer.
    pub fn asks(&self) -> bool {
        self.options.find(ASK).is_some()
    }

    /// True if the report has the option that players write while their neighbors are few of those that
    /// they want, or many more.
    pub fn unsettled(&self) -> bool {
        self.options.find(UNSETTLED).is_some()
    }

    /// Adds that option, where the player has it.
    pub fn set_unsettled(&mut self) {
        let place = usize::from(self.asks());
        self.options.0.insert(place, RawOption { kind: UNSETTLED, value: Bytes::new() });
    }

    /// The receiver's address as the sender sees it.
    pub fn receiver_address(&self) -> Option<Address> {
        addresses(self.options.find(RECEIVER)?).first().copied()
    }

    /// The sender's own addresses, at most [`MAX_ADDRESSES`].
    pub fn sender_addresses(&self) -> Vec<Address> {
        self.options.find(ADDRESSES).map(addresses).unwrap_or_default()
    }

    /// Parses the body, after the type byte.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let report = ReportRef::parse(body)?;
        Ok(Self { options: report.options(), records: report.records().map(Record::of).collect() })
    }

    /// Appends the body, without the type byte.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.options.encode(out);
        self.records.iter().for_each(|record| record.encode(out));
    }

    /// The number of bytes that [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        self.options.encoded_len() + self.records.iter().map(Record::encoded_len).sum::<usize>()
    }
}

impl Record {
    /// A record about `peer`.
    pub fn new(peer: &Fingerprint, age: u64, addresses: &[Address]) -> Self {
        let epd = [&EPD_PREFIX[..], &peer.0].concat().into();
        Self { epd, age, options: OptionList(vec![address_option(ADDRESSES, addresses)]) }
    }

    /// The member, if the endpoint discriminator names it by its fingerprint.
    pub fn peer(&self) -> Option<Fingerprint> {
        self.epd.strip_prefix(&EPD_PREFIX)?.try_into().ok().map(Fingerprint)
    }

    /// The member's addresses, at most [`MAX_ADDRESSES`].
    pub fn addresses(&self) -> Vec<Address> {
        self.options.find(ADDRESSES).map(addresses).unwrap_or_default()
    }

    fn of(record: RecordRef<'_>) -> Self {
        let epd = Bytes::copy_from_slice(record.epd());
        Self { epd, age: record.age(), options: record.options() }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode_prefixed(&self.epd, out);
        vlu::encode(self.age, out);
        self.options.encode(out);
    }

    /// The number of bytes that the record takes in a report.
    pub fn encoded_len(&self) -> usize {
        vlu::prefixed_len(self.epd.len()) + vlu::encoded_len(self.age) + self.options.encoded_len()
    }
}

fn address_option(kind: u64, addresses: &[Address]) -> RawOption {
    let mut value = Vec::with_capacity(19 * addresses.len());
    addresses.iter().for_each(|address| address.encode(&mut value));
    RawOption { kind, value: value.into() }
}

/// The addresses before the first malformed one.
fn addresses(mut value: &[u8]) -> Vec<Address> {
    let mut addresses = Vec::new();
    while let Ok((address, rest)) = Address::parse(value) {
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
        addresses.push(address);
        value = rest;
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Origin;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    const PEER: &str = "ded6607c7662a88fa291a023d9a7b4bd55ccea6767b0498dce0efac138051fd5";

    #[test]
    fn first_report_of_a_player() {
        let bytes = hex(&format!(
            "080d027f0000014e22 080a037f0000014e20 00 22210f{PEER} 00 080a007f0000014e20 00"
        ));
        let report = Report::parse(&bytes).unwrap();
        assert!(!report.asks() && !report.unsettled());
        let address = |port: u16, origin| Address::new(([127, 0, 0, 1], port).into(), origin);
        assert_eq!(report.receiver_address(), Some(address(20002, Origin::Reflexive)));
        assert_eq!(report.sender_addresses(), [address(20000, Origin::Relay)]);
        assert_eq!(report.records[0].peer(), Some(PEER.parse().unwrap()));
        assert_eq!(report.records[0].addresses(), [address(20000, Origin::Unknown)]);

        let mut ours =
            Report::new(false, address(20002, Origin::Reflexive), &[address(20000, Origin::Relay)]);
        let peer = PEER.parse().unwrap();
        ours.records.push(Record::new(&peer, 0, &[address(20000, Origin::Unknown)]));
        assert_eq!(ours, report);
        let mut out = Vec::new();
        ours.encode(&mut out);
        assert_eq!(out, bytes);
        assert_eq!(out.len(), ours.encoded_len());
    }

    #[test]
    fn options_and_empty_addresses() {
        let bytes = hex(&format!("0100 010f 080d027f0000014e22 010a 00 22210f{PEER} 8310 010a 00"));
        let report = Report::parse(&bytes).unwrap();
        assert!(report.asks() && report.unsettled());
        assert!(report.sender_addresses().is_empty());
        assert_eq!(report.records[0].age, 400);
        assert!(report.records[0].addresses().is_empty());
    }

    #[test]
    fn hostile_reports() {
        assert!(Report::parse(&[]).is_err());
        assert!(Report::parse(&[0; MAX_REPORT]).is_err(), "too long");
        assert!(Report::parse(&[0, 0x22, 0x21]).is_err());
        let no_peer = Report::parse(&[0, 1, 9, 0, 0]).unwrap();
        assert_eq!(no_peer.records[0].peer(), None);
        let many = [[0x83, 0x3b, 0x0a].as_slice(), &[0; 570]].concat();
        let many = Report::parse(&[&many[..], &[0]].concat());
        assert!(many.is_err() || many.unwrap().sender_addresses().len() <= MAX_ADDRESSES);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(report) = Report::parse(&bytes) {
                let mut out = Vec::new();
                report.encode(&mut out);
                prop_assert_eq!(out.len(), report.encoded_len());
                let _ = (report.sender_addresses(), report.receiver_address());
            }
        }
    }
}
