//! The common part of both ends of a NetConnection: flows, commands, calls and their answers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::call::info;
use super::limits::MAX_CALLS;
use super::{
    Body, Call, CallId, Command, FlashError, FlowMetadata, Message, Methods, ObjectEncoding,
    Responder, UserControl,
};
use crate::amf::Value;
use crate::transport::{FlowAction, FlowId, FlowOptions, FlowToken, MessageOptions, Time};

/// One end's control flow and its pending actions.
#[derive(Debug)]
pub(super) struct Control {
    actions: VecDeque<FlowAction>,
    started: Time,
    next_token: u32,
    flow: Option<FlowToken>,
    calls: BTreeSet<u32>,
    next_transaction: u32,
    /// The encoding as negotiated, or as asked for until then.
    pub(super) encoding: ObjectEncoding,
}

impl Control {
    /// Nothing open yet. Calls count their transactions from `first_transaction`.
    pub(super) fn new(now: Time, first_transaction: u32) -> Self {
        Self {
            actions: VecDeque::new(),
            started: now,
            next_token: 0,
            flow: None,
            calls: BTreeSet::new(),
            next_transaction: first_transaction,
            encoding: ObjectEncoding::default(),
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<FlowAction> {
        self.actions.pop_front()
    }

    pub(super) fn push(&mut self, action: FlowAction) {
        self.actions.push_back(action);
    }

    /// This end's control flow, once it is open.
    pub(super) fn flow(&self) -> Option<FlowToken> {
        self.flow
    }

    pub(super) fn open_flow(&mut self, stream: u32, association: Option<FlowId>) -> FlowToken {
        self.open_flow_with(stream, FlowOptions::immediate(association))
    }

    pub(super) fn open_flow_with(&mut self, stream: u32, options: FlowOptions) -> FlowToken {
        let token = FlowToken(self.next_token);
        self.next_token += 1;
        let metadata = FlowMetadata::tc(stream).encode();
        self.push(FlowAction::Open { token, metadata, options });
        token
    }

    /// Opens the flow that everything about the connection itself goes over.
    pub(super) fn open_control_flow(&mut self, association: Option<FlowId>) {
        self.flow = Some(self.open_flow(0, association));
    }

    /// Sends on the control flow; before it is open, nothing.
    pub(super) fn send(&mut self, now: Time, body: Body) {
        if let Some(flow) = self.flow {
            self.send_on(flow, now, body);
        }
    }

    pub(super) fn send_on(&mut self, token: FlowToken, now: Time, body: Body) {
        let timestamp = now.since(self.started).as_millis() as u32; // wraps, as it should
        let message = Message::new(timestamp, body).encode().into_bytes();
        self.push(FlowAction::Send { token, message, options: MessageOptions::RELIABLE });
    }

    pub(super) fn send_command(&mut self, now: Time, command: &Command) -> Result<(), FlashError> {
        let body = command.encode(self.encoding)?;
        self.send(now, body);
        Ok(())
    }

    /// Calls a method of the far end and remembers to expect a result.
    pub(super) fn call(
        &mut self,
        now: Time,
        name: &str,
        args: Vec<Value>,
    ) -> Result<CallId, FlashError> {
        if self.calls.len() >= MAX_CALLS {
            return Err(FlashError::TooManyCalls);
        }
        let transaction = self.next_transaction;
        self.send_command(now, &Command::new(name, f64::from(transaction), args))?;
        self.next_transaction = transaction.checked_add(1).unwrap_or(2);
        self.calls.insert(transaction);
        Ok(CallId(transaction))
    }

    /// Calls a method of the far end and wants no result.
    pub(super) fn notify(
        &mut self,
        now: Time,
        name: &str,
        args: Vec<Value>,
    ) -> Result<(), FlashError> {
        self.send_command(now, &Command::new(name, 0.0, args))
    }

    /// The same, unless the values are longer than `limit` bytes.
    pub(super) fn notify_within(
        &mut self,
        now: Time,
        limit: usize,
        name: &str,
        args: Vec<Value>,
    ) -> Result<(), FlashError> {
        let body = Command::new(name, 0.0, args).encode_within(limit, self.encoding)?;
        self.send(now, body);
        Ok(())
    }

    /// A message was longer than the transport takes, and begins with `head`: a call that waits for
    /// an answer fails. Returns the name of the method.
    pub(super) fn fail_long_call(&mut self, now: Time, head: &Bytes) -> Option<Arc<str>> {
        let Body::Command(_, values) = Message::parse(head).ok()?.body else { return None };
        let command = Command::parse_head(&values)?;
        self.fail_call(now, &command, "the call is too long");
        Some(command.name)
    }

    /// No longer expects a result of this call.
    pub(super) fn forget(&mut self, call: CallId) {
        self.calls.remove(&call.0);
    }

    /// The call that `answer` answers, with its result (`Ok`) or error.
    pub(super) fn take_answer(
        &mut self,
        answer: &Command,
    ) -> Option<(CallId, Result<Value, Value>)> {
        let transaction = Value::Number(answer.transaction).as_u32()?;
        self.calls.remove(&transaction).then(|| {
            let value = answer.args.first().cloned().unwrap_or_default();
            let outcome = if &*answer.name == "_result" { Ok(value) } else { Err(value) };
            (CallId(transaction), outcome)
        })
    }

    /// Answers a call with a result or an error.
    pub(super) fn answer(
        &mut self,
        now: Time,
        responder: Responder,
        outcome: Result<Value, Value>,
    ) -> Result<(), FlashError> {
        let (name, value) = match outcome {
            Ok(value) => ("_result", value),
            Err(value) => ("_error", value),
        };
        self.send_command(now, &Command::new(name, responder.0, vec![value]))
    }

    /// A call by the far end: for the owner, or refused here.
    pub(super) fn take_call(
        &mut self,
        now: Time,
        command: Command,
        methods: &Methods,
    ) -> Option<Call> {
        if !methods.allow(&command.name) {
            self.fail_call(now, &command, "method not found");
            return None;
        }
        let responder = command.wants_answer().then_some(Responder(command.transaction));
        Some(Call { name: command.name, args: command.args, responder })
    }

    /// Answers a call with `NetConnection.Call.Failed` if an answer is wanted.
    pub(super) fn fail_call(&mut self, now: Time, command: &Command, why: &str) {
        if !command.wants_answer() {
            return;
        }
        let error = Err(info("error", "NetConnection.Call.Failed", why));
        if let Err(error) = self.answer(now, Responder(command.transaction), error) {
            tracing::debug!(%error, "an error reply has no encoding");
        }
    }

    /// Answers a ping.
    pub(super) fn answer_ping(&mut self, now: Time, value: u32) {
        self.send(now, Body::UserControl(UserControl::PingResponse(value)));
    }
}
