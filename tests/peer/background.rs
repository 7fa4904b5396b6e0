//! A connection whose server need not answer.
#![expect(clippy::disallowed_methods, reason = "a port where nobody is yet")]

use rtmfp::Uri;
use rtmfp::peer::{
    ConnectError, Connection, ConnectionEvent, ConnectionState, PeerConfig, RecvError,
};
use rtmfp::server::{Server, ServerConfig};
use std::net::{SocketAddr, UdpSocket};

fn config() -> PeerConfig {
    let mut config = PeerConfig::default();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

#[tokio::test]
async fn a_server_that_comes_later_is_connected_to() {
    // Refused for now: nobody listens.
    let closed: SocketAddr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri: Uri = format!("rtmfp://localhost:{}/app", closed.port()).parse().unwrap();
    let connection = Connection::connect_in_background(config(), &[uri]).await.unwrap();
    let mut events = connection.events();
    assert_eq!(events.recv().await, Ok(ConnectionEvent::Serverless));
    let server = ServerConfig::default().with_listen(vec![closed]);
    let _server = Server::start(server).await.unwrap();
    let connected = loop {
        match events.recv().await {
            Ok(ConnectionEvent::Connected { server }) => break server,
            Ok(ConnectionEvent::Failed(_)) | Err(RecvError::Lagged(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(connected, closed);
}

#[tokio::test]
async fn without_servers_there_is_nothing_to_connect_to() {
    let connection = Connection::connect_in_background(config(), &[]).await.unwrap();
    assert_eq!(connection.state(), ConnectionState::Serverless);
    let refused = Connection::connect_in_background(config(), &[Uri::serverless()]).await;
    assert!(matches!(refused, Err(ConnectError::Serverless)));
}
