//! Object replication between two members of a group.
//!
//! With a rendezvous server running (`rtmfp serve`), type this in one terminal:
//!
//! ```text
//! $ cargo run --example group_member rtmfp://127.0.0.1/example provide
//! I am 5e1d…, a member of the group example/poem
//! I have 3 objects
//! neighbor 77c0… connected
//! sent object 0 to a neighbor
//! sent object 1 to a neighbor
//! sent object 2 to a neighbor
//! ```
//!
//! and this in another, as often as you like:
//!
//! ```text
//! $ cargo run --example group_member rtmfp://127.0.0.1/example fetch
//! I am 77c0…, a member of the group example/poem
//! neighbor 5e1d… connected
//! object 0: "Tiger, tiger, burning bright"
//! object 1: {author: "William Blake", year: 1794}
//! object 2: [1, 2, 3]
//! ```

use rtmfp::GroupSpecBuilder;
use rtmfp::amf::Value;
use rtmfp::peer::{Connection, GroupEvent, NetGroup, RecvError};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (uri, provide) = match args.as_slice() {
        [uri, role] if role == "provide" => (uri, true),
        [uri, role] if role == "fetch" => (uri, false),
        _ => return Err("usage: group_member rtmfp://HOST/APP provide|fetch".into()),
    };

    let connection = Connection::connect(uri).await?;
    let spec = GroupSpecBuilder::new("example/poem")?
        .object_replication(true)
        .server_channel(true)
        .build()?;
    let group = connection.join(spec).await?;
    println!("I am {}, a member of the group {}", connection.peer_id(), group.spec().name());

    if provide {
        run_provider(&group).await?
    } else {
        run_fetcher(&group).await?
    }
    connection.close(Duration::from_secs(2)).await?;
    Ok(())
}

fn objects() -> [Value; 3] {
    [
        Value::from("Tiger, tiger, burning bright"),
        Value::object([("author", Value::from("William Blake")), ("year", Value::from(1794))]),
        Value::array([1, 2, 3]),
    ]
}

/// Answers requests until Ctrl-C.
async fn run_provider(group: &NetGroup) -> Result<(), Box<dyn std::error::Error>> {
    let objects = objects();
    group.add_have_objects(0, objects.len() as u64 - 1).await?;
    println!("I have {} objects", objects.len());
    let mut events = group.events();
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        match event {
            Ok(GroupEvent::ReplicationRequest { index, request_id }) => {
                let object = usize::try_from(index).ok().and_then(|index| objects.get(index));
                match object {
                    Some(object) => group.write_requested_object(request_id, object).await?,
                    None => group.deny_requested_object(request_id).await?,
                };
                println!("sent object {index} to a neighbor");
            }
            Ok(GroupEvent::NeighborConnect { peer_id, .. }) => {
                println!("neighbor {peer_id} connected");
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// Fetches every object and ends.
async fn run_fetcher(group: &NetGroup) -> Result<(), Box<dyn std::error::Error>> {
    group.add_want_objects(0, 2).await?;
    let mut events = group.events();
    let mut fetched = 0;
    while fetched < 3 {
        match events.recv().await {
            Ok(GroupEvent::ReplicationFetchResult { index, object, .. }) => {
                println!("object {index}: {}", object.decode()?);
                fetched += 1;
            }
            Ok(GroupEvent::NeighborConnect { peer_id, .. }) => {
                println!("neighbor {peer_id} connected");
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => break,
        }
    }
    Ok(())
}
