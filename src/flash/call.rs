//! Remote calls, which either end of a NetConnection may make.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::amf::Value;

/// A call that this end made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(super) u32);

/// A call that the far end made.
#[derive(Debug)]
pub struct Call {
    /// The method.
    pub name: Arc<str>,
    /// The arguments.
    pub args: Vec<Value>,
    /// The right to answer, if the far end wants an answer.
    pub responder: Option<Responder>,
}

/// The right to answer a call, once. The far end waits until it is used.
#[derive(Debug)]
pub struct Responder(pub(super) f64);

/// The methods that the far end may call.
///
/// A call of another one that wants an answer gets `_error` with `NetConnection.Call.Failed`, as
/// from Flash Player if the client object has no such method; without, it is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Methods {
    /// None.
    #[default]
    None,
    /// These.
    Named(BTreeSet<Arc<str>>),
    /// Any.
    All,
}

impl Methods {
    /// These methods.
    pub fn named<N: Into<Arc<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }

    /// True if the far end may call `name`.
    pub fn allow(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.contains(name),
            Self::All => true,
        }
    }
}

/// The information object of a call that failed for this reason.
pub fn failed(reason: &str) -> Value {
    info("error", "NetConnection.Call.Failed", reason)
}

/// The information object of a status or an error: `level`, `code`, `description`, as Flash orders
/// them.
pub(super) fn info(level: &str, code: &str, description: &str) -> Value {
    Value::object([("level", level), ("code", code), ("description", description)])
}
