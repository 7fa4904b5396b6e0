//! What is typed while a member runs: commands after a slash, or objects with `--json`; any other line
//! is posted. The limits are the console's own (`crate::cli::console`).

use rtmfp::amf::{Array, Object, Value};
use serde_json::Value as Json;

/// Something that the member is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Post(Value),
    Peers,
    Stats,
    Help,
    Quit,
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
        name: "peers",
        arguments: "",
        help: "list the neighbours",
        parse: |_| Ok(Command::Peers),
    },
    Entry { name: "stats", arguments: "", help: "show counters", parse: |_| Ok(Command::Stats) },
    Entry { name: "help", arguments: "", help: "list the commands", parse: |_| Ok(Command::Help) },
    Entry { name: "quit", arguments: "", help: "leave the group", parse: |_| Ok(Command::Quit) },
];

/// The commands with their explanations.
pub(super) fn help() -> Vec<String> {
    let line = |entry: &Entry| {
        let usage = format!("/{} {}", entry.name, entry.arguments);
        format!("{usage:<21}{}", entry.help)
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
        assert!(unknown.contains("no command `fly`, but post, peers"), "{unknown}");
    }
}
