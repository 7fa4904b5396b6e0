//! Short messages from one client to another: `nc.call("relay", null, peerID, …)` of one becomes
//! `onRelay(peerID, …)` of the other (`protocol-notes/flash-profile.md`, subject "relay").
//!
//! Applications find each other with it before they are connected, so little is relayed:
//! calls that are too long, too many, or for a client that does not take them, are refused.

use super::Rendezvous;
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::{Call, Responder, call, connectivity};
use crate::transport::buckets::Buckets;
use crate::transport::{Rate, SessionId, Time};

/// The method of the server, and that of the far client.
pub(super) const METHOD: &str = "relay";
const FAR_METHOD: &str = "onRelay";
/// Clients whose calls are counted; further ones share one count.
const MAX_COUNTED: usize = 65_536;

/// Limits of `relay`; beyond these, calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Bytes of AMF of one call, the peer ID included.
    pub message: usize,
    /// Calls by one client.
    pub from_client: Rate,
    /// Calls for one client.
    pub to_client: Rate,
    /// Bytes that wait for a client that does not take them.
    pub queue: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            message: 8 << 10,
            from_client: Rate { burst: 40, per_second: 10 },
            to_client: Rate { burst: 80, per_second: 40 },
            queue: 64 << 10,
        }
    }
}

/// The recent calls.
#[derive(Debug)]
pub(super) struct Relays {
    from_client: Buckets<SessionId>,
    to_client: Buckets<SessionId>,
}

impl Relays {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self {
            from_client: Buckets::new(limits.from_client, MAX_COUNTED),
            to_client: Buckets::new(limits.to_client, MAX_COUNTED),
        }
    }

    pub(super) const fn set_limits(&mut self, limits: RelayLimits) {
        self.from_client.set_rate(limits.from_client);
        self.to_client.set_rate(limits.to_client);
    }
}

impl Rendezvous {
    /// A client calls a method.
    pub(super) fn on_call(&mut self, now: Time, session: SessionId, call: Call) {
        match &*call.name {
            METHOD => self.relay(now, session, call.args, call.responder),
            connectivity::METHOD => {
                self.on_check_called(now, session, (&call.args, call.responder));
            }
            _ => self.ask_for_answer(now, session, call),
        }
    }

    /// A call was passed on or refused.
    pub(super) fn answer_relay(
        &mut self,
        now: Time,
        session: SessionId,
        responder: Option<Responder>,
        outcome: Result<(), &str>,
    ) {
        let count = match outcome {
            Ok(()) => &mut self.stats.relayed,
            Err(_) => &mut self.stats.relays_refused,
        };
        *count += 1;
        let outcome = outcome.map(|()| Value::Undefined).map_err(|why| {
            tracing::debug!(%session, why, "not relayed");
            call::failed(why)
        });
        let client = self.clients.get_mut(&session);
        if let (Some(client), Some(responder)) = (client, responder) {
            let answered = client.connection.answer(now, responder, outcome);
            debug_assert_eq!(answered, Ok(()), "plain values have an encoding");
        }
    }

    fn relay(
        &mut self,
        now: Time,
        session: SessionId,
        mut args: Vec<Value>,
        responder: Option<Responder>,
    ) {
        let (from, to) = match self.check_relay(now, session, &args) {
            Ok(ends) => ends,
            Err(why) => return self.answer_relay(now, session, responder, Err(why)),
        };
        args.remove(0);
        let Some(far) = self.relay_target(to) else {
            let ends = ((session, from), to);
            let passed_on = self.relay_elsewhere(now, ends.0, ends.1, args, responder);
            if let Err((responder, why)) = passed_on {
                self.answer_relay(now, session, responder, Err(why));
            }
            return;
        };
        let outcome = self.deliver_relay(now, far, from, args);
        self.answer_relay(now, session, responder, outcome);
        if far != session {
            self.serve(now, far);
        }
    }

    /// The caller and the peer that it names, if it may call.
    fn check_relay(
        &mut self,
        now: Time,
        session: SessionId,
        args: &[Value],
    ) -> Result<(Fingerprint, Fingerprint), &'static str> {
        if !self.relays.from_client.spend(now, session, 1) {
            self.stats.relays_limited += 1;
            return Err("too many calls");
        }
        let Some(from) = self.clients.get(&session).map(|client| client.peer) else {
            return Err("not connected");
        };
        let to = args.first().and_then(Value::as_str).and_then(|id| id.parse().ok());
        Ok((from, to.ok_or("the first argument is no peer ID")?))
    }

    /// The session of a peer that is connected here.
    pub(super) fn relay_target(&self, to: Fingerprint) -> Option<SessionId> {
        let far = self.endpoint.session_with(to)?;
        self.clients.get(&far).filter(|client| client.connection.is_connected()).map(|_| far)
    }

    /// Sends a call to a client, which is to be [served](Self::serve) then.
    pub(super) fn deliver_relay(
        &mut self,
        now: Time,
        far: SessionId,
        from: Fingerprint,
        mut args: Vec<Value>,
    ) -> Result<(), &'static str> {
        let limits = self.config.relay;
        let queued = self.queued_in_control(far);
        let client = self.clients.get_mut(&far).ok_or("no such peer")?;
        let refusal = if queued + limits.message as u64 > limits.queue {
            "the peer does not take what it is sent"
        } else if !self.relays.to_client.spend(now, far, 1) {
            "the peer gets too many calls"
        } else {
            args.insert(0, Value::from(from.to_string().as_str()));
            match client.connection.notify_within(now, limits.message, FAR_METHOD, args) {
                Ok(_) => return Ok(()),
                Err(_) => "the call is too long",
            }
        };
        self.stats.relays_limited += 1;
        Err(refusal)
    }
}
