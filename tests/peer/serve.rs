//! The rendezvous server over real sockets on loopback.

use rtmfp::driver::{BindError, Sockets};
use rtmfp::peer::{
    ConnectError, Connection, ConnectionEvent, ConnectionState, NetConnectionError, PeerConfig,
    RecvError,
};
use rtmfp::proto::crypto::{DhGroup, Negotiation};
use rtmfp::server::{Server, ServerConfig, ServerError, StopError};
use std::net::SocketAddr;
use std::time::Duration;

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
/// Nothing here takes this long unless it hangs.
const GRACE: Duration = Duration::from_secs(600);

async fn server(listen: &[&str]) -> Server {
    let listen = listen.iter().map(|a| a.parse().unwrap()).collect();
    Server::start(ServerConfig::default().with_listen(listen)).await.unwrap()
}

/// A peer with small keys, of which a test can afford many, and with patience for when they are.
fn quick() -> PeerConfig {
    let mut config = PeerConfig::default();
    config.identity.groups = vec![DhGroup::Modp2];
    config.node.server_timeout = GRACE;
    config
}

#[tokio::test]
async fn clients_connect_by_either_version_of_ip() {
    let server = server(&[V4, V6]).await;
    assert_eq!(server.client_uris().len(), 2);
    for uri in server.client_uris() {
        let connection = Connection::connect(&format!("{uri}app/instance")).await.unwrap();
        let ConnectionState::Connected { server: at } = connection.state() else { panic!() };
        assert!(server.local_addresses().contains(&at));
        assert_eq!(connection.stats().await.unwrap().sessions, 1);
        connection.close(GRACE).await.unwrap();
        assert_eq!(connection.state(), ConnectionState::Closed);
    }
    let stats = server.stop(GRACE).await.unwrap();
    assert_eq!((stats.rendezvous.connected, stats.rendezvous.clients), (2, 0));
}

#[tokio::test]
async fn clients_are_told_when_the_server_stops() {
    let server = server(&[V4]).await;
    let uri = server.client_uris().remove(0);
    let connections =
        [Connection::connect(&uri).await.unwrap(), Connection::connect(&uri).await.unwrap()];
    let stats = server.stop(GRACE).await.unwrap();
    assert_eq!(stats.rendezvous.clients, 2);
    for connection in connections {
        let mut events = connection.events();
        let codes = [events.recv().await.unwrap(), events.recv().await.unwrap()].map(|e| e.code());
        let expected = ["NetConnection.Connect.Success", "NetConnection.Connect.Closed"];
        assert_eq!(codes, expected);
        assert_eq!(connection.state(), ConnectionState::Closed);
        connection.close(GRACE).await.unwrap();
        assert_eq!(events.recv().await, Err(RecvError::Closed));
    }
    assert!(matches!(server.stop(GRACE).await, Err(StopError::AlreadyStopped)));
}

/// A client that is gone does not hold the server up, nor its port.
#[tokio::test]
async fn a_client_that_is_gone_does_not_keep_the_port() {
    let server = server(&[V4]).await;
    let (uri, listen) = (server.client_uris().remove(0), server.local_addresses().to_vec());
    let gone = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let connection = runtime.block_on(Connection::connect(&uri)).unwrap();
        // As if its power had failed: nothing runs any more that could say goodbye.
        runtime.shutdown_background();
        connection
    });
    let connection = gone.await.unwrap();
    let stopped = server.stop(Duration::from_millis(10)).await;
    let Err(StopError::Shutdown { stats, .. }) = stopped else { panic!("{stopped:?}") };
    assert_eq!(stats.rendezvous.clients, 1);
    let again = Server::start(ServerConfig::default().with_listen(listen)).await.unwrap();
    again.stop(GRACE).await.unwrap();
    drop(connection);
}

/// Its server is killed, and another one is at its address soon after. Nobody calls `reconnect`.
#[tokio::test]
async fn a_client_of_a_server_that_was_killed_comes_back_by_itself() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (started, first) = tokio::sync::oneshot::channel();
    runtime.spawn(async move { started.send(server(&[V4]).await) });
    let first = first.await.unwrap();
    let (uri, listen) = (first.client_uris().remove(0), first.local_addresses().to_vec());
    let connection = Connection::connect_with(quick(), &uri).await.unwrap();
    // The threads end where they are, without goodbye, and the port is free.
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(GRACE)).await.unwrap();
    let second = Server::start(ServerConfig::default().with_listen(listen)).await.unwrap();
    let mut events = connection.events();
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(events.recv().await.unwrap().code());
    }
    let success = "NetConnection.Connect.Success";
    assert_eq!(codes, [success, "NetConnection.Connect.Closed", success]);
    assert_eq!(second.stats().await.unwrap().rendezvous.clients, 1);
}

#[tokio::test]
async fn a_client_comes_back_with_its_peer_id() {
    let first = server(&[V4]).await;
    let connection = Connection::connect(&first.client_uris()[0]).await.unwrap();
    let mut state = connection.watch_state();
    first.stop(GRACE).await.unwrap();
    state.wait_for(|state| *state == ConnectionState::Closed).await.unwrap();

    let second = server(&[V4]).await;
    connection.reconnect(&second.client_uris()[0]).await.unwrap();
    let server = second.local_addresses()[0];
    assert_eq!(connection.state(), ConnectionState::Connected { server });
    assert_eq!(second.stats().await.unwrap().rendezvous.clients, 1);
}

#[tokio::test]
async fn a_taken_port_is_said_with_what_to_do() {
    let first = server(&[V4]).await;
    let taken: SocketAddr = first.local_addresses()[0];
    let again = Server::start(ServerConfig::default().with_listen(vec![taken]));
    let error = again.await.unwrap_err();
    assert!(
        matches!(&error, ServerError::Listen(BindError::PortTaken { address }) if *address == taken)
    );
    let text = error.to_string();
    assert!(text.contains(&taken.port().to_string()), "{text}");
    assert!(text.contains("choose another port"), "{text}");
}

#[tokio::test]
async fn a_port_is_free_when_its_server_has_stopped() {
    // Somebody else may be given it at once, but not every time.
    for attempt in 1..=10 {
        let first = server(&[V4]).await;
        let port = first.local_addresses().to_vec();
        first.stop(GRACE).await.unwrap();
        let again = Server::start(ServerConfig::default().with_listen(port.clone()));
        match again.await {
            Ok(second) => return assert_eq!(second.local_addresses(), port),
            Err(error) => assert!(attempt < 10, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_connect() {
    const CLIENTS: usize = 200;
    let server = server(&[V4]).await;
    let uri = server.client_uris().remove(0);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let uri = uri.clone();
            tokio::spawn(async move { Connection::connect_with(quick(), &uri).await })
        })
        .collect();
    let mut connections = Vec::new();
    for task in tasks {
        connections.push(task.await.unwrap().unwrap());
    }
    assert_eq!(server.stats().await.unwrap().rendezvous.clients, CLIENTS);
    server.stop(GRACE).await.unwrap();
    for connection in connections {
        let mut events = connection.events();
        assert!(matches!(events.recv().await, Ok(ConnectionEvent::Connected { .. })));
        assert_eq!(events.recv().await, Ok(ConnectionEvent::Closed));
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_what_was_tried() {
    // A socket that never answers.
    let silent = Sockets::bind(&[V4.parse().unwrap()]).unwrap();
    let uri = format!("rtmfp://{}/", silent.local_addresses()[0]);
    let mut config = quick();
    config.node.server_timeout = Duration::from_millis(100);
    let error = Connection::connect_with(config, &uri).await.unwrap_err();
    assert!(matches!(error, ConnectError::Server(NetConnectionError::Unreachable(_))), "{error:?}");
    let asked = format!("no answer from {} within 0.1 s", silent.local_addresses()[0]);
    assert!(error.to_string().contains(&asked), "{error}");
}

#[tokio::test]
async fn a_client_without_hmacs_connects_too() {
    let server = server(&[V4]).await;
    let mut config = quick();
    config.node.transport.negotiation = Negotiation::checksum_only();
    let connection = Connection::connect_with(config, &server.client_uris()[0]).await.unwrap();
    connection.close(GRACE).await.unwrap();
}

#[tokio::test]
async fn uris_that_cannot_work_are_refused_at_once() {
    for (uri, wanted) in [
        ("http://example.org/", "rtmfp://host/app"),
        ("rtmfp://no-such-host.invalid/", "no-such-host.invalid"),
    ] {
        let error = Connection::connect(uri).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{uri}: {error}");
    }
}
