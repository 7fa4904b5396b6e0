//! Calls over the NetConnection, in both directions.

use super::Connection;
use super::machine::PeerMachine;
use crate::amf::Value;
use crate::driver::Stopped;
use crate::flash::{Call, CallId, FlashError, Methods, Responder};
use crate::transport::Time;
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

/// The calls that wait for their answers, and the methods that the server may call.
#[derive(Default)]
pub(super) struct Calls {
    waiting: BTreeMap<CallId, oneshot::Sender<Result<Value, CallError>>>,
    methods: BTreeMap<Arc<str>, Method>,
}

impl Calls {
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

    fn names(&self) -> Methods {
        Methods::named(self.methods.keys().cloned())
    }
}

impl Connection {
    /// Calls a method of the server and waits for its result: Flash's `NetConnection.call` with a
    /// `Responder`. A server calls the methods of a peer likewise, see
    /// [`set_method`](Self::set_method).
    ///
    /// ```no_run
    /// # async fn example(connection: rtmfp::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// let score = connection.call("bestScore", vec!["chess".into()]).await?;
    /// println!("{score}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn call(&self, method: &str, args: Vec<Value>) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        let name = method.to_owned();
        let call = move |peer: &mut PeerMachine, now: Time| {
            let call = peer.node_mut().call(now, &name, args)?;
            peer.calls_mut().waiting.insert(call, answer);
            Ok::<_, FlashError>(())
        };
        self.with_machine(call).await??;
        answered.await.unwrap_or(Err(CallError::Closed))
    }

    /// Calls a method of the server without waiting for a result: Flash's `NetConnection.call`
    /// without a `Responder`. Returns when the call is on its way.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn notify(&self, method: &str, args: Vec<Value>) -> Result<(), CallError> {
        let name = method.to_owned();
        let call =
            move |peer: &mut PeerMachine, now: Time| peer.node_mut().notify(now, &name, args);
        Ok(self.with_machine(call).await??)
    }

    /// Lets the server call a method, in place of an earlier one of this name: Flash's
    /// `NetConnection.client`. It runs where the connection does, so it should return at once: what
    /// takes time belongs in a task.
    ///
    /// ```no_run
    /// # async fn example(connection: rtmfp::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// use rtmfp::amf::Value;
    ///
    /// let (titles, mut received) = tokio::sync::mpsc::unbounded_channel();
    /// connection
    ///     .set_method("setTitle", move |args: &[Value]| {
    ///         let _ = titles.send(args.first().cloned());
    ///         Ok(Value::Undefined)
    ///     })
    ///     .await?;
    /// while let Some(title) = received.recv().await {
    ///     println!("{title:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the connection was closed.
    pub async fn set_method(
        &self,
        name: &str,
        method: impl FnMut(&[Value]) -> Result<Value, Value> + Send + 'static,
    ) -> Result<(), Stopped> {
        let (name, method): (Arc<str>, Method) = (name.into(), Box::new(method));
        self.with_machine(move |peer, _| {
            peer.calls_mut().methods.insert(name, method);
            let names = peer.calls_mut().names();
            peer.node_mut().set_methods(names);
        })
        .await
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
