//! A server with several workers over real sockets on loopback. The operating system spreads the
//! clients over the workers; of the many pairs here some are always apart.
#![cfg(target_os = "linux")]

use rtmfp::amf::Value;
use rtmfp::driver::{BindError, KeyLogFile};
use rtmfp::peer::{
    Body, Connection, Message, NetGroup, NetStreamError, NetStreamEvent, PeerConfig, StreamError,
};
use rtmfp::proto::crypto::DhGroup;
use rtmfp::proto::group::GroupSpecBuilder;
use rtmfp::server::{Server, ServerConfig, ServerError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Nothing here takes this long unless it hangs.
const GRACE: Duration = Duration::from_secs(600);
const WORKERS: usize = 3;

fn config() -> ServerConfig {
    let listen = ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap());
    ServerConfig::default().with_listen(listen.into()).with_workers(WORKERS)
}

async fn connect(server: &Server, count: usize) -> Vec<Connection> {
    let uris = server.client_uris();
    let mut connections = Vec::new();
    for number in 0..count {
        let mut config = PeerConfig::default();
        config.identity.groups = vec![DhGroup::Modp2];
        config.node.server_timeout = GRACE;
        let uri = &uris[number % uris.len()];
        connections.push(Connection::connect_with(config, uri).await.unwrap());
    }
    connections
}

#[tokio::test]
async fn clients_of_all_workers_are_clients_of_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    let path = directory.path().join("keys");
    config.key_log = Some(KeyLogFile::open(&path).unwrap());
    let server = Server::start(config).await.unwrap();
    let listening = server.local_addresses().to_vec();
    assert_eq!(listening.len(), 2, "one port of each version of IP for all workers");

    let clients = connect(&server, 12).await;
    let (heard, mut calls) = mpsc::unbounded_channel();
    for (number, client) in clients.iter().enumerate() {
        let heard = heard.clone();
        let set = client.set_method("onRelay", move |args: &[Value]| {
            let _ = heard.send((number, args[1].clone()));
            Ok(Value::Undefined)
        });
        set.await.unwrap();
    }
    for (number, client) in clients.iter().enumerate() {
        for other in clients.iter().filter(|other| other.peer_id() != client.peer_id()) {
            let to = Value::from(other.peer_id().to_string().as_str());
            client.call("relay", vec![to, Value::from(number as f64)]).await.unwrap();
        }
    }
    for _ in 0..12 * 11 {
        calls.recv().await.unwrap();
    }

    let mut groups: Vec<NetGroup> = Vec::new();
    for client in &clients[..6] {
        let spec = GroupSpecBuilder::new("workers").unwrap().routing(true);
        groups.push(client.join(spec.server_channel(true).build().unwrap()).await.unwrap());
    }
    for group in &groups {
        group.watch_neighbor_count().wait_for(|&count| count == 5).await.unwrap();
    }

    let stats = server.stats().await.unwrap();
    let rendezvous = stats.rendezvous;
    assert_eq!((rendezvous.clients, rendezvous.connected), (12, 12));
    assert_eq!((rendezvous.groups, rendezvous.relayed), (1, 132));
    assert_eq!(rendezvous.commands_lost, 0);
    assert!(stats.network.datagrams_received > 12 * 4);
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines, 12, "a line for each session");

    // It is alone at its port, and gives it back.
    let taken = ServerConfig::default().with_listen(listening.clone()).with_workers(WORKERS);
    let refused = Server::start(taken.clone()).await.unwrap_err();
    assert!(matches!(refused, ServerError::Listen(BindError::PortTaken { .. })), "{refused}");
    let stats = server.stop(GRACE).await.unwrap();
    assert_eq!(stats.rendezvous.clients, 12);
    server.stopped().await;
    let again = Server::start(taken).await.unwrap();
    assert_eq!(again.local_addresses(), listening);
    again.stop(GRACE).await.unwrap();
}

/// What one client publishes reaches players at all workers, and nobody else gets its name.
#[tokio::test]
async fn a_stream_is_played_at_all_workers() {
    let server = Server::start(config()).await.unwrap();
    let clients = connect(&server, 8).await;
    let mut played = Vec::new();
    for client in &clients[1..] {
        played.push(client.play("cam").await.unwrap());
    }
    let published = clients[0].publish("cam").await.unwrap();
    for client in &clients[1..] {
        let error = client.publish("cam").await.unwrap_err();
        let StreamError::NetStream(NetStreamError::Refused(why)) = error else { panic!("{error}") };
        assert!(why.contains("NetStream.Publish.BadName"), "{why}");
    }
    let frame = |n: u32| {
        let head = if n == 0 { 0x17 } else { 0x27 };
        Message::new(n, Body::Video([&[head, 1, 0, 0, 0][..], &[n as u8; 900]].concat().into()))
    };
    for n in 0..50 {
        published.write(frame(n)).await.unwrap();
    }
    for played in &mut played {
        for n in 0..50 {
            let message = loop {
                match played.recv().await.unwrap() {
                    NetStreamEvent::Message(message) => break message,
                    NetStreamEvent::Failed(error) => panic!("{error}"),
                    _ => {}
                }
            };
            assert!(message == frame(n), "{n}");
        }
    }
    let streams = server.streams().await.unwrap();
    assert_eq!((streams.len(), streams[0].messages), (1, 50));
    let stats = server.stats().await.unwrap().rendezvous;
    assert_eq!((stats.streams, stats.players, stats.commands_lost), (1, 7, 0));
    drop(published);
    for played in &mut played {
        let ended = |event: &NetStreamEvent| event.code() == "NetStream.Play.UnpublishNotify";
        while !ended(&played.recv().await.unwrap()) {}
    }
}

/// Every client's connection is closed, at whatever worker it is, also if the server is dropped.
#[tokio::test]
async fn all_workers_say_goodbye() {
    let server = Server::start(config()).await.unwrap();
    let clients = connect(&server, 6).await;
    let mut events = server.events();
    drop(server);
    for client in clients {
        let mut state = client.watch_state();
        state.wait_for(|state| *state == rtmfp::peer::ConnectionState::Closed).await.unwrap();
    }
    // The channel closes when all have ended.
    while !matches!(events.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {}
}
