//! The receiving flows of a session, with what they cost and when they have something to do, so
//! that neither has to be asked of every flow for every packet.

use super::{Context, Session};
use crate::transport::recv_flow::{Delivery, Outcome, RecvFlow};
use crate::transport::{Event, FlowId, SendError, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Memory of a flow's place among the others: the nodes of the map may be half empty.
const PLACE: u64 = (size_of::<RecvFlow>() + 2 * size_of::<u64>()) as u64;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct ReceivingFlows {
    flows: BTreeMap<u64, RecvFlow>,
    memory: u64,
    /// When a flow has something to do.
    timers: BTreeSet<(Time, u64)>,
    /// Complete flows, by when they can be dropped.
    complete: BTreeSet<(Time, u64)>,
}

/// Values of a flow that the session keeps sums and indexes of.
#[derive(PartialEq)]
struct Indexed {
    memory: u64,
    timer: Option<Time>,
    complete: Option<Time>,
}

impl Indexed {
    fn of(flow: &RecvFlow) -> Self {
        Self {
            memory: flow.memory() + PLACE,
            timer: flow.next_timeout(),
            complete: flow.linger_until(),
        }
    }
}

impl ReceivingFlows {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.flows.contains_key(&id)
    }

    /// Bytes of memory of all of them.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    pub(super) fn insert(&mut self, flow: RecvFlow) {
        let id = flow.id.0;
        self.remove(id);
        self.note(id, None, Some(&Indexed::of(&flow)));
        self.flows.insert(id, flow);
    }

    /// Lets a flow do something. `None` if there is no such flow.
    pub(super) fn change<R>(
        &mut self,
        id: u64,
        change: impl FnOnce(&mut RecvFlow) -> R,
    ) -> Option<R> {
        let flow = self.flows.get_mut(&id)?;
        let before = Indexed::of(flow);
        let result = change(flow);
        let after = Indexed::of(flow);
        if before != after {
            self.note(id, Some(&before), Some(&after));
        }
        Some(result)
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(flow) = self.flows.remove(&id) {
            self.note(id, Some(&Indexed::of(&flow)), None);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When some flow has something to do.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// The next flow that has something to do by `now`; its timer is over unless the flow is
    /// changed.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<u64> {
        let &(at, id) = self.timers.first().filter(|&&(at, _)| at <= now)?;
        self.timers.remove(&(at, id));
        Some(id)
    }

    /// The complete flow that can be dropped soonest.
    pub(super) fn oldest_complete(&self) -> Option<u64> {
        self.complete.first().map(|&(_, id)| id)
    }

    /// The flow that costs most.
    pub(super) fn heaviest(&self) -> Option<u64> {
        self.flows.iter().max_by_key(|(_, flow)| flow.memory()).map(|(&id, _)| id)
    }

    fn note(&mut self, id: u64, before: Option<&Indexed>, after: Option<&Indexed>) {
        let memory = |indexed: Option<&Indexed>| indexed.map_or(0, |indexed| indexed.memory);
        self.memory = self.memory + memory(after) - memory(before);
        let timer = |indexed: Option<&Indexed>| Some((indexed?.timer?, id));
        let complete = |indexed: Option<&Indexed>| Some((indexed?.complete?, id));
        replace(&mut self.timers, timer(before), timer(after));
        replace(&mut self.complete, complete(before), complete(after));
    }
}

impl Session {
    /// Rejects a receiving flow.
    pub(crate) fn reject_flow(&mut self, flow: FlowId, exception: u64) -> Result<(), SendError> {
        self.must_be_open()?;
        if self.receiving.change(flow.0, |f| f.reject(exception)) != Some(true) {
            return Err(SendError::NoFlow);
        }
        self.queue_ack(flow.0);
        self.acks.send_now();
        Ok(())
    }

    /// Holds the messages of a receiving flow back, or lets them go on.
    pub(crate) fn pause_flow(
        &mut self,
        cx: &mut Context<'_>,
        flow: FlowId,
        paused: bool,
    ) -> Result<(), SendError> {
        let (session, now, events) = (self.id, cx.now, &mut *cx.events);
        let mut sink = |delivery: Delivery| events.push_back(delivery.into_event(session, flow));
        let outcome = self.receiving.change(flow.0, |f| f.pause(now, paused, &mut sink));
        let outcome = outcome.ok_or(SendError::NoFlow)?;
        self.queue_ack(flow.0);
        self.note_outcome(cx, flow, &outcome);
        Ok(())
    }

    /// Reports the end of a receiving flow, and hurries its acknowledgement if need be.
    pub(super) fn note_outcome(&mut self, cx: &mut Context<'_>, flow: FlowId, outcome: &Outcome) {
        if outcome.ack_now {
            self.acks.send_now();
        }
        if outcome.finished {
            cx.events.push_back(Event::FlowFinished { session: self.id, flow });
        }
    }
}

fn replace(set: &mut BTreeSet<(Time, u64)>, old: Option<(Time, u64)>, new: Option<(Time, u64)>) {
    if let Some(old) = old {
        set.remove(&old);
    }
    set.extend(new);
}
