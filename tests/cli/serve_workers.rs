//! `rtmfp serve --workers`: what a hangup changes it changes at all workers. The operating system spreads
//! the clients over the workers; of so many some are at each.
#![cfg(target_os = "linux")]

use crate::admin::{Served, metric};
use crate::admin_api::wait_for;
use crate::token::{SECRET, token};
use rtmfp::peer::{ConnectError, Connection, PeerConfig};
use rtmfp::proto::crypto::DhGroup;
use rtmfp::proto::group::GroupSpecBuilder;
use serde_json::json;
use std::fs;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const CLIENTS: usize = 16;

/// What becomes of clients that connect at the same time.
fn connect(runtime: &Runtime, uri: &str) -> Vec<Result<Connection, ConnectError>> {
    runtime.block_on(async {
        let mut attempts = JoinSet::new();
        for _ in 0..CLIENTS {
            let uri = uri.to_owned();
            attempts.spawn(async move {
                let mut config = PeerConfig::default();
                config.identity.groups = vec![DhGroup::Modp2];
                Connection::connect_with(config, &uri).await
            });
        }
        attempts.join_all().await
    })
}

fn let_in(runtime: &Runtime, uri: &str) -> Vec<Connection> {
    let outcomes = connect(runtime, uri);
    outcomes.into_iter().map(|outcome| outcome.unwrap()).collect()
}

fn turned_away(runtime: &Runtime, uri: &str, why: &str) {
    for outcome in connect(runtime, uri) {
        let error = outcome.map(|_| "it is let in").unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_hangup_changes_limits_applications_and_secrets_at_every_worker() {
    let directory = tempfile::tempdir().unwrap();
    let (file, secrets) = (directory.path().join("serve.toml"), directory.path().join("secret"));
    let write = |text: &str| fs::write(&file, format!("workers = 3\n{text}")).unwrap();
    write("");
    let served = Served::start(&["--config", file.to_str().unwrap()]);
    let reload = || {
        served.hang_up();
        served.until("reloaded")["changed"].clone()
    };
    let runtime = Runtime::new().unwrap();
    let (tv, chat) = (format!("{}tv", served.uri), format!("{}chat", served.uri));
    let _viewers = let_in(&runtime, &tv);

    write("applications = [\"chat\"]\n[limits]\ngroups_per_client = 0\n");
    assert_eq!(reload(), json!(["applications", "limits.groups_per_client"]));
    turned_away(&runtime, &tv, "there is no application \"tv\" here");
    let clients = let_in(&runtime, &chat);
    let mut groups = Vec::new();
    for client in &clients {
        let spec = GroupSpecBuilder::new("full").unwrap().server_channel(true).build().unwrap();
        groups.push(runtime.block_on(client.join(spec)).unwrap());
    }
    let refused = "rtmfp_refused_total{reason=\"join\"}";
    wait_for(&served, || metric(&served.text("metrics"), refused) >= CLIENTS as f64);
    assert_eq!(metric(&served.text("metrics"), "rtmfp_groups"), 0.0);

    // Who is connected stays.
    let old = token(&secrets, &[]);
    write(&format!("[auth]\nsecret_file = \"{}\"\n", secrets.display()));
    let changed = ["applications", "auth.secret_file", "limits.groups_per_client"];
    assert_eq!(reload(), json!(changed));
    turned_away(&runtime, &chat, "a token is needed");
    let with = |token: &str| format!("{chat}?token={token}");
    let_in(&runtime, &with(&old));

    // Other secrets in the same file.
    fs::remove_file(&secrets).unwrap();
    let new = token(&secrets, &[]);
    assert_eq!(reload(), json!(["auth.secret_file"]));
    turned_away(&runtime, &with(&old), "the token is not valid");
    let_in(&runtime, &with(&new));
    // A comment is none.
    let text = fs::read_to_string(&secrets).unwrap();
    fs::write(&secrets, format!("# of December\n{text}")).unwrap();
    assert_eq!(reload(), json!([]));
    fs::write(&secrets, format!("{text}\nold {SECRET}\n")).unwrap();
    assert_eq!(reload(), json!(["auth.secret_file"]));
    assert!(metric(&served.text("metrics"), "rtmfp_clients") >= 2.0 * CLIENTS as f64);
    drop((groups, clients));
    let log = served.stop_with_log();
    assert!(!log.contains("ERROR"), "{log}");
}
