//! What is typed while a member runs: commands after a slash, or objects with `--json`; any other line
//! is posted. The limits are the console's own (`crate::cli::console`).

use super::objects::parse_ranges;
use rtmfp::Fingerprint;
use rtmfp::amf::{Array, Object, Value};
use rtmfp::peer::{GroupAddress, ReceiveMode, SendMode};
use rtmfp::proto::range::{IndexSet, MAX_INDEX};
use serde::Serialize;
use serde_json::Value as Json;

/// Something that the member is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Post(Value),
    Send(Destination, Value),
    Mode(ReceiveMode),
    /// Offer a value as an object.
    Have(u64, Value),
    Unhave(IndexSet),
    Want(IndexSet),
    Unwant(IndexSet),
    Objects,
    /// Make a peer a neighbor.
    Connect(Fingerprint),
    /// Note a peer as a member.
    Hint(Fingerprint),
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
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// Its word after the slash, and its `command` in JSON.
    #[serde(rename = "command")]
    name: &'static str,
    #[serde(skip)]
    arguments: &'static str,
    /// The members that its JSON object has besides.
    members: &'static [&'static str],
    help: &'static str,
    /// What follows the word, as text or as the JSON object that has `command`.
    #[serde(skip)]
    parse: fn(Arguments<'_>) -> Result<Command, String>,
}

enum Arguments<'a> {
    Text(&'a str),
    Json(&'a serde_json::Map<String, Json>),
}

pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "post",
        arguments: "JSON",
        members: &["value"],
        help: "post a value to all members",
        parse: post,
    },
    Entry {
        name: "nearest",
        arguments: "ADDRESS TEXT",
        members: &["address", "value"],
        help: "send to the neighbour nearest to an address",
        parse: nearest,
    },
    Entry {
        name: "next",
        arguments: "TEXT",
        members: &["value"],
        help: "send to the neighbour with the next higher address",
        parse: |arguments| send("next", Destination::Next(SendMode::NextIncreasing), arguments),
    },
    Entry {
        name: "prev",
        arguments: "TEXT",
        members: &["value"],
        help: "send to the neighbour with the next lower address",
        parse: |arguments| send("prev", Destination::Next(SendMode::NextDecreasing), arguments),
    },
    Entry {
        name: "all",
        arguments: "TEXT",
        members: &["value"],
        help: "send to all neighbours",
        parse: |arguments| send("all", Destination::All, arguments),
    },
    Entry {
        name: "mode",
        arguments: "exact|nearest",
        members: &["mode"],
        help: "receive what is sent to this address, or near it",
        parse: mode,
    },
    Entry {
        name: "have",
        arguments: "INDEX TEXT",
        members: &["index", "value"],
        help: "offer a value as an object",
        parse: have,
    },
    Entry {
        name: "unhave",
        arguments: "RANGES",
        members: &["ranges"],
        help: "offer these objects no longer",
        parse: |arguments| ranges("unhave", arguments).map(Command::Unhave),
    },
    Entry {
        name: "want",
        arguments: "RANGES",
        members: &["ranges"],
        help: "fetch these objects, as 0-9,20",
        parse: |arguments| ranges("want", arguments).map(Command::Want),
    },
    Entry {
        name: "unwant",
        arguments: "RANGES",
        members: &["ranges"],
        help: "fetch these objects no longer",
        parse: |arguments| ranges("unwant", arguments).map(Command::Unwant),
    },
    Entry {
        name: "objects",
        arguments: "",
        members: &[],
        help: "show which objects are here, and which are wanted",
        parse: |_| Ok(Command::Objects),
    },
    Entry {
        name: "connect",
        arguments: "PEER_ID",
        members: &["peer_id"],
        help: "make this peer a neighbour",
        parse: |arguments| peer("connect", arguments).map(Command::Connect),
    },
    Entry {
        name: "hint",
        arguments: "PEER_ID",
        members: &["peer_id"],
        help: "note this peer as a member",
        parse: |arguments| peer("hint", arguments).map(Command::Hint),
    },
    Entry {
        name: "peers",
        arguments: "",
        members: &[],
        help: "list the neighbours",
        parse: |_| Ok(Command::Peers),
    },
    Entry {
        name: "streams",
        arguments: "",
        members: &[],
        help: "list the streams that go on",
        parse: |_| Ok(Command::Streams),
    },
    Entry {
        name: "stats",
        arguments: "",
        members: &[],
        help: "show counters",
        parse: |_| Ok(Command::Stats),
    },
    Entry {
        name: "help",
        arguments: "",
        members: &[],
        help: "list the commands",
        parse: |_| Ok(Command::Help),
    },
    Entry {
        name: "quit",
        arguments: "",
        members: &[],
        help: "leave the group",
        parse: |_| Ok(Command::Quit),
    },
];

/// The commands with their explanations.
pub(super) fn help(is_posting: bool) -> Vec<String> {
    let line = |entry: &Entry| {
        let usage = format!("/{} {}", entry.name, entry.arguments);
        format!("{usage:<23}{}", entry.help)
    };
    let posted = is_posting.then(|| "a line without a slash is posted to all members".to_owned());
    posted.into_iter().chain(COMMANDS.iter().map(line)).collect()
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
    let Some(name) = members.get("command")?.as_str() else {
        return Some(Err("`command` must be a text".to_owned()));
    };
    let Some(entry) = find(name) else {
        let names: Vec<_> = COMMANDS.iter().map(|entry| entry.name).collect();
        return Some(Err(format!("there is no command `{name}`, but {}", names.join(", "))));
    };
    let known = |member: &str| member == "command" || entry.members.contains(&member);
    if let Some(unknown) = members.keys().find(|member| !known(member)) {
        return Some(Err(format!("{name}: there is no `{unknown}`{}", entry.expected())));
    }
    Some((entry.parse)(Arguments::Json(&members)))
}

impl Entry {
    fn expected(&self) -> String {
        match self.members {
            [] => ", nor anything else".to_owned(),
            members => format!(", but {}", members.join(", ")),
        }
    }
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

fn have(arguments: Arguments<'_>) -> Result<Command, String> {
    const USAGE: &str = "have: `index` must be a number of at most 2^53";
    let (index, value) = match arguments {
        Arguments::Text(text) => {
            let (index, text) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            if text.is_empty() {
                return Err("/have: write an index and the object, as /have 7 hello".to_owned());
            }
            (index.parse().ok(), text_or_json(text.trim()))
        }
        Arguments::Json(members) => {
            let value = members.get("value").ok_or("have: `value` is missing")?;
            (members.get("index").and_then(Json::as_u64), to_amf(value))
        }
    };
    let index = index.filter(|index| *index <= MAX_INDEX).ok_or(USAGE)?;
    Ok(Command::Have(index, value))
}

fn ranges(name: &str, arguments: Arguments<'_>) -> Result<IndexSet, String> {
    let text = match arguments {
        Arguments::Text(text) => text.to_owned(),
        Arguments::Json(members) => match members.get("ranges") {
            Some(Json::String(text)) => text.clone(),
            Some(Json::Number(number)) => number.to_string(),
            _ => return Err(format!("{name}: `ranges` must be a text like 0-9,20")),
        },
    };
    parse_ranges(&text).map_err(|error| format!("{name}: {error}"))
}

fn peer(name: &str, arguments: Arguments<'_>) -> Result<Fingerprint, String> {
    let text = match arguments {
        Arguments::Text(text) => text,
        Arguments::Json(members) => {
            members.get("peer_id").and_then(Json::as_str).unwrap_or_default()
        }
    };
    text.parse().map_err(|error| format!("{name}: {error}"))
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
        assert_eq!(help(true).len(), COMMANDS.len() + 1);
        assert_eq!(help(false).len(), COMMANDS.len());
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
    fn objects_of_the_group() {
        let have = Some(Ok(Command::Have(7, "hi you".into())));
        assert_eq!(parse("/have 7 hi you"), have);
        assert_eq!(parse_json(r#"{"command":"have","index":7,"value":"hi you"}"#), have);
        let want = Some(Ok(Command::Want(parse_ranges("0-9,20").unwrap())));
        assert_eq!(parse("/want 0-9,20"), want);
        assert_eq!(parse_json(r#"{"command":"want","ranges":"0-9,20"}"#), want);
        let one = Some(Ok(Command::Unwant(parse_ranges("5").unwrap())));
        assert_eq!(parse_json(r#"{"command":"unwant","ranges":5}"#), one);
        for wrong in ["/have", "/have 7", "/have x y", "/have 9007199254740993 y", "/unhave 9-1"] {
            assert!(parse(wrong).unwrap().is_err(), "{wrong}");
        }
        for wrong in [r#""have","value":1"#, r#""have","index":-1,"value":1"#, r#""want""#] {
            assert!(parse_json(&format!(r#"{{"command":{wrong}}}"#)).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn peers() {
        let id = "ab".repeat(32);
        let connect = Some(Ok(Command::Connect(id.parse().unwrap())));
        assert_eq!(parse(&format!("/connect {id}")), connect);
        assert_eq!(parse_json(&format!(r#"{{"command":"connect","peer_id":"{id}"}}"#)), connect);
        let wrong = parse("/hint 12").unwrap().unwrap_err();
        assert_eq!(wrong, "hint: a peer ID has 64 hexadecimal digits");
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
        let wrong = |line: &str| parse_json(line).unwrap().unwrap_err();
        assert_eq!(wrong(r#"{"command":5}"#), "`command` must be a text");
        assert_eq!(
            wrong(r#"{"command":"post","valeu":1}"#),
            "post: there is no `valeu`, but value"
        );
        assert_eq!(
            wrong(r#"{"command":"quit","now":1}"#),
            "quit: there is no `now`, nor anything else"
        );
    }
}
