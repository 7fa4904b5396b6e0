//! Members of a group over real sockets on loopback: the async API.

use futures_util::StreamExt;
use rtmfp::amf::{Date, Object, Value};
use rtmfp::peer::{
    Connection, GroupEvent, Lagged, MAX_EVENTS, NetGroup, NetGroupError, NetGroupEvents,
    PeerConfig, RecvError, ReplicationStrategy, SLOW_OBJECTS,
};
use rtmfp::proto::group::{GroupError, GroupSpec, GroupSpecBuilder};
use rtmfp::server::{Server, ServerConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Nothing here takes this long unless it hangs.
const GRACE: Duration = Duration::from_secs(600);

async fn server(listen: &str) -> (Server, String) {
    let listen = vec![listen.parse().unwrap()];
    let server = Server::start(ServerConfig::default().with_listen(listen)).await.unwrap();
    let uri = server.client_uris().remove(0);
    (server, uri)
}

fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("peer-api").unwrap();
    builder.object_replication(true).server_channel(true).build().unwrap()
}

async fn member(uri: &str) -> (Connection, NetGroup) {
    let connection = Connection::connect(uri).await.unwrap();
    let group = connection.join(spec()).await.unwrap();
    (connection, group)
}

/// Two members that know each other.
async fn pair(uri: &str) -> (NetGroup, NetGroup) {
    let (_, a) = member(uri).await;
    let (_, b) = member(uri).await;
    for group in [&a, &b] {
        group.watch_neighbor_count().wait_for(|&count| count == 1).await.unwrap();
    }
    (a, b)
}

/// Values of every kind that Flash Player puts into a group.
fn objects() -> Vec<Value> {
    let mut objects = vec![
        Value::Null,
        Value::Boolean(true),
        Value::Number(-0.5),
        Value::from("grüße"),
        Value::from("x".repeat(70_000)),
        Value::ByteArray(vec![0xa5; 64 << 10].into()),
        Value::ByteArray(Vec::new().into()),
        Value::array([1, 2, 3]),
        Value::object([("a", Value::from("b")), ("c", Value::Null)]),
        Value::from(Object::typed("Point").with_sealed("x", 1.5).with_sealed("y", 2.5)),
        Value::Date(Date { milliseconds: 1.3e12, time_zone: 0 }),
        Value::Xml("<a/>".into()),
    ];
    objects.extend((12..20).map(|n| Value::object([("number", Value::from(f64::from(n)))])));
    objects
}

/// Answers every request until the group ends.
async fn provide(group: NetGroup, objects: Vec<Value>) {
    let mut events = group.events();
    while let Ok(event) = events.recv().await {
        if let GroupEvent::ReplicationRequest { index, request_id } = event {
            let object = &objects[usize::try_from(index).unwrap()];
            group.write_requested_object(request_id, object).await.unwrap();
        }
    }
}

async fn fetched(events: &mut NetGroupEvents, count: usize) -> BTreeMap<u64, Value> {
    let mut objects = BTreeMap::new();
    while objects.len() < count {
        let event = events.recv().await.unwrap();
        if let GroupEvent::ReplicationFetchResult { index, object, .. } = event {
            assert!(
                objects.insert(index, object.decode().unwrap()).is_none(),
                "object {index} twice"
            );
        }
    }
    objects
}

async fn objects_of_every_type_reach_the_other_member(listen: &str) {
    let (server, uri) = server(listen).await;
    let (provider, fetcher) = pair(&uri).await;
    let sent = objects();
    assert_eq!(sent.len(), 20);
    let last = sent.len() as u64 - 1;
    provider.add_have_objects(0, last).await.unwrap();
    let providing = tokio::spawn(provide(provider.clone(), sent.clone()));
    fetcher.add_want_objects(0, last).await.unwrap();

    let received = fetched(&mut fetcher.events(), sent.len()).await;
    for (index, object) in &received {
        assert_eq!(object, &sent[usize::try_from(*index).unwrap()], "object {index}");
    }
    let stats = fetcher.stats().await.unwrap();
    assert_eq!(stats.replication.objects_received, 20);
    assert_eq!(provider.stats().await.unwrap().replication.objects_sent, 20);
    let neighbor = fetcher.neighbors().await.unwrap().remove(0);
    assert_eq!(neighbor.peer_id, provider.connection().peer_id());
    assert_eq!(neighbor.address, provider.address());
    assert!(fetcher.estimated_member_count().await.unwrap() >= 1.0);

    provider.close().await;
    providing.await.unwrap();
    fetcher.watch_neighbor_count().wait_for(|&count| count == 0).await.unwrap();
    fetcher.connection().close(GRACE).await.unwrap();
    provider.connection().close(GRACE).await.unwrap();
    server.stop(GRACE).await.unwrap();
}

#[tokio::test]
async fn objects_of_every_type_over_ipv4() {
    objects_of_every_type_reach_the_other_member("127.0.0.1:0").await;
}

#[tokio::test]
async fn objects_of_every_type_over_ipv6() {
    objects_of_every_type_reach_the_other_member("[::1]:0").await;
}

#[tokio::test]
async fn events_come_in_flashs_order_with_flashs_codes() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (provider, fetcher) = pair(&uri).await;
    provider.add_have_objects(7, 7).await.unwrap();
    fetcher.add_want_objects(7, 7).await.unwrap();

    let mut requests = provider.events();
    let mut denied = false;
    let request_id = loop {
        let event = requests.recv().await.unwrap();
        let GroupEvent::ReplicationRequest { index: 7, request_id } = event else { continue };
        if std::mem::replace(&mut denied, true) {
            break request_id;
        }
        assert!(provider.deny_requested_object(request_id).await.unwrap());
        assert!(!provider.deny_requested_object(request_id).await.unwrap(), "answered already");
    };
    let object = Value::from("at last");
    assert!(provider.write_requested_object(request_id, &object).await.unwrap());

    let mut events = fetcher.events();
    let mut codes = Vec::new();
    loop {
        let event = events.recv().await.unwrap();
        codes.push(event.code());
        if let GroupEvent::ReplicationFetchResult { index: 7, object: found, peer_id } = event {
            let found = found.decode().unwrap();
            assert_eq!((found, peer_id), (object, provider.connection().peer_id()));
            break;
        }
    }
    let expected = [
        "NetGroup.Neighbor.Connect",
        "NetGroup.Replication.Fetch.SendNotify",
        "NetGroup.Replication.Fetch.Failed",
        "NetGroup.Replication.Fetch.SendNotify",
        "NetGroup.Replication.Fetch.Result",
    ];
    assert_eq!(codes, expected);
}

#[tokio::test]
async fn neighbors_stay_when_the_server_goes() {
    let (server, uri) = server("127.0.0.1:0").await;
    let (provider, fetcher) = pair(&uri).await;
    server.stop(GRACE).await.unwrap();
    provider.add_have_objects(0, 0).await.unwrap();
    tokio::spawn(provide(provider.clone(), vec![Value::from("still here")]));
    fetcher.add_want_objects(0, 0).await.unwrap();
    let received = fetched(&mut fetcher.events(), 1).await;
    assert_eq!(received[&0], Value::from("still here"));
}

#[tokio::test]
async fn a_group_without_handles_is_left() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (a, b) = pair(&uri).await;
    let connection = a.connection().clone();
    let clone = a.clone();
    drop(a);
    assert_eq!(clone.neighbor_count(), 1);
    drop(clone);
    b.watch_neighbor_count().wait_for(|&count| count == 0).await.unwrap();
    let mut events = b.events();
    let codes = [events.recv().await.unwrap(), events.recv().await.unwrap()].map(|e| e.code());
    let expected = ["NetGroup.Neighbor.Connect", "NetGroup.Neighbor.Disconnect"];
    assert_eq!(codes, expected);
    // The connection is there for another group.
    let _again = connection.join(spec()).await.unwrap();
    b.watch_neighbor_count().wait_for(|&count| count == 1).await.unwrap();
}

#[tokio::test]
async fn calls_that_cannot_work_say_why() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (connection, group) = member(&uri).await;
    let beyond = (1 << 53) + 1;
    let error = group.add_want_objects(0, beyond).await.unwrap_err();
    assert!(matches!(error, NetGroupError::Group(GroupError::Range(_))), "{error}");
    assert!(!group.write_requested_object(12345, &Value::Null).await.unwrap());

    let bare = GroupSpecBuilder::new("bare").unwrap().build().unwrap();
    let bare = connection.join(bare).await.unwrap();
    let error = bare.add_have_objects(0, 0).await.unwrap_err();
    assert!(matches!(error, NetGroupError::Group(GroupError::ReplicationDisabled)), "{error}");

    group.close().await;
    assert_eq!(group.events().recv().await, Err(RecvError::Closed));
    assert!(matches!(group.add_have_objects(0, 0).await, Err(NetGroupError::Closed)));
    connection.close(GRACE).await.unwrap();
    assert!(matches!(bare.stats().await, Err(NetGroupError::Closed)));
    assert!(matches!(connection.join(spec()).await, Err(NetGroupError::Closed)));
}

/// Flash's `addNeighbor`: without a server channel nobody else introduces the members.
#[tokio::test]
async fn a_member_is_connected_to_by_its_peer_id() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let join = async || {
        let spec = GroupSpecBuilder::new("named").unwrap().object_replication(true);
        let connection = Connection::connect(&uri).await.unwrap();
        connection.join(spec.build().unwrap()).await.unwrap()
    };
    let (a, b) = (join().await, join().await);
    let far = b.connection().peer_id();
    assert!(!a.add_neighbor(a.connection().peer_id()).await.unwrap());
    assert!(a.add_member_hint(far).await.unwrap() && a.add_neighbor(far).await.unwrap());
    let connected = a.events().recv().await.unwrap();
    assert!(matches!(connected, GroupEvent::NeighborConnect { peer_id, .. } if peer_id == far));

    assert_eq!(a.replication_strategy().await.unwrap(), ReplicationStrategy::LowestFirst);
    a.set_replication_strategy(ReplicationStrategy::RarestFirst).await.unwrap();
    assert_eq!(a.replication_strategy().await.unwrap(), ReplicationStrategy::RarestFirst);
    a.close().await;
    assert!(matches!(a.add_neighbor(far).await, Err(NetGroupError::Closed)));
}

/// They follow the URI in Flash's `NetConnection.connect`; the server ignores them.
#[tokio::test]
async fn values_for_the_application_of_the_server() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let mut config = PeerConfig::default();
    config.node.connect_arguments = vec![Value::from("user"), Value::object([("age", 42.0)])];
    Connection::connect_with(config.clone(), &uri).await.unwrap();
    config.node.connect_arguments = vec![Value::Null; 257];
    let error = Connection::connect_with(config, &uri).await.unwrap_err();
    assert!(error.to_string().contains("more than 256 arguments"), "{error}");
}

/// Nothing is lost: what an application does not take is not fetched, or fetched again.
#[tokio::test]
async fn a_slow_application_gets_every_object_once() {
    const OBJECTS: usize = 4 * SLOW_OBJECTS;
    let (_server, uri) = server("127.0.0.1:0").await;
    let (provider, fetcher) = pair(&uri).await;
    let object = |n: usize| Value::from(n as f64);
    provider.add_have_objects(0, OBJECTS as u64 - 1).await.unwrap();
    tokio::spawn(provide(provider.clone(), (0..OBJECTS).map(object).collect()));
    fetcher.add_want_objects(0, OBJECTS as u64 - 1).await.unwrap();

    // Without a reader fetching stops by itself.
    let received = async || fetcher.stats().await.unwrap().replication.objects_received;
    while received().await < SLOW_OBJECTS as u64 {
        tokio::task::yield_now().await;
    }
    let mut events = fetcher.events();
    let objects = fetched(&mut events, OBJECTS).await;
    for (n, found) in objects.values().enumerate() {
        assert_eq!(*found, object(n));
    }
    let requested = fetcher.stats().await.unwrap().replication.requests_sent;
    assert!(requested < 2 * OBJECTS as u64, "{requested} requests for {OBJECTS} objects");
}

/// Has the provider refuse so many requests that the fetcher's queue overflows: every denial is two
/// notifications there, requested and failed.
async fn overflow(provider: &NetGroup, fetcher: &NetGroup) {
    let last = MAX_EVENTS as u64 - 1;
    provider.add_have_objects(0, last).await.unwrap();
    let deny = async {
        let mut events = provider.events();
        for _ in 0..MAX_EVENTS {
            let request_id = loop {
                let event = events.recv().await.unwrap();
                if let GroupEvent::ReplicationRequest { request_id, .. } = event {
                    break request_id;
                }
            };
            provider.deny_requested_object(request_id).await.unwrap();
        }
    };
    fetcher.add_want_objects(0, last).await.unwrap();
    deny.await;
}

/// Notifications that nobody reads are counted, and requests are not among them.
#[tokio::test]
async fn a_deaf_application_is_told_what_it_missed() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (provider, fetcher) = pair(&uri).await;
    overflow(&provider, &fetcher).await;
    let first = fetcher.events().recv().await;
    assert!(matches!(first, Err(RecvError::Lagged(missed)) if missed > 0), "{first:?}");
}

#[tokio::test]
async fn a_stream_reports_what_was_missed_and_goes_on() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (provider, fetcher) = pair(&uri).await;
    overflow(&provider, &fetcher).await;
    let mut events = fetcher.events();
    let first = events.next().await.unwrap();
    assert!(matches!(first, Err(Lagged(missed)) if missed > 0), "{first:?}");
    // What is left in the queue follows, and what happens from now on.
    provider.close().await;
    loop {
        match events.next().await.expect("goes on") {
            Ok(GroupEvent::NeighborDisconnect { .. }) => break,
            Ok(_) => {}
            Err(Lagged(missed)) => assert!(missed > 0),
        }
    }
}

#[tokio::test]
async fn a_stream_yields_events_in_order_and_ends_with_the_group() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (provider, fetcher) = pair(&uri).await;
    provider.add_have_objects(0, 3).await.unwrap();
    let providing = tokio::spawn(provide(provider.clone(), (0..4).map(Value::from).collect()));
    let mut events = fetcher.events();
    let connected = events.next().await.unwrap().unwrap();
    assert_eq!(connected.code(), "NetGroup.Neighbor.Connect");
    for wanted in 0..4 {
        // The stream is pending by now: the next events have to wake it.
        let next = tokio::spawn(async move {
            let pair: Vec<_> = events.by_ref().take(2).collect().await;
            (events, pair)
        });
        tokio::task::yield_now().await;
        fetcher.add_want_objects(wanted, wanted).await.unwrap();
        let (stream, pair) = next.await.unwrap();
        events = stream;
        let [Ok(requested), Ok(result)] = &pair[..] else { panic!("{pair:?}") };
        assert_eq!(requested.code(), "NetGroup.Replication.Fetch.SendNotify");
        let GroupEvent::ReplicationFetchResult { index, object, .. } = result else {
            panic!("{result:?}")
        };
        assert_eq!((*index, object.decode().unwrap()), (wanted, Value::from(wanted as f64)));
    }
    // The end wakes it, too, and is for ever.
    let end = tokio::spawn(async move { (events.next().await, events.next().await) });
    tokio::task::yield_now().await;
    fetcher.close().await;
    assert_eq!(end.await.unwrap(), (None, None));
    provider.close().await;
    providing.await.unwrap();
}

#[tokio::test]
async fn the_stream_of_a_connection_ends_when_it_is_closed() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let connection = Connection::connect(&uri).await.unwrap();
    let events = connection.events();
    connection.close(GRACE).await.unwrap();
    drop(connection);
    let events: Vec<_> = events.map(|event| event.unwrap().code()).collect().await;
    assert_eq!(events[0], "NetConnection.Connect.Success");
    assert!(events.len() <= 2, "{events:?}");
}

/// A stream that is dropped while it waits keeps neither its task nor its group.
#[tokio::test]
async fn a_dropped_stream_lets_go_of_its_group() {
    let (_server, uri) = server("127.0.0.1:0").await;
    let (a, b) = pair(&uri).await;
    let _connection = a.connection().clone();
    let mut events = a.events();
    drop(a);
    let _connected = events.next().await;
    let waiting = tokio::spawn(async move { events.next().await });
    tokio::task::yield_now().await;
    assert_eq!(b.neighbor_count(), 1, "the stream keeps the group");
    waiting.abort();
    b.watch_neighbor_count().wait_for(|&count| count == 0).await.unwrap();
}
