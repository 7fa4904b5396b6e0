//! The `connect` of a client, and the answers (RFC 7425 §5.3.1 and §5.3.2).

use std::sync::Arc;

use super::ServerConnectionConfig;
use crate::amf::{Object, Value};
use crate::flash::{Command, ObjectEncoding, Uri};

/// Members of the answer that Flash Player reads; an application cannot replace them.
const OWN_MEMBERS: [&str; 4] = ["code", "level", "description", "objectEncoding"];

/// A client's `connect`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectRequest {
    /// The application: `app` of the command object, else from `tcUrl`, else empty.
    pub app: Arc<str>,
    /// The URI that the client connects to, as its user gave it.
    pub tc_url: Option<Arc<str>>,
    /// The client's name and version, such as `WIN 10,3,183,48`.
    pub flash_version: Option<Arc<str>>,
    /// The URL of the client's program.
    pub swf_url: Option<Arc<str>>,
    /// The URL of the page around the client's program.
    pub page_url: Option<Arc<str>>,
    /// The encoding that the client asks for and will get.
    pub encoding: ObjectEncoding,
    /// The whole command object.
    pub object: Value,
    /// The arguments after it: credentials and the like.
    pub args: Vec<Value>,
}

/// Why a connect request is rejected.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// The code, `NetConnection.Connect.Rejected` by default.
    pub code: String,
    /// The reason in words.
    pub description: String,
    /// Further information for the client's program.
    pub application: Option<Value>,
    /// A URI to connect to instead: `ex.redirect` of the information object, with `ex.code` 302.
    pub redirect: Option<String>,
}

impl Rejection {
    /// The usual code, with this reason.
    pub fn new(description: impl Into<String>) -> Self {
        Self {
            code: "NetConnection.Connect.Rejected".into(),
            description: description.into(),
            application: None,
            redirect: None,
        }
    }
}

impl ConnectRequest {
    pub(super) fn new(command: Command) -> Self {
        let object = command.object;
        let text = |name| match object.property(name) {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        let tc_url = text("tcUrl");
        let app = text("app").or_else(|| app_of(tc_url.as_deref()?)).unwrap_or_default();
        Self {
            app,
            tc_url,
            flash_version: text("flashVer"),
            swf_url: text("swfUrl"),
            page_url: text("pageUrl"),
            encoding: ObjectEncoding::from_value(object.property("objectEncoding")),
            args: command.args,
            object,
        }
    }
}

fn app_of(tc_url: &str) -> Option<Arc<str>> {
    Uri::parse(tc_url).ok().map(|uri| uri.app().into())
}

/// `_result` of `connect`. Without an `objectEncoding` equal to the client's, Flash Player fails
/// with "objectEncoding error".
pub(super) fn acceptance<N: AsRef<str>>(
    config: &ServerConnectionConfig,
    encoding: ObjectEncoding,
    transaction: f64,
    extra: impl IntoIterator<Item = (N, Value)>,
) -> Command {
    let info = Object::new()
        .with("code", "NetConnection.Connect.Success")
        .with("level", "status")
        .with("description", config.description.as_str())
        .with("objectEncoding", encoding.number());
    let extra = extra.into_iter().filter(|(name, _)| !OWN_MEMBERS.contains(&name.as_ref()));
    let info = extra.fold(info, |info, (name, value)| info.with(name.as_ref(), value));
    let object = config.properties.clone();
    Command { object, ..Command::new("_result", transaction, vec![info.into()]) }
}

/// `_error` of `connect`.
pub(super) fn refusal(rejection: &Rejection, transaction: f64) -> Command {
    let info = Object::new()
        .with("level", "error")
        .with("code", rejection.code.as_str())
        .with("description", rejection.description.as_str());
    let info = match &rejection.application {
        Some(application) => info.with("application", application.clone()),
        None => info,
    };
    let info = match &rejection.redirect {
        Some(uri) => {
            let ex = Object::new().with("code", 302.0).with("redirect", uri.as_str());
            info.with("ex", Value::from(ex))
        }
        None => info,
    };
    Command::new("_error", transaction, vec![info.into()])
}
