//! Streams from peer to peer and calls through the server, over real sockets on loopback.

use rtmfp::amf::Value;
use rtmfp::media::flv;
use rtmfp::peer::{
    Body, CallError, Connection, ConnectionEvent, Message, NetStreamError, NetStreamEvent,
    PublishedStream, RecvError, StreamError,
};
use rtmfp::server::{Server, ServerConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const GRACE: Duration = Duration::from_secs(600);

async fn server() -> Server {
    let config = ServerConfig::default().with_listen(vec!["127.0.0.1:0".parse().unwrap()]);
    Server::start(config).await.unwrap()
}

async fn peers<const N: usize>(server: &Server) -> [Connection; N] {
    let uri = server.client_uris().remove(0);
    let mut peers = Vec::new();
    for _ in 0..N {
        peers.push(Connection::connect(&uri).await.unwrap());
    }
    peers.try_into().unwrap()
}

/// Waits until so many peers play.
async fn played_by(published: &mut PublishedStream, count: usize) {
    for _ in 0..count {
        while !matches!(published.recv().await.unwrap(), NetStreamEvent::PeerConnect { .. }) {}
    }
}

#[tokio::test]
async fn a_stream_goes_to_the_peers_that_ask_for_it_and_back() {
    let server = server().await;
    let [a, b, c] = peers(&server).await;
    let mut published = a.publish_to_peers("media").await.unwrap();
    let mut played = [
        b.play_from_peer(a.peer_id(), "media").await.unwrap(),
        c.play_from_peer(a.peer_id(), "media").await.unwrap(),
    ];
    played_by(&mut published, 2).await;
    let mut playing = published.peers().await.unwrap();
    playing.sort();
    let mut expected = vec![b.peer_id(), c.peer_id()];
    expected.sort();
    assert_eq!(playing, expected);
    let bytes = Value::ByteArray(vec![0, 1, 2, 255].into());
    published.send(5, "onBytes", &[bytes.clone(), Value::from(1.5)]).await.unwrap();
    for played in &mut played {
        assert_eq!(played.recv().await.unwrap(), NetStreamEvent::Connected);
        assert_eq!(played.recv().await.unwrap(), NetStreamEvent::Reset);
        assert!(matches!(played.recv().await.unwrap(), NetStreamEvent::Status(_)));
        let NetStreamEvent::Message(message) = played.recv().await.unwrap() else { panic!() };
        let Body::Data(_, values) = message.body else { panic!("data") };
        let values = rtmfp::amf::Reader::new(values).read_all().unwrap();
        assert_eq!(values, [Value::from("onBytes"), bytes.clone(), Value::from(1.5)]);
    }
    played[0].send(0, "thanks", &[]).await.unwrap();
    let NetStreamEvent::PeerMessage { peer_id, .. } = published.recv().await.unwrap() else {
        panic!("a message of a peer")
    };
    assert_eq!(peer_id, b.peer_id());
    let [gone, mut played] = played;
    drop(gone);
    let left = NetStreamEvent::PeerDisconnect { peer_id: b.peer_id() };
    assert_eq!(published.recv().await.unwrap(), left);
    assert!(published.close(GRACE).await.unwrap());
    while played.recv().await.unwrap() != NetStreamEvent::Ended {}
}

#[tokio::test]
async fn an_flv_goes_from_peer_to_peer() {
    let server = server().await;
    let [a, b] = peers(&server).await;
    let mut published = a.publish_to_peers("film").await.unwrap();
    let mut file = b.play_from_peer(a.peer_id(), "film").await.unwrap().into_flv_reader();
    played_by(&mut published, 1).await;
    let clip = include_bytes!("../../fixtures/clips/test-pattern.flv");
    let mut writer = published.into_flv_writer();
    writer.write_all(clip).await.unwrap();
    writer.shutdown().await.unwrap();
    assert!(writer.into_stream().unwrap().close(GRACE).await.unwrap());
    let mut recorded = Vec::new();
    file.read_to_end(&mut recorded).await.unwrap();
    let tags = |bytes: &[u8]| {
        let mut reader = flv::Reader::new();
        reader.push(bytes);
        std::iter::from_fn(|| reader.next_tag().unwrap()).collect::<Vec<_>>()
    };
    assert!(tags(&recorded) == tags(clip));
}

#[tokio::test]
async fn a_publisher_that_vanishes_is_an_error_of_the_file() {
    let server = server().await;
    let [a, b] = peers(&server).await;
    let mut published = a.publish_to_peers("film").await.unwrap();
    let mut file = b.play_from_peer(a.peer_id(), "film").await.unwrap().into_flv_reader();
    played_by(&mut published, 1).await;
    published.write(Message::new(0, Body::Video(vec![0x12, 0].into()))).await.unwrap();
    let mut tag = [0; 9 + 4 + 11 + 2];
    file.read_exact(&mut tag).await.unwrap();
    a.close(GRACE).await.unwrap();
    let mut rest = Vec::new();
    assert!(file.read_to_end(&mut rest).await.is_err());
    assert_eq!(file.failure(), Some(&NetStreamError::Closed));
}

#[tokio::test]
async fn what_cannot_be_played_is_reported() {
    let server = server().await;
    let [a, b] = peers(&server).await;
    let published = a.publish_to_peers("media").await.unwrap();
    let taken = a.publish_to_peers("media").await.unwrap_err();
    assert!(matches!(taken, StreamError::NetStream(NetStreamError::NameInUse)), "{taken}");
    drop(published);
    let mut options = rtmfp::peer::PublishToPeers::default();
    options.max_peers = 0;
    let published = a.publish_to_peers_with("media", options).await.unwrap();
    let mut played = b.play_from_peer(a.peer_id(), "media").await.unwrap();
    assert_eq!(played.recv().await.unwrap(), NetStreamEvent::Connected);
    let refused = NetStreamEvent::Failed(NetStreamError::Rejected);
    assert_eq!(played.recv().await.unwrap(), refused);
    assert_eq!(played.recv().await, Err(RecvError::Closed));
    drop(published);
    let error = a.publish("film").await.and(b.publish("film").await).unwrap_err();
    let StreamError::NetStream(NetStreamError::Refused(why)) = error else { panic!("{error}") };
    assert!(why.contains("NetStream.Publish.BadName"), "{why}");
    let mut config = ServerConfig::default().with_listen(vec!["127.0.0.1:0".parse().unwrap()]);
    config.rendezvous.streams = None;
    let without = Server::start(config).await.unwrap();
    let [b] = peers(&without).await;
    let mut played = b.play("live").await.unwrap();
    assert_eq!(played.recv().await.unwrap(), NetStreamEvent::Connected);
    let NetStreamEvent::Failed(NetStreamError::Refused(why)) = played.recv().await.unwrap() else {
        panic!("the server has no streams")
    };
    assert!(why.contains("NetStream.Play.Failed"), "{why}");
    let error = b.publish("live").await.unwrap_err();
    assert!(matches!(error, StreamError::NetStream(NetStreamError::Refused(_))), "{error}");
}

#[tokio::test]
async fn calls_go_to_the_server_and_come_from_it() {
    let server = server().await;
    let [a, b] = peers(&server).await;
    let error = a.call("nothing", vec![Value::from(1.0)]).await.unwrap_err();
    let CallError::Failed(info) = error else { panic!("{error}") };
    assert_eq!(info.property("code"), Some(&Value::from("NetConnection.Call.Failed")));
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    b.set_method("onRelay", move |args: &[Value]| {
        sender.send(args.to_vec()).unwrap();
        Ok(Value::Undefined)
    })
    .await
    .unwrap();
    // A call without a result is relayed without one.
    let to = Value::from(b.peer_id().to_string().as_str());
    a.notify("relay", vec![to, Value::from("hello")]).await.unwrap();
    let from = Value::from(a.peer_id().to_string().as_str());
    assert_eq!(received.recv().await.unwrap(), [from, Value::from("hello")]);
    let mut events = a.events();
    server.stop(GRACE).await.unwrap();
    while events.recv().await.unwrap() != ConnectionEvent::Closed {}
    assert!(matches!(a.call("late", Vec::new()).await, Err(CallError::NotSent(_))));
}
