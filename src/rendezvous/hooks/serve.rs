//! What clients get by the owner's decisions.

use super::super::access::{Rights, without_token, without_token_argument};
use super::super::application::application;
use super::super::{RefusalReason, Rendezvous};
use super::lanes::{Settled, Then};
use super::size::fits;
use super::{Caller, ConnectFacts, Decision, HookEvent, HookKind, Query, QueryId};
use crate::amf::Value;
use crate::flash::{Call, ConnectRequest, Message, Responder};
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use std::sync::Arc;

/// The reason for a client, if the owner could not find out.
const NO_ANSWER: &str = "the server could not find out whether this is allowed";
/// The reason for a client whose token does not name the stream.
const NO_RIGHT: &str = "the token does not allow it";
/// The reason of a call that nobody answers.
const NO_METHOD: &str = "method not found";

impl Rendezvous {
    /// The next question to the owner; to be read like events. None without
    /// [`RendezvousConfig::hooks`](super::super::RendezvousConfig).
    #[must_use]
    pub fn poll_query(&mut self) -> Option<Query> {
        self.hooks.as_mut()?.poll_query()
    }

    /// The owner has decided about a query. Ignored if it is too late. The drain rule of a machine holds.
    pub fn handle_decision(&mut self, now: Time, id: QueryId, decision: Decision) {
        if let Some(settled) = self.hooks.as_mut().and_then(|hooks| hooks.settle(id)) {
            self.carry_out_decision(now, settled, decision);
            self.drain_endpoint(now);
        }
    }

    /// Decides queries whose deadline is over.
    pub(in super::super) fn hook_timeouts(&mut self, now: Time) {
        while let Some(id) = self.hooks.as_ref().and_then(|hooks| hooks.overdue(now)) {
            self.handle_decision(now, id, Decision::Failed);
        }
    }

    fn asks(&self, kind: HookKind) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.config.events.contains(&kind))
    }

    /// True if calls of any method are for the owner.
    pub(in super::super) fn asks_for_calls(&self) -> bool {
        self.asks(HookKind::Call)
    }

    /// True if the owner is asked about a client: not about peers of this process.
    fn asks_about(&self, session: SessionId, kind: HookKind) -> bool {
        self.asks(kind) && self.clients.get(&session).is_some_and(|client| !client.is_own)
    }

    /// Asks the owner, or decides at once if no more can be asked.
    fn ask(&mut self, now: Time, session: SessionId, event: HookEvent, then: Then) {
        let (Some(client), Some(hooks)) = (self.clients.get_mut(&session), &mut self.hooks) else {
            return;
        };
        let lane = *client.lane.get_or_insert_with(|| hooks.new_lane());
        let app = match &then {
            Then::Connect { app, .. } => app,
            _ => &client.app,
        };
        let rights = match &then {
            Then::Connect { rights, .. } => rights,
            _ => &client.rights,
        };
        let caller = Caller {
            peer: client.peer,
            address: client.address,
            app: application(app).into(),
            name: rights.as_ref().and_then(|rights| rights.name.as_deref()).map(Into::into),
        };
        match hooks.add(now, (lane, session), caller.clone(), (event, then)) {
            Ok(()) => self.stats.hook_queries += 1,
            Err(then) => {
                self.stats.hook_queries_dropped += 1;
                let (client, is_abandoned) = (caller, false);
                let settled = Settled { lane, session, client, then, is_abandoned };
                self.carry_out_decision(now, settled, Decision::Failed);
            }
        }
    }

    /// A client that has passed all other checks wants to connect.
    pub(in super::super) fn ask_to_connect(
        &mut self,
        now: Time,
        session: SessionId,
        request: ConnectRequest,
        rights: Option<Box<Rights>>,
    ) {
        let app = request.app.clone();
        if !self.asks(HookKind::Connect) {
            return self.accept(now, session, &app, rights);
        }
        let args = without_token_argument(&request, self.config.tokens.is_some());
        if !fits(&args) {
            return self.refuse(now, session, &app, RefusalReason::Hook, None);
        }
        let facts = ConnectFacts {
            app: without_token(&app).into_owned(),
            tc_url: request.tc_url.map(|url| without_token(&url).into_owned()),
            flash_version: request.flash_version,
            swf_url: request.swf_url,
            page_url: request.page_url,
            args,
        };
        let then = Then::Connect { app, rights };
        self.ask(now, session, HookEvent::Connect(Box::new(facts)), then);
    }

    /// A client wants to publish. True if it may at once; otherwise it has been refused, or the owner is
    /// asked.
    pub(in super::super) fn may_publish(
        &mut self,
        now: Time,
        (session, stream): (SessionId, u32),
        name: &Arc<str>,
        record: bool,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&session) else { return false };
        if client.rights.as_ref().is_some_and(|rights| !rights.publish.contain(name)) {
            self.stats.rights_refused += 1;
            client.connection.refuse_publish(stream, "NetStream.Publish.Denied", NO_RIGHT, false);
            return false;
        }
        if self.asks_about(session, HookKind::Publish) {
            let name = name.clone();
            let then = Then::Publish { stream, name: name.clone(), record, early: Vec::new() };
            self.ask(now, session, HookEvent::Publish { name }, then);
            return false;
        }
        true
    }

    /// The same of a client that wants to play.
    pub(in super::super) fn may_play(
        &mut self,
        now: Time,
        (session, stream): (SessionId, u32),
        name: &Arc<str>,
        recorded: bool,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&session) else { return false };
        if client.rights.as_ref().is_some_and(|rights| !rights.play.contain(name)) {
            self.stats.rights_refused += 1;
            client.connection.refuse_play(stream, "NetStream.Play.Failed", NO_RIGHT);
            return false;
        }
        if self.asks_about(session, HookKind::Play) {
            let name = name.clone();
            let then = Then::Play { stream, name: name.clone(), recorded };
            self.ask(now, session, HookEvent::Play { name }, then);
            return false;
        }
        true
    }

    /// A client calls a method that the server does not know.
    pub(in super::super) fn ask_for_answer(&mut self, now: Time, session: SessionId, call: Call) {
        let Call { name: method, args, responder } = call;
        if !fits(&args) || !fits(&[Value::String(method.clone())]) {
            return self.fail_call(now, session, responder, "the call is too long");
        }
        let wants_answer = responder.is_some();
        let event = HookEvent::Call { method, args, wants_answer };
        self.ask(now, session, event, Then::Call { responder });
    }

    /// A client publishes a message, which comes back unless the client waits for leave to publish.
    pub(in super::super) fn keep_early(
        &mut self,
        (session, stream): (SessionId, u32),
        message: Message,
        encoded: Bytes,
    ) -> Option<(Message, Bytes)> {
        let lane = match &self.hooks {
            Some(_) => self.clients.get(&session).and_then(|client| client.lane),
            None => None,
        };
        match (&mut self.hooks, lane) {
            (Some(hooks), Some(lane)) => hooks.keep_early(lane, stream, (message, encoded)),
            _ => Some((message, encoded)),
        }
    }

    /// A client does something else in a NetStream.
    pub(in super::super) fn forget_stream_query(&mut self, (session, stream): (SessionId, u32)) {
        let lane = self.clients.get(&session).and_then(|client| client.lane);
        if let (Some(hooks), Some(lane)) = (&mut self.hooks, lane) {
            hooks.abandon(lane, Some(stream));
        }
    }

    /// A client publishes a stream no longer.
    pub(in super::super) fn notify_unpublished(
        &mut self,
        now: Time,
        session: SessionId,
        name: &Arc<str>,
    ) {
        if self.asks_about(session, HookKind::Unpublish) {
            let event = HookEvent::Unpublish { name: name.clone() };
            self.ask(now, session, event, Then::Nothing);
        }
    }

    /// The owner has let a client publish a stream, and it does not nevertheless.
    pub(in super::super) fn notify_not_published(
        &mut self,
        now: Time,
        session: SessionId,
        name: &Arc<str>,
    ) {
        if self.asks(HookKind::Publish) {
            self.notify_unpublished(now, session, name);
        }
    }

    /// A client is gone, and is still known.
    pub(in super::super) fn notify_gone(&mut self, now: Time, session: SessionId) {
        let Some(client) = self.clients.get(&session) else { return };
        let (lane, announced) = (client.lane, client.announced);
        if let (Some(hooks), Some(lane)) = (&mut self.hooks, lane) {
            hooks.abandon(lane, None);
        }
        if announced && self.asks_about(session, HookKind::Disconnect) {
            self.ask(now, session, HookEvent::Disconnect, Then::Nothing);
        }
    }

    fn carry_out_decision(&mut self, now: Time, settled: Settled, decision: Decision) {
        self.stats.hook_queries_failed += u64::from(decision == Decision::Failed);
        let Settled { lane, session, client, then, is_abandoned } = settled;
        let is_there = self.clients.get(&session).is_some_and(|client| client.lane == Some(lane));
        let may_on_failure = self.hooks.as_ref().is_some_and(|hooks| hooks.config.allow_on_failure);
        let refused = match &decision {
            Decision::Deny { description, .. } => Some(description.as_str()),
            Decision::Fail(info) => {
                info.as_str().or_else(|| info.property("description").and_then(Value::as_str))
            }
            Decision::Failed if !may_on_failure => Some(NO_ANSWER),
            _ => None,
        };
        let is_refused = refused.is_some() || matches!(decision, Decision::Fail(_));
        if is_abandoned || !is_there {
            return self.take_back(now, (lane, session), client, &then, is_refused);
        }
        let why = refused.unwrap_or_default();
        match then {
            Then::Nothing => return,
            Then::Connect { app, .. } if is_refused => {
                let redirect = match &decision {
                    Decision::Deny { redirect: Some(uri), .. } => Some(uri.as_str()),
                    _ => None,
                };
                let answer = Some((why, redirect));
                self.refuse(now, session, &app, RefusalReason::Hook, answer);
            }
            Then::Connect { app, rights } => self.accept(now, session, &app, rights),
            Then::Publish { stream, .. } if is_refused => {
                self.stats.rights_refused += 1;
                if let Some(client) = self.clients.get_mut(&session) {
                    client.connection.refuse_publish(
                        stream,
                        "NetStream.Publish.Denied",
                        why,
                        false,
                    );
                }
            }
            Then::Publish { stream, name, record, early } => {
                self.publish(now, (session, stream), &name, record);
                for (message, encoded) in early {
                    self.pass_on(now, (session, stream), message, encoded);
                }
            }
            Then::Play { stream, .. } if is_refused => {
                self.stats.rights_refused += 1;
                if let Some(client) = self.clients.get_mut(&session) {
                    client.connection.refuse_play(stream, "NetStream.Play.Failed", why);
                }
            }
            Then::Play { stream, name, recorded } => {
                self.play(now, (session, stream), &name, recorded);
            }
            Then::Call { responder } => self.answer_by_owner(now, session, responder, decision),
        }
        self.serve(now, session);
    }

    /// Nobody waits for the answer: what the owner has allowed ends at once.
    fn take_back(
        &mut self,
        now: Time,
        (lane, session): (super::LaneId, SessionId),
        client: Caller,
        then: &Then,
        is_refused: bool,
    ) {
        let event = match then {
            Then::Connect { .. } => HookEvent::Disconnect,
            Then::Publish { name, .. } => HookEvent::Unpublish { name: name.clone() },
            _ => return,
        };
        if is_refused || !self.asks(event.kind()) {
            return;
        }
        let Some(hooks) = &mut self.hooks else { return };
        let added = hooks.add(now, (lane, session), client, (event, Then::Nothing)).is_ok();
        let count = match added {
            true => &mut self.stats.hook_queries,
            false => &mut self.stats.hook_queries_dropped,
        };
        *count += 1;
    }

    fn answer_by_owner(
        &mut self,
        now: Time,
        session: SessionId,
        responder: Option<Responder>,
        decision: Decision,
    ) {
        let outcome = match decision {
            Decision::Allow => Ok(Value::Undefined),
            Decision::Answer(value) => Ok(value),
            Decision::Fail(value) => Err(value),
            Decision::Deny { description, .. } => {
                return self.fail_call(now, session, responder, &description);
            }
            Decision::Unknown => return self.fail_call(now, session, responder, NO_METHOD),
            Decision::Failed => {
                return self.fail_call(now, session, responder, "the server has no answer");
            }
        };
        let Some(client) = self.clients.get_mut(&session) else { return };
        let Some(responder) = responder else { return };
        if let Err(error) = client.connection.answer_or_fail(now, responder, outcome) {
            tracing::warn!(%session, %error, "the answer to a call cannot be sent");
        }
    }

    /// A call fails, as one of a method that does not exist.
    pub(in super::super) fn fail_call(
        &mut self,
        now: Time,
        session: SessionId,
        responder: Option<Responder>,
        why: &str,
    ) {
        let error = Value::object([
            ("level", "error"),
            ("code", "NetConnection.Call.Failed"),
            ("description", why),
        ]);
        let client = self.clients.get_mut(&session);
        if let (Some(client), Some(responder)) = (client, responder) {
            let answered = client.connection.answer(now, responder, Err(error));
            debug_assert_eq!(answered, Ok(()), "plain values have an encoding");
        }
    }
}
