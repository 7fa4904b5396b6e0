//! [`Calls`]: those that wait for their answers, and the methods that the server may call.

use crate::amf::Value;
use crate::driver::Stopped;
use crate::flash::{Call, CallId, FlashError, Methods, Responder};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::oneshot;

/// A method that the server may call: its result, or the information object of an error.
pub type Method = Box<dyn FnMut(&[Value]) -> Result<Value, Value> + Send>;

/// Why a call has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The call could not be sent: there is no connection, too many calls wait for a result, or an
    /// argument cannot be encoded.
    #[error(transparent)]
    NotSent(#[from] FlashError),
    /// The server answered with an error: its information object, whose `code` is
    /// `NetConnection.Call.Failed` if there is no such method.
    #[error("the server answered the call with an error: {}", shown(.0))]
    Failed(Value),
    /// The connection ended before the answer.
    #[error("the connection ended before the answer to the call")]
    Closed,
}

/// Code and description, shortened.
fn shown(info: &Value) -> String {
    let text = |name| info.property(name).and_then(Value::as_str).unwrap_or_default();
    let shown = crate::wire::Shown::new;
    format!("{} {}", shown(text("code")), shown(text("description")))
}

/// Where the answer to a call goes.
pub(super) type Answer = oneshot::Sender<Result<Value, CallError>>;

/// The calls that wait for their answers, and the methods that the server may call.
#[derive(Default)]
pub(super) struct Calls {
    waiting: BTreeMap<CallId, Answer>,
    methods: BTreeMap<Arc<str>, Method>,
}

impl Calls {
    /// Notes who waits for the answer to a call.
    pub(super) fn add(&mut self, call: CallId, answer: Answer) {
        self.waiting.insert(call, answer);
    }

    /// Lets the server call a method. Returns all that it may call.
    pub(super) fn set_method(&mut self, name: Arc<str>, method: Method) -> Methods {
        self.methods.insert(name, method);
        Methods::named(self.methods.keys().cloned())
    }

    /// Passes an answer on. The caller may be gone.
    pub(super) fn answered(&mut self, call: CallId, outcome: Result<Value, Value>) {
        if let Some(waiting) = self.waiting.remove(&call) {
            let _ = waiting.send(outcome.map_err(CallError::Failed));
        }
    }

    /// No answers follow.
    pub(super) fn connection_lost(&mut self) {
        self.waiting.clear();
    }

    /// Calls a method; what is to be answered, if an answer is wanted.
    pub(super) fn handle(&mut self, call: Call) -> Option<(Responder, Result<Value, Value>)> {
        let outcome = self.methods.get_mut(&call.name)?(&call.args);
        call.responder.map(|responder| (responder, outcome))
    }
}

impl From<Stopped> for CallError {
    fn from(_: Stopped) -> Self {
        Self::Closed
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("waiting", &self.waiting.len())
            .field("methods", &self.methods.len())
            .finish()
    }
}
