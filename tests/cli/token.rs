//! Tokens: `rtmfp token`, a server that needs them, and those that others make by `docs/tokens.md`.
#![cfg(unix)]

use crate::support::{Running, Share, fail, rtmfp, succeed, write_file};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The secret in the examples of the documentation.
pub const SECRET: &str = "4b1d0b7f0c6d5d9b3a0e6f8c2a917e5d";

/// A member that connects with this URL.
fn join(url: &str) -> Command {
    rtmfp(["join", "G:0103010c050e6368617400", "--listen", "127.0.0.1:0", "--via", url])
}

/// A server that needs tokens, and its URL.
fn server(secrets: &Path) -> (Running, String) {
    let mut serve = rtmfp(["serve", "--json", "--listen", "127.0.0.1:0", "--secret-file"]);
    let server = Running::start(serve.arg(secrets));
    let url = event(&server, "listening")["urls"][0].as_str().unwrap().to_owned();
    (server, url)
}

fn event(server: &Running, name: &str) -> Value {
    let wanted = format!("\"event\":\"{name}\"");
    let line = server.until(|line| line.contains(&wanted)).pop().unwrap();
    serde_json::from_str(&line).unwrap()
}

pub fn token(secrets: &Path, more: &[&str]) -> String {
    let mut command = rtmfp(["token", "--secret-file", secrets.to_str().unwrap()]);
    succeed(command.args(more)).0.trim().to_owned()
}

#[test]
fn clients_need_a_token_that_the_command_makes() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secret");
    let err = fail(rtmfp(["serve", "-l", "127.0.0.1:0", "--secret-file"]).arg(&secrets), 1);
    assert!(err.contains("can't read the secret file") && err.contains("`rtmfp token"), "{err}");
    let old = token(&secrets, &["--app", "chat", "--name", "Ann"]);
    let (server, url) = server(&secrets);

    let err = fail(&mut join(&format!("{url}chat")), 1);
    assert!(err.contains("a token is needed: rtmfp://host/app?token="), "{err}");
    let refused = event(&server, "client_refused");
    assert_eq!(refused["reason"], "a token is needed: rtmfp://host/app?token=…");
    let err = fail(&mut join(&format!("{url}tv?token={old}")), 1);
    assert!(err.contains("the token is for another application"), "{err}");
    let refused = event(&server, "client_refused");
    assert_eq!(refused["app"], "tv?token=…");
    let member = Running::start(&mut join(&format!("{url}chat/room?token={old}")));
    let connected = event(&server, "client_connected");
    assert_eq!(
        (&connected["app"], &connected["name"]),
        (&"chat/room?token=…".into(), &"Ann".into())
    );

    // Another secret; who is connected stays.
    let second = directory.path().join("second");
    let new = token(&second, &["--publish", "cam"]);
    fs::copy(&second, &secrets).unwrap();
    server.signal("-HUP");
    event(&server, "reloaded");
    let err = fail(&mut join(&format!("{url}chat?token={old}")), 1);
    assert!(err.contains("the token is not valid"), "{err}");
    let other = Running::start(&mut join(&format!("{url}chat?token={new}")));
    assert_eq!(event(&server, "client_connected")["name"], Value::Null);
    member.interrupt();
    other.interrupt();
    server.interrupt();
    let (status, lines, log) = server.wait();
    assert_eq!(status, Some(0), "{log}");
    let all = lines.join("\n") + &log;
    for secret in [&old, &new, fs::read_to_string(&secrets).unwrap().trim()] {
        assert!(!all.contains(&secret[8..]), "{all}");
    }
}

#[test]
fn a_token_of_a_share_is_in_its_link_only_if_that_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let (secrets, file) = (directory.path().join("secret"), directory.path().join("film.bin"));
    let bytes = write_file(&file, 1, 100_000);
    let (mine, yours) = (token(&secrets, &["--name", "me"]), token(&secrets, &["--name", "you"]));
    let (_server, url) = server(&secrets);
    let share = |via: &str, more: &[&str]| {
        let args = [file.to_str().unwrap(), "--listen", "127.0.0.1:0", "--via", via];
        Share::start(args.iter().chain(more))
    };
    let fetch = |link: &str, copy: &str, more: &[&str]| {
        let mut command = rtmfp(["fetch", link, "--listen", "127.0.0.1:0", "-o"]);
        command.arg(directory.path().join(copy)).args(more);
        command
    };
    let read = |copy: &str| fs::read(directory.path().join(copy)).unwrap();
    let mut shared = share(&format!("{url}films?x=1&token={mine}"), &[]);
    assert!(shared.link.contains("/app=films%3Fx%3D1/"), "{}", shared.link);
    assert!(!shared.link.contains(&mine[8..]), "{}", shared.link);
    let err = fail(&mut fetch(&shared.link, "none", &[]), 1);
    assert!(err.contains("a token is needed"), "{err}");
    let via = format!("{url}films?x=1&token={yours}");
    succeed(&mut fetch(&shared.link, "first", &["--via", &via]));
    assert!(read("first") == bytes);
    shared.interrupt();
    let (_, err) = shared.wait();
    assert!(err.contains("the token is not in the link") && !err.contains(&mine[8..]), "{err}");

    let shared = share(&format!("{url}films?token={mine}"), &["--token-in-link"]);
    assert!(shared.link.contains(&mine[8..]), "{}", shared.link);
    succeed(&mut fetch(&shared.link, "second", &[]));
    assert!(read("second") == bytes);
}

/// The example of this language in the documentation.
fn example(language: &str) -> String {
    let docs = fs::read_to_string("docs/tokens.md").unwrap();
    let (_, rest) = docs.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// What a program prints, unless it is not installed.
fn printed(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output().ok()?;
    assert!(output.status.success(), "{program}");
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A token made by `openssl` as on a command line, for hosts without the languages of the examples.
fn by_openssl() -> Option<String> {
    let script = format!(
        r#"part() {{ openssl base64 -A | tr '+/' '-_' | tr -d '='; }}
        text=$(printf '{{"alg":"HS256"}}' | part).$(printf '{{"exp":9999999999}}' | part)
        echo $text.$(printf %s $text | openssl dgst -sha256 -hmac {SECRET} -binary | part)"#
    );
    printed("openssl", &["version"])?;
    printed("sh", &["-c", &script])
}

#[test]
fn tokens_made_by_the_examples_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secret");
    fs::write(&secrets, format!("2026-12 {SECRET}\n")).unwrap();
    let (server, url) = server(&secrets);
    let tokens = [
        printed("python3", &["-c", &example("python")]),
        printed("php", &["-r", &example("php")]),
        by_openssl(),
    ];
    assert!(tokens.iter().any(Option::is_some), "none of python3, php and openssl is installed");
    for token in tokens.iter().flatten() {
        let member = Running::start(&mut join(&format!("{url}chat?token={token}")));
        event(&server, "client_connected");
        member.interrupt();
        event(&server, "client_gone");
    }
    let one = tokens.iter().flatten().next().unwrap();
    let err = fail(&mut join(&format!("{url}chat?token={one}x")), 1);
    assert!(err.contains("the token is not valid"), "{err}");
}

#[test]
fn mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secret");
    fs::write(&secrets, "k1 secret\n").unwrap();
    let path = secrets.to_str().unwrap();
    let err = fail(&mut rtmfp(["token", "--secret-file", path]), 1);
    assert!(err.contains("the secret in line 1 is shorter than 32 characters"), "{err}");
    let err = fail(&mut rtmfp(["token", "--secret-file", path, "--valid", "soon"]), 2);
    assert!(err.contains("--valid"), "{err}");
    fs::write(&secrets, format!("{SECRET}\n")).unwrap();
    let long = "x".repeat(1000);
    let err = fail(&mut rtmfp(["token", "--secret-file", path, "--app", &long]), 1);
    assert!(err.contains("give fewer names"), "{err}");
}
