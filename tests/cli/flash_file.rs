//! A file that a Flash application shares in its usual way, fetched by groupspec: object 0 is the
//! number of objects, the others are parts of 64,000 bytes.

use crate::support::{content, fail, rtmfp};
use rtmfp::amf::Value;
use rtmfp::peer::{Connection, GroupEvent, NetGroup, PeerConfig};
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder};
use rtmfp::server::{Server, ServerConfig};
use std::process::Command;

/// The length of the parts in the applications that followed Adobe's tutorial.
const PART: usize = 64_000;

fn spec() -> GroupSpec {
    let spec = GroupSpecBuilder::new("flash").unwrap();
    spec.object_replication(true).server_channel(true).build().unwrap()
}

/// Answers as the application does: `p2pSharedObject.data[index]`.
async fn serve(group: NetGroup, objects: Vec<Value>) {
    let mut events = group.events();
    while let Ok(event) = events.recv().await {
        if let GroupEvent::ReplicationRequest { index, request_id } = event {
            let object = &objects[usize::try_from(index).unwrap()];
            group.write_requested_object(request_id, object).await.unwrap();
        }
    }
}

async fn output(mut command: Command) -> std::process::Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_flash_application_is_fetched_by_its_groupspec() {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let config = ServerConfig::default().with_listen(listen.clone());
    let server = Server::start(config).await.unwrap();
    let via = format!("{}vod", server.client_uris()[0]);

    let bytes = content(1, 3 * PART + 1234);
    let parts = bytes.chunks(PART).map(|part| Value::ByteArray(part.to_vec().into()));
    let mut objects = vec![Value::Number(parts.len() as f64 + 1.0)];
    objects.extend(parts);
    let application = PeerConfig::default().with_listen(listen);
    let application = Connection::connect_with(application, &via).await.unwrap();
    let group = application.join(spec()).await.unwrap();
    group.add_have_objects(0, objects.len() as u64 - 1).await.unwrap();
    tokio::spawn(serve(group, objects));

    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.flv");
    let mut fetch = rtmfp(["fetch", spec().as_str(), "--via", &via, "--listen", "127.0.0.1:0"]);
    fetch.args(["--json", "-o"]).arg(&copy);
    let output = output(fetch).await;
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert!(err.contains("nothing vouches for what this group sends"), "{err}");
    let out = String::from_utf8_lossy(&output.stdout);
    let complete = out.lines().find(|line| line.contains("\"event\":\"complete\"")).unwrap();
    assert!(complete.contains("\"verified\":false"), "{complete}");
}

#[test]
fn a_groupspec_alone_is_not_enough() {
    let spec = spec();
    let err = fail(&mut rtmfp(["fetch", spec.as_str()]), 2);
    assert!(err.contains("name it with --via rtmfp://HOST/APP"), "{err}");
    let check = ["fetch", spec.as_str(), "--via", "rtmfp://127.0.0.1:9/a", "--check"];
    assert!(fail(&mut rtmfp(check), 2).contains("--check needs a link"));
}
