//! Two endpoints over real sockets.

use super::*;
use crate::crypto::Epd;
use crate::transport::{
    CloseReason, Endpoint, Event, FlowId, FlowOptions, MessageOptions, Role, SessionId, Time,
};
use bytes::Bytes;

type PeerHandle = Handle<Box<dyn FnOnce(&mut Endpoint, Time) + Send>>;

const MESSAGE: usize = 64 << 10;
const MESSAGES: usize = 160;

struct Running {
    handle: PeerHandle,
    events: Events<Event>,
    epd: Epd,
}

fn start(address: &str) -> Running {
    let sockets = Sockets::bind(&[address.parse().unwrap()]).unwrap();
    let peer = Peer::new();
    let epd = Epd::for_fingerprint(peer.endpoint.fingerprint());
    let (handle, events) = spawn(peer, sockets, Clock::start());
    Running { handle, events, epd }
}

impl Running {
    async fn next(&mut self) -> Event {
        soon(self.events.recv()).await.expect("the driver runs")
    }

    async fn opened(&mut self, expected: Role) -> SessionId {
        match self.next().await {
            Event::SessionOpened { session, role, .. } if role == expected => session,
            other => panic!("{other:?}"),
        }
    }

    /// Does something with the endpoint and returns what came of it.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Endpoint, Time) -> T + Send + 'static,
    ) -> T {
        let (answer, result) = oneshot::channel();
        let command = move |endpoint: &mut Endpoint, now: Time| {
            let _ = answer.send(question(endpoint, now));
        };
        self.handle.send(Box::new(command)).await.unwrap();
        soon(result).await.unwrap()
    }

    async fn open(&self, far: &Self) {
        let (epd, address) = (far.epd.clone(), far.handle.local_addresses()[0]);
        self.ask(move |endpoint, now| endpoint.open(now, epd, &[address])).await;
    }

    async fn send_all(&self, session: SessionId, messages: Vec<Bytes>) -> FlowId {
        self.ask(move |endpoint, now| {
            let flow = endpoint.open_flow(session, b"driver", FlowOptions::default()).unwrap();
            for message in messages {
                endpoint.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
            }
            flow
        })
        .await
    }
}

/// Bytes that no mistake in order or place leaves as they are.
fn messages() -> Vec<Bytes> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..MESSAGES).map(|_| (0..MESSAGE).map(|_| byte()).collect()).collect()
}

async fn ten_megabytes(address: &str) {
    let (mut a, mut b) = (start(address), start(address));
    a.open(&b).await;
    let near = a.opened(Role::Initiator).await;
    let sent = messages();
    a.send_all(near, sent.clone()).await;
    let far = b.opened(Role::Responder).await;
    assert!(matches!(b.next().await, Event::FlowOpened { metadata, .. } if metadata == "driver"));
    for expected in sent {
        match b.next().await {
            Event::Message { session, message, .. } if session == far => {
                assert!(message == expected, "a message has changed");
            }
            other => panic!("{other:?}"),
        }
    }
    soon(a.handle.shutdown(PATIENCE)).await.unwrap();
    match b.next().await {
        Event::SessionClosed { session, reason: CloseReason::Far } if session == far => {}
        other => panic!("{other:?}"),
    }
    let (a, b) = (a.handle.stats(), b.handle.stats());
    assert!(a.bytes_sent > (MESSAGE * MESSAGES) as u64, "{a:?}");
    assert!(a.jobs_done >= 2 && b.jobs_done >= 1, "{a:?} {b:?}");
    assert_eq!((a.datagrams_refused, a.datagrams_unroutable, a.stalls, b.stalls), (0, 0, 0, 0));
}

#[tokio::test]
async fn ten_megabytes_over_ipv4() {
    ten_megabytes("127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_over_ipv6() {
    ten_megabytes("[::1]:0").await;
}

#[tokio::test]
async fn a_slow_consumer_does_not_stop_the_transport() {
    let [mut a, mut b, mut c] = ["127.0.0.1:0"; 3].map(start);
    a.open(&b).await;
    let near = a.opened(Role::Initiator).await;
    let count = 3 * EVENT_QUEUE as u32;
    let many = (0..count).map(|n| Bytes::copy_from_slice(&n.to_be_bytes())).collect();
    let flow = a.send_all(near, many).await;
    a.ask(move |endpoint, _| endpoint.close_flow(near, flow).unwrap()).await;
    // Acknowledged to the last, although nobody has read anything.
    while !matches!(a.next().await, Event::FlowDone { .. }) {}
    assert_eq!(b.handle.stats().stalls, 1);
    // New sessions open as well.
    c.open(&b).await;
    c.opened(Role::Initiator).await;
    let mut next = 0;
    while next < count {
        if let Event::Message { message, .. } = b.next().await {
            assert_eq!(*message, next.to_be_bytes());
            next += 1;
        }
    }
}

#[tokio::test]
async fn many_sessions_key_through_the_pool() {
    const PEERS: usize = 12;
    let mut server = start("127.0.0.1:0");
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let peer = start("127.0.0.1:0");
        peer.open(&server).await;
        peers.push(peer);
    }
    for peer in &mut peers {
        let session = peer.opened(Role::Initiator).await;
        peer.send_all(session, vec![Bytes::from_static(b"here")]).await;
    }
    let mut received = 0;
    while received < PEERS {
        received += usize::from(matches!(server.next().await, Event::Message { .. }));
    }
    assert_eq!(server.handle.stats().jobs_done, PEERS as u64);
}
