//! What is typed while a member runs: commands after a slash, or objects with `--json`; any other line
//! is posted. The limits are the console's own (`crate::cli::console`).

use rtmfp::amf::{Array, Object, Value};
use rtmfp::peer::{GroupAddress, ReceiveMode, SendMode};
use serde_json::Value as Json;

/// Something that the member is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Post(Value),
    Send(Destination, Value),
    Mode(ReceiveMode),
    Peers,
    Streams,
    Stats,
    Help,
    Quit,
}

/// The members that receive a directed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Nearest(GroupAddress),
    Next(SendMode),
    All,
}

/// A command: to add one, add a variant of [`Command`], a line here, and its arm in `Member::obey`.
struct Entry {
    /// Its word after the slash, and its `command` in JSON.
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    /// What follows the word, as text or as the JSON object that has `command`.
    parse: fn(Arguments<'_>) -> Result<Command, String>,
}

enum Arguments<'a> {
    Text(&'a str),
    Json(&'a serde_json::Map<String, Json>),
}

const COMMANDS: &[Entry] = &[
    Entry { name: "post", arguments: "JSON", help: "post a value to all members", parse: post },
    Entry {
        name: "nearest",
        arguments: "ADDRESS TEXT",
        help: "send to the neighbour nearest to an address",
        parse: nearest,
    },
    Entry {
        name: "next",
        arguments: "TEXT",
        help: "send to the neighbour with the next higher address",
        parse: |arguments| send("next", Destination::Next(SendMode::NextIncreasing), arguments),
    },
    Entry {
        name: "prev",
        arguments: "TEXT",
        help: "send to the neighbour with the next lower address",
        parse: |arguments| send("prev", Destination::Next(SendMode::NextDecreasing), arguments),
    },
    Entry {
        name: "all",
        arguments: "TEXT",
        help: "send to all neighbours",
        parse: |arguments| send("all", Destination::All, arguments),
    },
    Entry {
        name: "mode",
        arguments: "exact|nearest",
        help: "receive what is sent to this address, or near it",
        parse: mode,
    },
    Entry {
        name: "peers",
        arguments: "",
        help: "list the neighbours",
        parse: |_| Ok(Command::Peers),
    },
    Entry {
        name: "streams",
        arguments: "",
        help: "list the streams that go on",
        parse: |_| Ok(Command::Streams),
    },
    Entry { name: "stats", arguments: "", help: "show counters", parse: |_| Ok(Command::Stats) },
    Entry { name: "help", arguments: "", help: "list the commands", parse: |_| Ok(Command::Help) },
    Entry { name: "quit", arguments: "", help: "leave the group", parse: |_| Ok(Command::Quit) },
];

/// The commands with their explanations.
pub(super) fn help() -> Vec<String> {
    let line = |entry: &Entry| {
        let usage = format!("/{} {}", entry.name, entry.arguments);
        format!("{usage:<23}{}", entry.help)
    };
    let mut lines = vec!["a line without a slash is posted to all members".to_owned()];
    lines.extend(COMMANDS.iter().map(line));
    lines
}

/// Reads a line of a person. `None` if it is one for the console.
pub(super) fn parse(line: &str) -> Option<Result<Command, String>> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return (!line.is_empty()).then(|| Ok(Command::Post(line.into())));
    };
    let (name, arguments) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    find(name).map(|entry| (entry.parse)(Arguments::Text(arguments.trim())))
}

/// Reads an object with a member `command`. `None` if it has none, so that it is one for the console.
pub(super) fn parse_json(line: &str) -> Option<Result<Command, String>> {
    let Ok(Json::Object(members)) = serde_json::from_str(line) else { return None };
    let name = members.get("command")?.as_str().unwrap_or_default();
    let Some(entry) = find(name) else {
        let names: Vec<_> = COMMANDS.iter().map(|entry| entry.name).collect();
        return Some(Err(format!("there is no command `{name}`, but {}", names.join(", "))));
    };
    Some((entry.parse)(Arguments::Json(&members)))
}

fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| entry.name == name)
}

fn post(arguments: Arguments<'_>) -> Result<Command, String> {
    let value = match arguments {
        Arguments::Text(text) => {
            to_amf(&serde_json::from_str(text).map_err(|error| format!("/post: no JSON: {error}"))?)
        }
        Arguments::Json(members) => to_amf(members.get("value").ok_or("post: `value` is missing")?),
    };
    Ok(Command::Post(value))
}

fn nearest(arguments: Arguments<'_>) -> Result<Command, String> {
    const USAGE: &str = "the address must have 64 hexadecimal digits, as /peers shows it";
    let (address, arguments) = match arguments {
        Arguments::Text(text) => {
            let (address, text) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            (address, Arguments::Text(text.trim()))
        }
        Arguments::Json(members) => {
            let address = members.get("address").ok_or("nearest: `address` is missing")?;
            (address.as_str().unwrap_or_default(), arguments)
        }
    };
    let address = address.parse().map_err(|_| format!("nearest: {USAGE}"))?;
    send("nearest", Destination::Nearest(address), arguments)
}

fn send(name: &str, destination: Destination, arguments: Arguments<'_>) -> Result<Command, String> {
    let value = match arguments {
        Arguments::Text("") => return Err(format!("/{name}: what is to be sent?")),
        Arguments::Text(text) => text_or_json(text),
        Arguments::Json(members) => {
            to_amf(members.get("value").ok_or_else(|| format!("{name}: `value` is missing"))?)
        }
    };
    Ok(Command::Send(destination, value))
}

/// A JSON object or array as such, any other text as a string.
fn text_or_json(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Json::Object(_) | Json::Array(_))) => to_amf(&value),
        _ => text.into(),
    }
}

fn mode(arguments: Arguments<'_>) -> Result<Command, String> {
    let mode = match arguments {
        Arguments::Text(text) => text,
        Arguments::Json(members) => members.get("mode").and_then(Json::as_str).unwrap_or_default(),
    };
    match mode {
        "exact" => Ok(Command::Mode(ReceiveMode::Exact)),
        "nearest" => Ok(Command::Mode(ReceiveMode::Nearest)),
        _ => Err("mode: must be `exact` or `nearest`".to_owned()),
    }
}

/// JSON as AMF: objects become anonymous objects, arrays dense arrays, numbers doubles.
fn to_amf(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => number.as_f64().unwrap_or(f64::NAN).into(),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => {
            let dense = items.iter().map(to_amf).collect();
            Array { dense, named: Vec::new() }.into()
        }
        Json::Object(members) => {
            let add = |object: Object, (name, value): (&String, _)| {
                object.with(name.as_str(), to_amf(value))
            };
            members.iter().fold(Object::new(), add).into()
        }
    }
}

/// AMF as JSON, as `--save` writes it: bytes in hexadecimal, what JSON lacks as text.
pub(super) fn to_json(value: &Value) -> Json {
    let mut text = Vec::new();
    rtmfp::trace::json::write_amf(&mut rtmfp::trace::json::Json::new(&mut text), value);
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse(" hello  you "), Some(Ok(Command::Post("hello  you".into()))));
        assert_eq!(parse("/peers"), Some(Ok(Command::Peers)));
        assert_eq!(parse("/streams"), Some(Ok(Command::Streams)));
        assert_eq!(parse("/up 500K"), None, "a limit");
        assert_eq!(parse("  "), None);
        let object = Object::new().with("text", "hi").with("user", "me");
        assert_eq!(
            parse(r#"/post {"user":"me","text":"hi"}"#),
            Some(Ok(Command::Post(object.into())))
        );
        assert!(parse("/post {").unwrap().unwrap_err().starts_with("/post: no JSON"));
        assert_eq!(help().len(), COMMANDS.len() + 1);
    }

    #[test]
    fn directed() {
        let address = "0123456789abcdef".repeat(4);
        let nearest = Destination::Nearest(address.parse().unwrap());
        let hi = Some(Ok(Command::Send(nearest, "hi you".into())));
        assert_eq!(parse(&format!("/nearest {address}  hi you")), hi);
        let json = format!(r#"{{"command":"nearest","address":"{address}","value":"hi you"}}"#);
        assert_eq!(parse_json(&json), hi);
        let next = Destination::Next(SendMode::NextIncreasing);
        let object = Object::new().with("n", 1.0);
        assert_eq!(parse(r#"/next {"n":1}"#), Some(Ok(Command::Send(next, object.into()))));
        assert_eq!(parse("/all {n"), Some(Ok(Command::Send(Destination::All, "{n".into()))));
        assert_eq!(parse("/mode nearest"), Some(Ok(Command::Mode(ReceiveMode::Nearest))));
        for wrong in ["/nearest 12 hi", "/prev", "/mode", "/mode far"] {
            assert!(parse(wrong).unwrap().is_err(), "{wrong}");
        }
        assert!(parse_json(r#"{"command":"all"}"#).unwrap().is_err());
        assert!(parse_json(r#"{"command":"nearest","value":1}"#).unwrap().is_err());
    }

    #[test]
    fn objects() {
        let post =
            parse_json(r#"{"command":"post","value":[1.5,null,true,"x"]}"#).unwrap().unwrap();
        let Command::Post(value) = post else { panic!("{post:?}") };
        assert_eq!(to_json(&value), serde_json::json!([1.5, null, true, "x"]));
        assert_eq!(parse_json(r#"{"command":"quit"}"#), Some(Ok(Command::Quit)));
        assert_eq!(parse_json(r#"{"up_limit":"500K"}"#), None);
        assert_eq!(parse_json("no JSON"), None);
        assert!(parse_json(r#"{"command":"post"}"#).unwrap().is_err());
        let unknown = parse_json(r#"{"command":"fly"}"#).unwrap().unwrap_err();
        assert!(unknown.contains("no command `fly`, but post, nearest"), "{unknown}");
    }
}
