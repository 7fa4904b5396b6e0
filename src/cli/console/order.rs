//! The lines, as words and as JSON.

use crate::cli::limits::parse_neighbors;
use rtmfp::peer::Bandwidth;
use serde_json::Value;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Change(Change),
    Limits,
    Help,
    /// An empty line.
    Nothing,
}

/// Limits that are to be changed; `None` stays as it is, and `Some(None)` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) up: Option<Option<Bandwidth>>,
    pub(crate) down: Option<Option<Bandwidth>>,
    pub(crate) max_neighbors: Option<usize>,
    pub(crate) is_metered: Option<bool>,
}

/// The orders that there are.
pub(super) fn help(has_slash: bool) -> [String; 5] {
    let (slash, width) = if has_slash { ("/", 22) } else { ("", 20) };
    [
        ("up RATE|off", "send at most this much: 500K, 1.5MB/s, 4Mbit/s"),
        ("down RATE|off", "receive at most this much"),
        ("neighbours N", "connect to at most this many members"),
        ("metered on|off", "offer nothing to others, or offer again"),
        ("limits", "show what is in force"),
    ]
    .map(|(usage, text)| format!("{slash}{usage:<width$}{text}"))
}

/// Reads a line of a person.
pub(super) fn parse(line: &str, has_slash: bool) -> Result<Order, String> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Ok(Order::Nothing) };
    let word = if has_slash { first.strip_prefix('/') } else { Some(first) };
    let value = words.collect::<Vec<_>>().join(" ");
    let mut change = Change::default();
    match word {
        Some("limits") if value.is_empty() => return Ok(Order::Limits),
        Some("help" | "?") => return Ok(Order::Help),
        Some("up") => change.up = Some(rate(first, &value)?),
        Some("down") => change.down = Some(rate(first, &value)?),
        Some("neighbours" | "neighbors") => {
            let number = parse_neighbors(&value).map_err(|error| format!("{first}: {error}"))?;
            change.max_neighbors = Some(number);
        }
        Some("metered") => match value.as_str() {
            "on" => change.is_metered = Some(true),
            "off" => change.is_metered = Some(false),
            _ => return Err(format!("{first}: write `on` or `off`")),
        },
        _ => {
            let slash = if has_slash { "/" } else { "" };
            return Err(format!("there is no `{first}`; {slash}help lists what there is"));
        }
    }
    Ok(Order::Change(change))
}

/// Reads an object with some of `up_limit`, `down_limit`, `max_neighbours` and `metered`. An empty one
/// asks for the limits.
pub(super) fn parse_json(line: &str) -> Result<Order, String> {
    if line.trim().is_empty() {
        return Ok(Order::Nothing);
    }
    let value: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(members) = value else { return Err("an object is expected".to_owned()) };
    if members.is_empty() {
        return Ok(Order::Limits);
    }
    let mut change = Change::default();
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("up_limit", Value::Null) => change.up = Some(None),
            ("up_limit", value) => change.up = Some(rate(name, &text(value))?),
            ("down_limit", Value::Null) => change.down = Some(None),
            ("down_limit", value) => change.down = Some(rate(name, &text(value))?),
            ("max_neighbours" | "max_neighbors", value) => {
                let number = parse_neighbors(&text(value));
                change.max_neighbors = Some(number.map_err(|error| format!("{name}: {error}"))?);
            }
            ("metered", Value::Bool(is_metered)) => change.is_metered = Some(*is_metered),
            ("metered", _) => return Err("metered: `true` or `false` is expected".to_owned()),
            _ => {
                return Err(format!(
                    "there is no `{name}`, but up_limit, down_limit, max_neighbours and metered"
                ));
            }
        }
    }
    Ok(Order::Change(change))
}

/// A value as people write it. A number is one of bytes a second.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn rate(name: &str, value: &str) -> Result<Option<Bandwidth>, String> {
    match value {
        "off" => Ok(None),
        "" => Err(format!("{name}: write a rate, as 500K or 4Mbit/s, or `off`")),
        value => value.parse().map(Some).map_err(|error| format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u64) -> Option<Option<Bandwidth>> {
        Some(Some(Bandwidth::bytes_per_second(number)))
    }

    #[test]
    fn words() {
        let change = |line: &str| match parse(line, false) {
            Ok(Order::Change(change)) => change,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(change("up 500K"), Change { up: bytes(500_000), ..Change::default() });
        assert_eq!(change("down 4 Mbit/s"), Change { down: bytes(500_000), ..Change::default() });
        assert_eq!(change(" down  off "), Change { down: Some(None), ..Change::default() });
        assert_eq!(change("neighbours 8").max_neighbors, Some(8));
        assert_eq!(change("metered on").is_metered, Some(true));
        assert_eq!(parse("limits", false), Ok(Order::Limits));
        assert_eq!(parse("help", false), Ok(Order::Help));
        assert_eq!(parse("  ", false), Ok(Order::Nothing));
        for (wrong, explanation) in [
            ("up", "write a rate"),
            ("up fast", "up: "),
            ("neighbours 3", "from 6 to 1000"),
            ("metered maybe", "`on` or `off`"),
            ("upp 500K", "there is no `upp`; help lists"),
            ("/up 500K", "there is no `/up`"),
        ] {
            let error = parse(wrong, false).unwrap_err();
            assert!(error.contains(explanation), "{wrong}: {error}");
        }
    }

    #[test]
    fn words_after_a_slash() {
        assert_eq!(parse("/limits", true), Ok(Order::Limits));
        assert!(parse("/up 1M", true).is_ok());
        let error = parse("up 1M", true).unwrap_err();
        assert!(error.contains("/help lists"), "{error}");
    }

    #[test]
    fn objects() {
        let all = r#"{"up_limit":"500K","down_limit":null,"max_neighbours":8,"metered":true}"#;
        let change = Change {
            up: bytes(500_000),
            down: Some(None),
            max_neighbors: Some(8),
            is_metered: Some(true),
        };
        assert_eq!(parse_json(all), Ok(Order::Change(change)));
        let number = parse_json(r#"{"up_limit":20000}"#);
        let expected = Change { up: bytes(20_000), ..Change::default() };
        assert_eq!(number, Ok(Order::Change(expected)));
        assert_eq!(parse_json("{}"), Ok(Order::Limits));
        assert_eq!(parse_json(""), Ok(Order::Nothing));
        for (wrong, explanation) in [
            ("up 500K", "no JSON"),
            ("[1]", "an object is expected"),
            (r#"{"up":"500K"}"#, "there is no `up`"),
            (r#"{"up_limit":true}"#, "up_limit: "),
            (r#"{"max_neighbours":5}"#, "from 6 to 1000"),
            (r#"{"metered":"on"}"#, "`true` or `false`"),
        ] {
            let error = parse_json(wrong).unwrap_err();
            assert!(error.contains(explanation), "{wrong}: {error}");
        }
    }
}
