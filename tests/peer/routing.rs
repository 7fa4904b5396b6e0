//! Directed messages over real sockets on loopback.

use rtmfp::amf::Value;
use rtmfp::peer::{
    Connection, GroupEvent, NetGroup, NetGroupError, ReceiveMode, RoutedMessage, SendMode,
    SendResult,
};
use rtmfp::proto::group::{GroupError, GroupSpecBuilder};
use rtmfp::server::{Server, ServerConfig};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(600);

async fn members(uri: &str, count: usize) -> Vec<NetGroup> {
    let mut groups = Vec::new();
    for _ in 0..count {
        let connection = Connection::connect(uri).await.unwrap();
        let spec = GroupSpecBuilder::new("routing").unwrap().routing(true);
        groups.push(connection.join(spec.server_channel(true).build().unwrap()).await.unwrap());
    }
    for group in &groups {
        group.watch_neighbor_count().wait_for(|&c| c == count - 1).await.unwrap();
    }
    groups
}

/// The next directed message: its value, and whether it came from the member itself.
async fn received(group: &NetGroup) -> (Value, bool) {
    let mut events = group.events();
    loop {
        if let GroupEvent::SendToNotify { message, from_local, .. } = events.recv().await.unwrap() {
            return (message.decode().unwrap(), from_local);
        }
    }
}

#[tokio::test]
async fn directed_messages_and_modes() {
    let config = ServerConfig::default().with_listen(vec!["127.0.0.1:0".parse().unwrap()]);
    let server = Server::start(config).await.unwrap();
    let uri = server.client_uris().remove(0);
    let groups = members(&uri, 3).await;
    let [a, b, c] = &groups[..] else { unreachable!() };

    let value = Value::object([("text", Value::from("hello")), ("n", 1.5.into())]);
    assert_eq!(a.send_to_nearest(&value, b.address()).await.unwrap(), SendResult::Sent);
    assert_eq!(received(b).await, (value.clone(), false));
    assert_eq!(a.send_to_nearest(&value, a.address()).await.unwrap(), SendResult::Sent);
    assert_eq!(received(a).await, (value.clone(), true));
    assert_eq!(a.send_to_all_neighbors(&value).await.unwrap(), SendResult::Sent);
    assert_eq!(received(b).await.0, value);
    assert_eq!(received(c).await.0, value);
    let next = SendMode::NextIncreasing;
    assert_eq!(a.send_to_neighbor(&value, next).await.unwrap(), SendResult::Sent);
    let above = a.address().next_increasing([b.address(), c.address()]).unwrap();
    let above = if above == b.address() { b } else { c };
    assert_eq!(received(above).await.0, value);

    // In mode EXACT, nobody is responsible for anything else.
    let mut beside = b.address();
    beside.0[31] ^= 1;
    assert_eq!(a.send_to_nearest(&value, beside).await.unwrap(), SendResult::NoRoute);
    assert_eq!(a.receive_mode().await.unwrap(), ReceiveMode::Exact);
    assert_eq!(a.local_coverage().await.unwrap(), (a.address(), a.address()));
    for group in &groups {
        group.set_receive_mode(ReceiveMode::Nearest).await.unwrap();
    }
    let mut announced = 0;
    let mut pauses = tokio::time::interval(Duration::from_millis(5));
    while announced < 6 {
        pauses.tick().await;
        announced = 0;
        for group in &groups {
            let neighbors = group.neighbors().await.unwrap().into_iter();
            let nearest = Some(ReceiveMode::Nearest);
            announced += neighbors.filter(|n| n.receive_mode == nearest).count();
        }
    }

    // B sends it to itself, as the nearest, and so finds that it has arrived.
    let message = RoutedMessage::new(beside, value.clone());
    assert_eq!(a.send_routed(message).await.unwrap(), SendResult::Sent);
    let mut events = b.events();
    let arrived = loop {
        if let Some(message) = b.forward(&events.recv().await.unwrap()).await.unwrap() {
            break message;
        }
    };
    assert_eq!((arrived.value, arrived.hops), (value.clone(), Some(1)));
    assert!(a.stats().await.unwrap().routing.messages_sent >= 4);

    let large = Value::ByteArray(vec![0; 2 << 20].into());
    let refused = a.send_to_all_neighbors(&large).await;
    assert!(matches!(refused, Err(NetGroupError::Group(GroupError::MessageSize { .. }))));
    a.close().await;
    assert!(matches!(a.send_to_all_neighbors(&value).await, Err(NetGroupError::Closed)));
    for group in &groups {
        group.connection().close(GRACE).await.unwrap();
    }
    server.stop(GRACE).await.unwrap();
}
