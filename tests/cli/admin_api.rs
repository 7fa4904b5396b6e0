//! The API of `rtmfp serve` against its description, with real clients connected.

use crate::admin::{GROUP, Served};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Holds the status of a server against its description, and returns it.
pub fn status(served: &Served) -> Value {
    let (api, status) = (served.json("api/v1/openapi.json"), served.json("api/v1/status"));
    check(&api, &api["components"]["schemas"]["Status"], &status, "status");
    status
}

/// Holds a value against a schema; unlike in JSON Schema, members that it does not name are faults.
fn check(api: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = api.pointer(name.strip_prefix('#').unwrap());
        return check(api, target.unwrap_or_else(|| panic!("no {name}")), value, at);
    }
    let known = ["type", "description", "properties", "required", "items", "enum", "pattern"];
    let known = [&known[..], &["minimum", "maximum"]].concat();
    for key in schema.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{at}: {key} is not checked");
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let is_of = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{at}: {other}"),
    };
    assert!(kinds.iter().any(is_of), "{at}: {value} is none of {kinds:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        assert_eq!(pattern, "^[0-9a-f]{64}$");
        let text = value.as_str().unwrap();
        assert!(text.len() == 64 && text.chars().all(|c| "0123456789abcdef".contains(c)), "{at}");
    }
    if let Some(number) = value.as_f64() {
        assert!(schema["minimum"].as_f64().is_none_or(|least| number >= least), "{at}: {number}");
        assert!(schema["maximum"].as_f64().is_none_or(|most| number <= most), "{at}: {number}");
    }
    if let Some(members) = value.as_object() {
        let listed = schema["properties"].as_object().unwrap();
        let names = |keys: &serde_json::Map<String, Value>| keys.keys().cloned().collect();
        let (is, should): (BTreeSet<String>, BTreeSet<String>) = (names(members), names(listed));
        assert_eq!(is, should, "{at}");
        for (name, member) in members {
            check(api, &listed[name], member, &format!("{at}.{name}"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(api, &schema["items"], item, &format!("{at}[{index}]"));
    }
}

/// Follows the events until a condition holds, which is looked at with each.
pub fn wait_for(served: &Served, mut is_so: impl FnMut() -> bool) {
    assert!(served.events().any(|_| is_so()), "the events end");
}

fn entries(served: &Served, path: &str) -> Vec<Value> {
    served.json(path)["entries"].as_array().unwrap().clone()
}

#[test]
fn every_answer_is_as_it_is_described() {
    let served = Served::start(&[]);
    let api = served.json("api/v1/openapi.json");
    assert_eq!(api["openapi"], "3.1.0");
    let first = served.member("chat", GROUP);
    served.until("joined");
    let second = served.member("chat", GROUP);
    served.until("introduced");
    let _third = served.member("films", "G:0103010c060e6f7468657200");
    wait_for(&served, || entries(&served, "api/v1/groups").len() == 2);

    let groups = entries(&served, "api/v1/groups");
    let chat = groups.iter().find(|group| group["members"] == 2).unwrap();
    let id = chat["id"].as_str().unwrap();
    let mut checked = 0;
    for (path, operations) in api["paths"].as_object().unwrap() {
        let responses = &operations["get"]["responses"];
        let url = path.strip_prefix('/').unwrap().replace("{id}", id);
        let response = served.get(&url, &[]);
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let kind = response.headers()["content-type"].to_str().unwrap();
        let kind = kind.split(';').next().unwrap();
        let described = responses["200"]["content"].as_object().unwrap();
        assert_eq!(described.keys().collect::<Vec<_>>(), [kind], "{path}");
        if kind == "application/json" {
            check(&api, &described[kind]["schema"], &served.json(&url), path);
            checked += 1;
        }
    }
    assert_eq!(checked, 6);
    let names = ["status", "report"];
    for (name, data) in served.events().take(3) {
        assert!(names.contains(&name.as_str()), "{name}");
        if name == "status" {
            check(&api, &api["components"]["schemas"]["Status"], &data, "event");
        }
    }

    // Both members, each once, and how they met.
    let group = served.json(&format!("api/v1/groups/{id}"));
    let members = group["members"].as_array().unwrap();
    assert_eq!((group["count"].as_u64(), members.len()), (Some(2), 2));
    wait_for(&served, || {
        let group = served.json(&format!("api/v1/groups/{id}"));
        let links = group["links"].as_array().unwrap().clone();
        links.iter().any(|link| link["outcome"] == "succeeded" && link["from"] != link["to"])
    });
    let introduction = entries(&served, "api/v1/introductions").pop().unwrap();
    assert!(introduction["asker"].is_string(), "{introduction}");
    let applications = entries(&served, "api/v1/applications");
    let named = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["clients"].clone());
    let named: Vec<_> = applications.iter().map(named).collect();
    assert_eq!(named, [("chat".to_owned(), 2.into()), ("films".to_owned(), 1.into())]);
    assert_eq!(served.json("api/v1/status")["clients"], 3);

    // Who leaves is gone from the list.
    drop((first, second));
    served.stop();
}

#[test]
fn long_lists_come_in_parts() {
    let served = Served::start(&[]);
    let members = ["a", "b", "c"].map(|app| served.member(app, GROUP));
    wait_for(&served, || served.json("api/v1/status")["clients"] == 3);
    for list in ["sessions", "applications"] {
        let whole = entries(&served, &format!("api/v1/{list}"));
        assert_eq!(whole.len(), 3);
        let key = if list == "sessions" { "peer_id" } else { "name" };
        let (mut read, mut after) = (Vec::new(), String::new());
        loop {
            let part = served.json(&format!("api/v1/{list}?limit=2{after}"));
            read.extend(part["entries"].as_array().unwrap().iter().map(|it| it[key].clone()));
            let Some(next) = part["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(read, whole.iter().map(|it| it[key].clone()).collect::<Vec<_>>(), "{list}");
    }
    drop(members);
    served.stop();
}

#[test]
fn wrong_requests_are_refused() {
    let served = Served::start(&[]);
    let unknown = "ab".repeat(32);
    for (path, status) in [
        ("sessions?limit=0", 400),
        ("sessions?limit=1001", 400),
        ("sessions?limit=-1", 400),
        ("sessions?after=xyz", 400),
        ("introductions?limit=x", 400),
        ("groups?after=1", 400),
        ("groups/xyz", 400),
        (&format!("groups/{unknown}"), 404),
        ("nothing", 404),
    ] {
        assert_eq!(served.get(&format!("api/v1/{path}"), &[]).status().as_u16(), status, "{path}");
    }
    served.stop();
}

#[test]
fn hostile_followers_of_events_are_bounded() {
    let served = Served::start(&[]);
    let mut open: Vec<_> = (0..32).map(|_| served.events()).collect();
    for events in &mut open {
        assert_eq!(events.next().unwrap().0, "status");
    }
    assert_eq!(served.get("api/v1/events", &[]).status().as_u16(), 503);
    assert_eq!(served.get("readyz", &[]).status().as_u16(), 200);
    // Places come back when readers go; the server notices it with what it sends next.
    open.truncate(1);
    let is_free = |_| served.get("api/v1/events", &[]).status().as_u16() == 200;
    assert!(open[0].any(is_free), "the events end");
    drop(open);
    served.stop();
}

#[test]
fn hostile_followers_that_read_nothing_hold_nobody_up() {
    let served = Served::start(&[]);
    let address = served.url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    let follow = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        // It has its place when the answer begins, and reads no further.
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        stream
    };
    let mut events = served.events();
    let silent: Vec<_> = (1..32).map(|_| follow()).collect();
    assert_eq!(served.get("api/v1/events", &[]).status().as_u16(), 503);
    let mut wait_for =
        |is_so: &dyn Fn() -> bool| assert!(events.any(|_| is_so()), "the events end");
    // Clients come, and the page is read.
    let mut members = Vec::new();
    for count in 1..=3 {
        members.push(served.member("a", GROUP));
        wait_for(&|| served.json("api/v1/status")["clients"] == count);
    }
    assert_eq!(served.get("readyz", &[]).status().as_u16(), 200);
    // Nor do they keep the server from stopping.
    drop(events);
    served.stop();
    drop(silent);
}
