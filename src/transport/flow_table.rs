//! [`FlowTable`]: whose flow is which, and the one place where [`FlowAction`]s are carried out.

use super::{
    Endpoint, FlowAction, FlowId, FlowInput, FlowOptions, FlowToken, MessageOptions, SendError,
    SessionId, Time,
};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Memory that a parked message costs beside its bytes.
const PARKED_OVERHEAD: u64 = 64;

/// The flows of an endpoint, each with its owner, and the messages that wait for space in them.
///
/// An owner is whoever speaks over a flow: a NetConnection, a group. Its sending flows go by
/// [`FlowToken`]s. A reliable message that finds its flow's queue full is parked here, and the
/// flow's later messages and its end behind it; they follow in order when the endpoint reports
/// [`Event::Writable`](super::Event::Writable). A far end for which more than `max_parked` bytes are
/// parked is given up: its session is closed.
///
/// Forward the endpoint's events about flows and sessions here, and drain
/// [`poll_input`](Self::poll_input) after every call.
#[derive(Debug)]
pub struct FlowTable<Owner> {
    sessions: HashMap<SessionId, Flows<Owner>>,
    max_parked: u64,
    inputs: VecDeque<Addressed<Owner>>,
    /// Sessions that were closed because too much was parked for them.
    given_up: u64,
}

/// An input, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed<Owner> {
    /// The session of the flow.
    pub session: SessionId,
    /// Whose flow it is.
    pub owner: Owner,
    /// The input.
    pub input: FlowInput,
}

/// The flows of one session.
#[derive(Debug)]
struct Flows<Owner> {
    /// By flow, ascending as the endpoint numbers them. Vectors, because most sessions of a server
    /// have two flows and there are many sessions.
    sending: Vec<Sending<Owner>>,
    /// Sending flows that are not finished, ascending.
    tokens: Vec<((Owner, FlowToken), FlowId)>,
    receiving: BTreeMap<FlowId, Owner>,
    /// Bytes that are parked, with [`PARKED_OVERHEAD`].
    parked: u64,
}

#[derive(Debug)]
struct Sending<Owner> {
    flow: FlowId,
    owner: Owner,
    token: FlowToken,
    parked: VecDeque<(Bytes, MessageOptions)>,
    /// The owner waits for [`FlowInput::Writable`].
    blocked: bool,
    /// The owner has finished the flow.
    finished: bool,
}

impl<Owner: Copy + Ord> FlowTable<Owner> {
    /// An empty table. A session with more than `max_parked` bytes of parked messages is closed.
    pub fn new(max_parked: u64) -> Self {
        Self { sessions: HashMap::new(), max_parked, inputs: VecDeque::new(), given_up: 0 }
    }

    /// The next input, to be handed to its owner.
    #[must_use = "an input that is not handed over is lost"]
    pub fn poll_input(&mut self) -> Option<Addressed<Owner>> {
        self.inputs.pop_front()
    }

    /// Carries out what an owner asks for in a session. After the session or the flow has ended,
    /// nothing happens.
    pub fn execute(
        &mut self,
        endpoint: &mut Endpoint,
        now: Time,
        session: SessionId,
        owner: Owner,
        action: FlowAction,
    ) {
        match action {
            FlowAction::Open { token, metadata, options } => {
                self.open(endpoint, session, (owner, token), &metadata, options);
            }
            FlowAction::Send { token, message, options } => {
                self.send(endpoint, now, session, (owner, token), message, options);
            }
            FlowAction::Finish { token } => self.finish(endpoint, session, (owner, token)),
            FlowAction::Reject { flow, code } => self.reject(endpoint, session, flow, code),
            FlowAction::Close => endpoint.close(now, session),
        }
    }

    /// A receiving flow was accepted for an owner.
    pub fn accept(&mut self, session: SessionId, flow: FlowId, owner: Owner) {
        self.flows(session).receiving.insert(flow, owner);
    }

    /// Whose receiving flow this is.
    pub fn receiver(&self, session: SessionId, flow: FlowId) -> Option<Owner> {
        self.sessions.get(&session)?.receiving.get(&flow).copied()
    }

    /// Whose sending flow this is; `None` if it is finished or unknown.
    pub fn sender(&self, session: SessionId, flow: FlowId) -> Option<(Owner, FlowToken)> {
        let entry = self.sessions.get(&session)?.sending(flow)?;
        (!entry.finished).then_some((entry.owner, entry.token))
    }

    /// Rejects a receiving flow, whether or not it was accepted before.
    pub fn reject(&mut self, endpoint: &mut Endpoint, session: SessionId, flow: FlowId, code: u64) {
        if let Some(flows) = self.sessions.get_mut(&session) {
            flows.receiving.remove(&flow);
        }
        // A flow that has ended meanwhile needs no rejection.
        let _ = endpoint.reject_flow(session, flow, code);
    }

    /// Bytes that wait in a flow, parked ones included, until they are acknowledged.
    pub fn queued(
        &self,
        endpoint: &Endpoint,
        session: SessionId,
        owner: Owner,
        token: FlowToken,
    ) -> u64 {
        let Some(flows) = self.sessions.get(&session) else { return 0 };
        let Some(flow) = flows.flow((owner, token)) else { return 0 };
        endpoint.queued(session, flow) + flows.sending(flow).map_or(0, Sending::parked_size)
    }

    /// True if an owner has sending flows, finished or not, of which something was not acknowledged
    /// yet. Looks at every flow.
    pub fn has_sending(&self, owner: Owner) -> bool {
        let flows = self.sessions.values().flat_map(|flows| &flows.sending);
        flows.into_iter().any(|entry| entry.owner == owner)
    }

    /// Bytes that are parked for a session.
    pub fn parked(&self, session: SessionId) -> u64 {
        self.sessions.get(&session).map_or(0, |flows| flows.parked)
    }

    /// Sessions that were closed so far because too much was parked for them.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// True if no flow is known.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The far end finished a flow. Returns whose it was.
    pub fn on_flow_finished(&mut self, session: SessionId, flow: FlowId) -> Option<Owner> {
        self.sessions.get_mut(&session)?.receiving.remove(&flow)
    }

    /// The far end gave up messages of a flow.
    pub fn on_gap(&mut self, session: SessionId, flow: FlowId) {
        if let Some(owner) = self.receiver(session, flow) {
            self.inputs.push_back(Addressed { session, owner, input: FlowInput::Gap { flow } });
        }
    }

    /// The far end rejected a flow. What is parked for it is dropped, as what is queued was.
    pub fn on_flow_rejected(&mut self, session: SessionId, flow: FlowId, code: u64) {
        if let Some(entry) = self.remove(session, flow).filter(|entry| !entry.finished) {
            let (owner, token) = (entry.owner, entry.token);
            let input = FlowInput::Rejected { token, code };
            self.inputs.push_back(Addressed { session, owner, input });
        }
    }

    /// A finished flow is done.
    pub fn on_flow_done(&mut self, session: SessionId, flow: FlowId) {
        if let Some(entry) = self.remove(session, flow) {
            let (owner, token) = (entry.owner, entry.token);
            let input = FlowInput::Done { token };
            self.inputs.push_back(Addressed { session, owner, input });
        }
    }

    /// A flow has space: sends what is parked for it.
    pub fn on_writable(
        &mut self,
        endpoint: &mut Endpoint,
        now: Time,
        session: SessionId,
        flow: FlowId,
    ) {
        let Some(flows) = self.sessions.get_mut(&session) else { return };
        let Ok(at) = flows.place(flow) else { return };
        let entry = &mut flows.sending[at];
        while let Some((message, options)) = entry.parked.front() {
            match endpoint.send(now, session, flow, message.clone(), *options) {
                Ok(()) => {}
                Err(SendError::Full) => return,
                Err(error) => tracing::debug!(%session, %flow, %error, "message not sent"),
            }
            flows.parked -= parked_size(message);
            entry.parked.pop_front();
        }
        entry.parked = VecDeque::new();
        if entry.finished {
            // If the session has ended, so has the flow.
            let _ = endpoint.close_flow(session, flow);
        } else if std::mem::take(&mut entry.blocked) {
            let (owner, token) = (entry.owner, entry.token);
            let input = FlowInput::Writable { token };
            self.inputs.push_back(Addressed { session, owner, input });
        }
    }

    /// A session is closed, and its flows with it. No inputs follow for them.
    pub fn on_session_closed(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.inputs.retain(|waiting| waiting.session != session);
    }

    fn open(
        &mut self,
        endpoint: &mut Endpoint,
        session: SessionId,
        (owner, token): (Owner, FlowToken),
        metadata: &[u8],
        options: FlowOptions,
    ) {
        let flow = match endpoint.open_flow(session, metadata, options) {
            Ok(flow) => flow,
            Err(error) => {
                tracing::debug!(%session, %error, "flow not opened");
                return;
            }
        };
        let flows = self.flows(session);
        let (parked, blocked, finished) = (VecDeque::new(), false, false);
        if let Err(place) = flows.place(flow) {
            let entry = Sending { flow, owner, token, parked, blocked, finished };
            flows.sending.insert(place, entry);
        }
        match flows.tokens.binary_search_by_key(&(owner, token), |known| known.0) {
            Ok(place) => flows.tokens[place].1 = flow,
            Err(place) => flows.tokens.insert(place, ((owner, token), flow)),
        }
    }

    fn send(
        &mut self,
        endpoint: &mut Endpoint,
        now: Time,
        session: SessionId,
        (owner, token): (Owner, FlowToken),
        message: Bytes,
        options: MessageOptions,
    ) {
        let Some(flows) = self.sessions.get_mut(&session) else { return };
        let Some(flow) = flows.flow((owner, token)) else { return };
        let Ok(place) = flows.place(flow) else { return };
        let entry = &mut flows.sending[place];
        if entry.parked.is_empty() {
            match endpoint.send(now, session, flow, message.clone(), options) {
                Ok(()) => return,
                Err(SendError::Full) => {}
                Err(error) => {
                    tracing::debug!(%session, %flow, %error, "message not sent");
                    return;
                }
            }
        }
        if !std::mem::replace(&mut entry.blocked, true) {
            let input = FlowInput::Blocked { token };
            self.inputs.push_back(Addressed { session, owner, input });
        }
        if !options.is_reliable() {
            let input = FlowInput::Refused { token, message };
            self.inputs.push_back(Addressed { session, owner, input });
            return;
        }
        flows.parked += parked_size(&message);
        entry.parked.push_back((message, options));
        if flows.parked > self.max_parked {
            let bytes = flows.parked;
            tracing::info!(%session, bytes, "closed: the far end does not take what it is sent");
            self.given_up += 1;
            self.sessions.remove(&session);
            endpoint.close(now, session);
        }
    }

    fn finish(
        &mut self,
        endpoint: &mut Endpoint,
        session: SessionId,
        (owner, token): (Owner, FlowToken),
    ) {
        let Some(flows) = self.sessions.get_mut(&session) else { return };
        let Some(flow) = flows.flow((owner, token)) else { return };
        flows.forget_token((owner, token), flow);
        let Ok(place) = flows.place(flow) else { return };
        let entry = &mut flows.sending[place];
        entry.finished = true;
        if entry.parked.is_empty() {
            // If the session has ended, so has the flow.
            let _ = endpoint.close_flow(session, flow);
        }
    }

    fn flows(&mut self, session: SessionId) -> &mut Flows<Owner> {
        self.sessions.entry(session).or_insert_with(|| Flows {
            sending: Vec::new(),
            tokens: Vec::new(),
            receiving: BTreeMap::new(),
            parked: 0,
        })
    }

    /// Takes a sending flow out.
    fn remove(&mut self, session: SessionId, flow: FlowId) -> Option<Sending<Owner>> {
        let flows = self.sessions.get_mut(&session)?;
        let place = flows.place(flow).ok()?;
        let entry = flows.sending.remove(place);
        flows.parked -= entry.parked_size();
        flows.forget_token((entry.owner, entry.token), flow);
        Some(entry)
    }
}

impl<Owner: Copy + Ord> Flows<Owner> {
    /// The place of a sending flow, or where it would be.
    fn place(&self, flow: FlowId) -> Result<usize, usize> {
        self.sending.binary_search_by_key(&flow, |entry| entry.flow)
    }

    fn sending(&self, flow: FlowId) -> Option<&Sending<Owner>> {
        self.sending.get(self.place(flow).ok()?)
    }

    /// The unfinished flow of this name.
    fn flow(&self, name: (Owner, FlowToken)) -> Option<FlowId> {
        let place = self.tokens.binary_search_by_key(&name, |known| known.0).ok()?;
        self.tokens.get(place).map(|known| known.1)
    }

    /// Sets a name free if it is that of this flow.
    fn forget_token(&mut self, name: (Owner, FlowToken), flow: FlowId) {
        if let Ok(place) = self.tokens.binary_search(&(name, flow)) {
            self.tokens.remove(place);
        }
    }
}

impl<Owner> Sending<Owner> {
    /// Bytes that are parked, with what keeping them costs.
    fn parked_size(&self) -> u64 {
        self.parked.iter().map(|(message, _)| parked_size(message)).sum()
    }
}

fn parked_size(message: &Bytes) -> u64 {
    message.len() as u64 + PARKED_OVERHEAD
}
