//! Logic of a server's owner: may this client connect, publish, play, and what is the answer to this
//! call? Written in Rust ([`Hooks`]), or anywhere behind HTTP (`HttpHook`, `docs/hooks.md`).
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | what an owner implements |
//! | `runner` | the task that asks it |
//! | `http` | an owner behind HTTP |
//! | `json` | values of AMF as JSON |

#[cfg(feature = "hooks")]
mod http;
#[cfg(feature = "hooks")]
mod json;
mod runner;

#[cfg(feature = "hooks")]
pub use http::{HookUrlError, HttpHook};
pub(super) use runner::{Asking, Runner};

use crate::amf::Value;
use crate::rendezvous::hooks::{Caller, ConnectFacts};
use crate::rendezvous::{Decision, HookEvent, Query};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The logic of a server's owner. What a method does not decide is allowed, and calls fail.
///
/// A client waits for the answer, and nobody else; so it may take a while, up to
/// [`HookConfig::timeout`](crate::rendezvous::HookConfig). A future that takes longer is dropped. The
/// methods of one client are called one after the other, those of several at the same time. What comes
/// from clients is theirs: names, arguments and URLs may have any content.
///
/// ```
/// use rtmfp::amf::Value;
/// use rtmfp::server::{Caller, Decision, Hooks, ServerConfig};
///
/// struct Greeter;
///
/// impl Hooks for Greeter {
///     async fn on_call(&self, client: &Caller, method: &str, _: &[Value]) -> Decision {
///         match method {
///             "greet" => Decision::Answer(format!("hello, {}", client.address).as_str().into()),
///             _ => Decision::Unknown,
///         }
///     }
/// }
///
/// let config = ServerConfig::default().with_hooks(Greeter);
/// # let _ = config;
/// ```
pub trait Hooks: Send + Sync + 'static {
    /// A client wants to connect.
    fn on_connect(
        &self,
        client: &Caller,
        facts: &ConnectFacts,
    ) -> impl Future<Output = Decision> + Send {
        let _ = (client, facts);
        async { Decision::Allow }
    }

    /// A client wants to publish a stream at the server.
    fn on_publish(&self, client: &Caller, name: &str) -> impl Future<Output = Decision> + Send {
        let _ = (client, name);
        async { Decision::Allow }
    }

    /// A client wants to play a stream of the server.
    fn on_play(&self, client: &Caller, name: &str) -> impl Future<Output = Decision> + Send {
        let _ = (client, name);
        async { Decision::Allow }
    }

    /// A client calls a method that the server does not know.
    fn on_call(
        &self,
        client: &Caller,
        method: &str,
        args: &[Value],
    ) -> impl Future<Output = Decision> + Send {
        let _ = (client, method, args);
        async { Decision::Unknown }
    }

    /// A client publishes a stream no longer.
    fn on_unpublish(&self, client: &Caller, name: &str) -> impl Future<Output = ()> + Send {
        let _ = (client, name);
        async {}
    }

    /// A client is gone.
    fn on_disconnect(&self, client: &Caller) -> impl Future<Output = ()> + Send {
        let _ = client;
        async {}
    }

    /// Any of these, by what happens. Replaces all of them.
    fn decide(&self, query: Query) -> impl Future<Output = Decision> + Send {
        async move {
            let client = &query.client;
            match &query.event {
                HookEvent::Connect(facts) => self.on_connect(client, facts).await,
                HookEvent::Publish { name } => self.on_publish(client, name).await,
                HookEvent::Play { name } => self.on_play(client, name).await,
                HookEvent::Call { method, args, .. } => self.on_call(client, method, args).await,
                HookEvent::Unpublish { name } => {
                    self.on_unpublish(client, name).await;
                    Decision::Allow
                }
                HookEvent::Disconnect => {
                    self.on_disconnect(client).await;
                    Decision::Allow
                }
            }
        }
    }
}

/// An answer that is on its way.
type Answer = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// [`Hooks`] of any type.
trait Decide: Send + Sync {
    fn decide(self: Arc<Self>, query: Query) -> Answer;
}

impl<H: Hooks> Decide for H {
    fn decide(self: Arc<Self>, query: Query) -> Answer {
        Box::pin(async move { Hooks::decide(&*self, query).await })
    }
}

/// The hooks of a server; clones are the same ones.
#[derive(Clone)]
pub struct ServerHooks(Arc<dyn Decide>);

impl ServerHooks {
    /// These.
    pub fn new(hooks: impl Hooks) -> Self {
        Self(Arc::new(hooks))
    }

    fn decide(&self, query: Query) -> Answer {
        Arc::clone(&self.0).decide(query)
    }
}

impl fmt::Debug for ServerHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHooks").finish_non_exhaustive()
    }
}
