//! Treatment of an answer to `connect` by Flash Player 10.3, rule by rule
//! (`protocol-notes/flash-profile.md`, subject "connect"), and that our answers pass.

use super::*;
use crate::flash::{Body, Rejection};

#[derive(Debug, PartialEq)]
enum Verdict {
    Success,
    EncodingError,
    /// Another NetStatus code.
    Event(String),
    /// No event.
    Silence,
    /// Flash Player rejects the flow.
    Exception,
}

/// An answer as the player sees it.
struct Answer {
    metadata: Bytes,
    association: Option<FlowId>,
    message: Bytes,
}

/// Flash Player, connecting with this object encoding.
fn flash(encoding: f64, answer: &Answer) -> Verdict {
    let [b'T', b'C', 0x04 | 0x05, stream] = answer.metadata[..] else {
        return Verdict::Exception;
    };
    if stream != 0 || answer.association != Some(CONTROL) {
        return Verdict::Silence;
    }
    let Ok(Message { body: Body::Command(_, values), .. }) = Message::parse(&answer.message) else {
        return Verdict::Silence;
    };
    let command = Command::parse(&values).unwrap();
    let info = &command.args[0];
    let code = info.property("code").and_then(Value::as_str).unwrap();
    match (&*command.name, command.transaction) {
        ("_error", 1.0) | ("onStatus", _) => Verdict::Event(code.into()),
        ("_result", 1.0) => match info.property("objectEncoding").and_then(Value::as_f64) {
            None if encoding == 0.0 => Verdict::Success,
            Some(ours) if ours == encoding => Verdict::Success,
            _ => Verdict::EncodingError,
        },
        _ => Verdict::Silence,
    }
}

fn answer(name: &str, transaction: f64, encoding: Option<f64>) -> Answer {
    let success = ("code", Value::from("NetConnection.Connect.Success"));
    let encoding = encoding.map(|number| ("objectEncoding", Value::from(number)));
    let info = Value::object([success].into_iter().chain(encoding));
    let command = Command::new(name, transaction, vec![info]);
    Answer {
        metadata: hex("54430400"),
        association: Some(CONTROL),
        message: message(ObjectEncoding::Amf0, &command),
    }
}

/// The model has every row of what was observed.
#[test]
fn the_rules() {
    let good = || answer("_result", 1.0, Some(3.0));
    assert_eq!(flash(3.0, &good()), Verdict::Success);
    assert_eq!(flash(3.0, &answer("_result", 1.0, None)), Verdict::EncodingError);
    assert_eq!(flash(0.0, &answer("_result", 1.0, None)), Verdict::Success);
    assert_eq!(flash(3.0, &answer("_result", 1.0, Some(0.0))), Verdict::EncodingError);
    assert_eq!(flash(0.0, &good()), Verdict::EncodingError);
    assert_eq!(flash(3.0, &answer("_result", 2.0, Some(3.0))), Verdict::Silence);
    assert_eq!(flash(3.0, &Answer { association: None, ..good() }), Verdict::Silence);
    assert_eq!(flash(3.0, &Answer { metadata: hex("54430405"), ..good() }), Verdict::Silence);
    assert_eq!(flash(3.0, &Answer { metadata: hex("54430500"), ..good() }), Verdict::Success);
    for metadata in ["54430000", "5443", ""] {
        assert_eq!(flash(3.0, &Answer { metadata: hex(metadata), ..good() }), Verdict::Exception);
    }
    let success = || Verdict::Event("NetConnection.Connect.Success".into());
    assert_eq!(flash(3.0, &answer("onStatus", 0.0, Some(3.0))), success());
}

/// The first flow and message of the server.
fn answer_of(server: &mut ServerConnection) -> Answer {
    let mut actions = actions(|| server.poll_action()).into_iter();
    let (
        Some(FlowAction::Open { metadata, options: FlowOptions { association, .. }, .. }),
        Some(FlowAction::Send { message, .. }),
    ) = (actions.next(), actions.next())
    else {
        panic!("the first actions are another's");
    };
    Answer { metadata, association, message }
}

fn requested(encoding: Option<f64>) -> ServerConnection {
    let mut server = idle_server(ServerConnectionConfig::default());
    let encoding = encoding.map(|number| ("objectEncoding", Value::from(number)));
    let object = Value::object([("app", "live".into())].into_iter().chain(encoding));
    server.on_message(Time::ZERO, CONTROL, &connect(object));
    server
}

#[test]
fn our_acceptance_satisfies_flash_player() {
    for encoding in [0.0, 3.0] {
        let mut server = requested(Some(encoding));
        server.accept(Time::ZERO, NO_EXTRA).unwrap();
        assert_eq!(flash(encoding, &answer_of(&mut server)), Verdict::Success);
    }
    let mut server = requested(None);
    server.accept(Time::ZERO, NO_EXTRA).unwrap();
    assert_eq!(flash(0.0, &answer_of(&mut server)), Verdict::Success);
}

#[test]
fn an_application_cannot_spoil_the_acceptance() {
    let mut server = requested(Some(3.0));
    let extra =
        [("objectEncoding", Value::from(0.0)), ("code", "x".into()), ("connectionID", "7".into())];
    server.accept(Time::ZERO, extra).unwrap();
    let answer = answer_of(&mut server);
    assert_eq!(flash(3.0, &answer), Verdict::Success);
    assert!(text(&answer.message).contains(r#"connectionID: "7""#));
}

#[test]
fn our_rejection_reaches_the_script() {
    let mut server = requested(Some(3.0));
    let rejection =
        Rejection { application: Some(Value::from(7.0)), ..Rejection::new("no such app") };
    server.reject(Time::ZERO, &rejection).unwrap();
    let answer = answer_of(&mut server);
    let code = "NetConnection.Connect.Rejected";
    assert_eq!(flash(3.0, &answer), Verdict::Event(code.into()));
    assert!(text(&answer.message).contains("application: 7"));
    assert!(!server.is_connected());
}
