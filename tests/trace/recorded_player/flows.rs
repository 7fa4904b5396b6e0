//! The player's flows in both directions.

use super::capture::{Fragment, Options};
use rtmfp::proto::transport::Time;
use rtmfp::wire::chunk::{FragmentControl, RangeAck, UserData, UserDataFlags};
use rtmfp::wire::option::{encode_option, encode_vlu_option};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What the player announces: 16,383 blocks.
const WINDOW: u64 = 0x3fff;
/// How long the player waits before it acknowledges a single packet.
const ACK_DELAY: Duration = Duration::from_millis(200);

/// A flow of the player's.
#[derive(Debug, Default)]
pub struct OutFlow {
    pub metadata: Vec<u8>,
    association: Option<u64>,
    /// The numbers of recorded fragments in this run: some are left out, others are added.
    numbers: HashMap<u64, u64>,
    pub last: u64,
    pub acked: u64,
    pub rejected: bool,
    pub finished: bool,
}

impl OutFlow {
    pub fn new(options: &Options, association: Option<u64>) -> Self {
        Self { metadata: options.metadata.clone(), association, ..Self::default() }
    }

    /// The option list that opens the flow.
    pub fn options(&self) -> Vec<u8> {
        let mut list = Vec::new();
        encode_option(0x00, &self.metadata, &mut list);
        if let Some(association) = self.association {
            encode_vlu_option(0x0a, association, &mut list);
        }
        list.push(0);
        list
    }

    /// The number of a recorded fragment, and true if it is sent for the first time.
    pub fn number(&mut self, recorded: u64) -> (u64, bool) {
        if let Some(known) = self.numbers.get(&recorded) {
            return (*known, false);
        }
        self.last += 1;
        self.numbers.insert(recorded, self.last);
        (self.last, true)
    }

    /// A number for something that was not recorded.
    pub fn extra(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A fragment as the player writes it: the forward sequence number is what was acknowledged.
    pub fn user_data<'a>(
        &self,
        flow: u64,
        sequence: u64,
        flags: UserDataFlags,
        options: Option<&'a [u8]>,
        data: &'a [u8],
    ) -> UserData<'a> {
        let given_up = flags.abandon && flags.last;
        let forward = if given_up { sequence } else { self.acked.min(sequence - 1) };
        UserData { flags, flow, sequence, fsn_offset: sequence - forward, options, data }
    }
}

/// A flow of the far end's.
#[derive(Debug)]
pub struct InFlow {
    pub options: Options,
    fragments: BTreeMap<u64, (UserDataFlags, Vec<u8>)>,
    partial: Vec<u8>,
    cumulative: u64,
    last: Option<u64>,
    /// When the player rejected it.
    pub rejected: Option<Time>,
    pub finished: Option<Time>,
    unacknowledged: u32,
    ack_due: Option<Time>,
    pub messages: u64,
}

impl InFlow {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            fragments: BTreeMap::new(),
            partial: Vec::new(),
            cumulative: 0,
            last: None,
            rejected: None,
            finished: None,
            unacknowledged: 0,
            ack_due: None,
            messages: 0,
        }
    }

    /// Takes a fragment and returns the messages that are complete now.
    pub fn take(&mut self, now: Time, data: &UserData<'_>) -> Vec<Vec<u8>> {
        let in_order = data.sequence == self.cumulative + 1;
        if data.sequence > self.cumulative {
            self.fragments.entry(data.sequence).or_insert((data.flags, data.data.to_vec()));
        }
        if data.flags.last {
            self.last = Some(data.sequence);
        }
        let mut complete = Vec::new();
        let forward = data.forward_sequence();
        loop {
            let next = self.cumulative + 1;
            match self.fragments.remove(&next) {
                Some((flags, bytes)) => {
                    self.cumulative = next;
                    self.assemble(flags, bytes, &mut complete);
                }
                None if next <= forward => {
                    self.cumulative = next;
                    self.partial.clear();
                }
                None => break,
            }
        }
        if self.last == Some(self.cumulative) {
            self.finished.get_or_insert(now);
        }
        self.unacknowledged += 1;
        let urgent = self.unacknowledged >= 2 || !in_order || self.rejected.is_some();
        let due = if urgent { now } else { now + ACK_DELAY };
        self.ack_due = Some(self.ack_due.map_or(due, |at| at.min(due)));
        complete
    }

    fn assemble(&mut self, flags: UserDataFlags, bytes: Vec<u8>, complete: &mut Vec<Vec<u8>>) {
        if flags.abandon {
            self.partial.clear();
            return;
        }
        match flags.fragment {
            FragmentControl::Whole => complete.push(bytes),
            FragmentControl::Begin => self.partial = bytes,
            FragmentControl::Middle => self.partial.extend(bytes),
            FragmentControl::End => {
                self.partial.extend(bytes);
                complete.push(std::mem::take(&mut self.partial));
            }
        }
    }

    pub fn ack_due(&self) -> Option<Time> {
        self.ack_due
    }

    /// The acknowledgement that is due, in ranges as the player writes it.
    pub fn acknowledge(&mut self, now: Time, flow: u64) -> Option<RangeAck<'static>> {
        self.ack_due.filter(|due| *due <= now)?;
        (self.ack_due, self.unacknowledged) = (None, 0);
        let buffer_blocks = if self.rejected.is_some() { 0 } else { WINDOW };
        Some(RangeAck { flow, buffer_blocks, cumulative: self.cumulative, runs: &[] })
    }
}

/// The text of what a recorded fragment begins: nothing for later fragments.
pub fn begins(fragment: &Fragment) -> Option<&[u8]> {
    let first = matches!(fragment.flags.fragment, FragmentControl::Whole | FragmentControl::Begin);
    (first && !fragment.flags.abandon).then_some(&fragment.data)
}
