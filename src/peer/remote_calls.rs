//! Calls of a [`Connection`] over the NetConnection, in both directions.

use super::Connection;
use super::calls::{CallError, Method};
use super::machine::PeerMachine;
use crate::amf::Value;
use crate::driver::Stopped;
use crate::flash::FlashError;
use crate::transport::Time;
use std::sync::Arc;
use tokio::sync::oneshot;

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
            peer.calls_mut().add(call, answer);
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
            let all = peer.calls_mut().set_method(name, method);
            peer.node_mut().set_methods(all);
        })
        .await
    }
}
