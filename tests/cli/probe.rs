//! `rtmfp probe` and a server, as processes.
#![cfg(target_os = "linux")]

use crate::support::{Running, fail, own_port, rtmfp, succeed};
use serde_json::Value;

fn probe(url: &str) -> Value {
    let mut command = rtmfp(["probe", url, "--json", "--listen", "127.0.0.1:0"]);
    let (out, err) = succeed(&mut command);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

#[test]
fn a_server_with_one_address_tells_what_it_can() {
    for workers in ["1", "3"] {
        let (_server, address) = Running::server("127.0.0.1:0", ["--workers", workers]);
        let found = probe(&format!("rtmfp://{address}/app"));
        assert_eq!(found["event"], "probe");
        assert_eq!(found["server"], address.to_string());
        assert_eq!(
            (&found["mapping"], &found["filtering"]),
            (&"port-independent".into(), &"port-independent".into()),
            "{found}"
        );
        let public = found["public_address"].as_str().unwrap();
        assert!(public.starts_with("127.0.0.1:"), "{found}");
        assert_eq!((&found["translated"], &found["hairpin"]), (&false.into(), &Value::Null));
        assert!(found["datagram"].as_u64().unwrap() >= 1472, "{found}");
        assert!(found["unchecked"].is_null() && found["round_trip"].is_number(), "{found}");
    }
}

#[test]
fn a_server_with_three_addresses_tells_all() {
    let mut serve = rtmfp(["serve", "--listen", "127.0.0.1:0"]);
    serve.env("RTMFP_CONNECTIVITY_OTHER_ADDRESSES", r#"["127.0.0.2", "127.0.0.3"]"#);
    serve.env("RTMFP_CONNECTIVITY_PORT", own_port().to_string());
    let server = Running::start(&mut serve);
    let address = server.line().rsplit(' ').next().unwrap().to_owned();
    let url = format!("rtmfp://{address}/app");
    let found = probe(&url);
    assert_eq!(found["mapping"], "endpoint-independent", "{found}");
    assert_eq!(found["filtering"], "endpoint-independent", "{found}");
    assert_eq!(found["reachability"], "open", "{found}");
    let (text, _) = succeed(&mut rtmfp(["probe", &url, "--listen", "127.0.0.1:0"]));
    assert!(text.contains("anybody's datagrams get in"), "{text}");
    assert!(text.contains("Peers reach this host directly."), "{text}");
    // Ports are free again, those of checks as well.
    server.interrupt();
    assert_eq!(server.wait().0, Some(0));
    let again = Running::start(&mut serve);
    assert!(again.line().contains("listening on UDP"));
}

#[test]
fn a_server_that_checks_nothing_is_reached_nevertheless() {
    let mut serve = rtmfp(["serve", "--listen", "127.0.0.1:0"]);
    let server = Running::start(serve.env("RTMFP_CONNECTIVITY_ENABLED", "false"));
    let address = server.line().rsplit(' ').next().unwrap().to_owned();
    let found = probe(&format!("rtmfp://{address}/app"));
    assert!(
        found["unchecked"].as_str().unwrap().contains("makes no connectivity checks"),
        "{found}"
    );
    assert_eq!((&found["reachability"], &found["mapping"]), (&"unknown".into(), &Value::Null));
    assert!(found["datagram"].as_u64().unwrap() >= 1472, "{found}");
}

#[test]
fn a_server_that_is_not_reached_is_an_error_that_says_what_to_look_at() {
    let url = format!("rtmfp://127.0.0.1:{}/app", own_port());
    let args = ["probe", &url, "--timeout", "1s", "--listen", "127.0.0.1:0"];
    let err = fail(&mut rtmfp(args), 3);
    assert!(err.contains("not reached over UDP") && err.contains("firewall"), "{err}");
    let output = rtmfp(args).arg("--json").output().unwrap();
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&event["event"], &event["server"]), (&"unreachable".into(), &url.into()));
}
