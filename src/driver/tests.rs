//! Real sockets on loopback. Nothing sleeps: everything waits for events, with a generous limit.

mod machines;
mod transfer;

use super::*;
use crate::transport::{Ecn, Interface, Path, Transmit, TransmitBuf};
use machines::{ADDRESSES, Counting, Peer, RECEIVED, Request};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::oneshot;

/// No test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

fn loopback() -> Sockets {
    Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap()
}

async fn ready(sockets: Sockets) -> Sockets {
    soon(sockets.ready()).await;
    sockets
}

fn spawn_counting(service: Counting) -> (Handle<Request>, Events<u32>) {
    spawn(service, loopback(), Clock::start())
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = loopback();
    let address = first.local_addresses()[0];
    let error = Sockets::bind(&[address]).unwrap_err();
    assert!(matches!(error, BindError::PortTaken { address: a } if a == address), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("UDP port {} of 127.0.0.1 is taken", address.port())));
    drop(first);
    Sockets::bind(&[address]).unwrap();
}

#[tokio::test]
async fn an_address_of_another_host_is_named() {
    let address: SocketAddr = "192.0.2.1:1935".parse().unwrap();
    let error = Sockets::bind(&[address]).unwrap_err();
    assert!(matches!(error, BindError::NotLocal { address: a } if a == address), "{error:?}");
}

#[tokio::test]
async fn no_address_and_too_many() {
    assert!(matches!(Sockets::bind(&[]), Err(BindError::NoAddress)));
    let many = vec!["127.0.0.1:0".parse().unwrap(); MAX_SOCKETS + 1];
    assert!(matches!(
        Sockets::bind(&many),
        Err(BindError::TooMany { count: 65, max: MAX_SOCKETS })
    ));
}

#[tokio::test]
async fn ipv4_and_ipv6_share_a_port() {
    let v6 = Sockets::bind(&["[::]:0".parse().unwrap()]).unwrap();
    let port = v6.local_addresses()[0].port();
    match Sockets::bind(&[SocketAddr::from(([0, 0, 0, 0], port))]) {
        Ok(v4) => assert_eq!(v4.local_addresses()[0].port(), port),
        // Somebody else has it; then at least the message is right.
        Err(error) => assert!(matches!(error, BindError::PortTaken { .. }), "{error}"),
    }
}

#[tokio::test]
async fn peer_addresses_are_not_loopback() {
    assert_eq!(loopback().peer_addresses(), []);
    let any = Sockets::bind(&["0.0.0.0:0".parse().unwrap()]).unwrap();
    let port = any.local_addresses()[0].port();
    for address in any.peer_addresses() {
        assert!(address.is_ipv4() && !address.ip().is_loopback() && address.port() == port);
    }
}

#[tokio::test]
async fn a_stop_waits_until_the_machine_is_idle() {
    let (handle, mut events) = spawn_counting(Counting::stopping_after(5));
    soon(handle.shutdown(PATIENCE)).await.unwrap();
    for expected in 1..=5 {
        assert_eq!(events.recv().await, Some(expected));
    }
    assert_eq!(events.recv().await, None);
    assert_eq!(handle.send(Request::Emit(1)).await, Err(Stopped));
    assert_eq!(handle.shutdown(PATIENCE).await, Ok(()), "a second stop has the same result");
}

#[tokio::test]
async fn a_stop_ends_with_its_grace() {
    let (handle, _events) = spawn_counting(Counting::never_idle());
    let grace = Duration::from_millis(20);
    let clock = Clock::start();
    assert_eq!(soon(handle.shutdown(grace)).await, Err(ShutdownError::GraceOver { grace }));
    assert!(clock.now().since(crate::transport::Time::ZERO) >= grace);
}

#[tokio::test]
async fn an_impatient_stop_overrides_a_patient_one() {
    let (handle, _events) = spawn_counting(Counting::never_idle());
    let patient = tokio::spawn({
        let handle = handle.clone();
        async move { handle.shutdown(Duration::from_secs(3600)).await }
    });
    let grace = Duration::ZERO;
    let over = Err(ShutdownError::GraceOver { grace });
    assert_eq!(soon(handle.shutdown(grace)).await, over);
    assert_eq!(soon(patient).await.unwrap(), over);
}

#[tokio::test]
async fn what_was_sent_before_a_stop_is_done() {
    let (handle, mut events) = spawn_counting(Counting::default());
    handle.send(Request::Emit(200)).await.unwrap();
    soon(handle.shutdown(PATIENCE)).await.unwrap();
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    assert_eq!(last, Some(200));
}

#[tokio::test]
async fn the_last_handle_ends_the_task() {
    let (handle, mut events) = spawn_counting(Counting::default());
    let clone = handle.clone();
    drop(handle);
    clone.send(Request::Emit(1)).await.unwrap();
    assert_eq!(soon(events.recv()).await, Some(1));
    drop(clone);
    assert_eq!(soon(events.recv()).await, None);
}

#[tokio::test]
async fn the_machine_learns_that_addresses_have_changed() {
    let sockets = Sockets::bind(&["0.0.0.0:0".parse().unwrap()]).unwrap();
    let host = sockets.peer_addresses();
    let (handle, mut events) = spawn(Counting::default(), sockets, Clock::start());
    assert_eq!(handle.peer_addresses(), host);
    // As if the host had had another one until now.
    *handle.shared().peer_addresses() = vec!["203.0.113.1:1".parse().unwrap()];
    assert_eq!(soon(events.recv()).await, Some(ADDRESSES + host.len() as u32));
    assert_eq!(handle.peer_addresses(), host);
}

#[tokio::test]
async fn announced_addresses_stand_first_with_a_port_of_their_own_or_that_of_the_socket() {
    let mut sockets = loopback();
    let port = sockets.local_addresses()[0].port();
    let ip = "203.0.113.9".parse().unwrap();
    let v6 = "2001:db8::9".parse().unwrap();
    sockets.announce([
        Announced { ip, port: None },
        Announced { ip, port: Some(7) },
        // There is no socket for it.
        Announced { ip: v6, port: None },
    ]);
    let expected = [SocketAddr::new(ip, port), SocketAddr::new(ip, 7)];
    assert_eq!(sockets.peer_addresses(), expected);
}

#[tokio::test]
async fn a_panic_of_the_machine_is_an_aborted_task() {
    let (handle, mut events) = spawn_counting(Counting::default());
    handle.send(Request::Panic).await.unwrap();
    assert_eq!(soon(events.recv()).await, None);
    assert_eq!(soon(handle.closed()).await, Err(ShutdownError::Aborted));
}

#[tokio::test]
async fn events_of_a_slow_consumer_stay_in_the_machine() {
    let total = 5 * EVENT_QUEUE as u32;
    let (handle, mut events) = spawn_counting(Counting::default());
    handle.send(Request::Emit(total)).await.unwrap();
    // The machine still answers, although nobody reads its events.
    let (answer, left) = oneshot::channel();
    handle.send(Request::Left(answer)).await.unwrap();
    assert_eq!(soon(left).await.unwrap(), total as usize - EVENT_QUEUE - 1);
    assert_eq!(handle.stats().stalls, 1);
    for expected in 1..=total {
        assert_eq!(soon(events.recv()).await, Some(expected), "in order, without gaps");
    }
    let (answer, stalls) = oneshot::channel();
    handle.send(Request::Stalls(answer)).await.unwrap();
    let stalls = soon(stalls).await.unwrap();
    assert_eq!(stalls.len() as u64, 2 * handle.stats().stalls, "each stall is followed by its end");
    assert!(stalls.chunks(2).all(|pair| pair == [true, false]), "{stalls:?}");
}

#[tokio::test]
async fn events_that_nobody_can_read_are_discarded() {
    let (handle, events) = spawn_counting(Counting::default());
    handle.send(Request::Emit(5 * EVENT_QUEUE as u32)).await.unwrap();
    drop(events);
    soon(handle.shutdown(PATIENCE)).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_always_wants_a_timeout_does_not_spin() {
    let clock = Clock::start();
    let (handle, mut events) = spawn(Counting::restless(), loopback(), clock);
    for _ in 0..50 {
        soon(events.recv()).await.unwrap();
    }
    assert!(clock.now().as_millis() >= 49, "{:?}", clock.now());
    drop(handle);
}

/// After a long sleep of the process an answer that waits in the socket counts, although the time
/// for it is over.
#[tokio::test]
async fn what_has_arrived_is_heard_before_time_is_up() {
    let sockets = ready(loopback()).await;
    let mut batch = TransmitBuf::new();
    batch.push(b"in time");
    let (to, counters) = (sockets.local_addresses()[0], stats::Counters::default());
    let mut sender = ready(loopback()).await;
    sender.send(Transmit::to(Path::to(to)), &batch, &counters);
    sender.flush(&counters);
    soon(sockets.readable()).await;
    let (_handle, mut events) = spawn(Counting::restless(), sockets, Clock::start());
    assert_eq!(soon(events.recv()).await, Some(RECEIVED));
    assert_eq!(soon(events.recv()).await, Some(1), "a timeout");
}

#[tokio::test]
async fn datagrams_of_every_length_arrive() {
    let receiver = loopback();
    let to = receiver.local_addresses()[0];
    let lengths = [1200, 1200, 1200, 700, 1200, 1, 5, 4996, 4996, 4996, 0, 9];
    let mut batch = TransmitBuf::new();
    for (index, len) in lengths.into_iter().enumerate() {
        batch.push(&vec![index as u8; len]);
    }
    let counters = stats::Counters::default();
    let mut sender = ready(loopback()).await;
    sender.send(Transmit::to(Path::to(to)), &batch, &counters);
    sender.flush(&counters);
    assert!(!sender.is_blocked());
    let expected: Vec<_> = lengths.into_iter().enumerate().filter(|(_, len)| *len > 0).collect();
    assert_eq!(received(receiver, expected.len()).await, expected);
    let stats = counters.snapshot();
    assert_eq!((stats.datagrams_sent, stats.datagrams_refused), (11, 0));
}

#[tokio::test]
async fn a_batch_above_64_kilobytes_is_divided() {
    let receiver = loopback();
    let to = receiver.local_addresses()[0];
    let mut batch = TransmitBuf::new();
    for index in 0..32 {
        batch.push(&[index; 4996]);
    }
    let counters = stats::Counters::default();
    let mut sender = ready(loopback()).await;
    sender.send(Transmit::to(Path::to(to)), &batch, &counters);
    sender.flush(&counters);
    let expected: Vec<_> = (0..32).map(|index| (index, 4996)).collect();
    assert_eq!(received(receiver, 32).await, expected);
    assert!(counters.snapshot().send_calls >= 3);
}

#[tokio::test]
async fn batches_to_one_address_are_joined_and_others_keep_their_order() {
    let receiver = loopback();
    let to = receiver.local_addresses()[0];
    let elsewhere = loopback();
    let counters = stats::Counters::default();
    let mut sender = ready(loopback()).await;
    let mut send = |to: SocketAddr, fill: u8| {
        let mut batch = TransmitBuf::new();
        batch.push(&[fill; 36]);
        sender.send(Transmit::to(Path::to(to)), &batch, &counters);
    };
    (0..10).for_each(|fill| send(to, fill));
    assert_eq!(counters.snapshot().datagrams_sent, 0);
    send(elsewhere.local_addresses()[0], 99);
    assert_eq!(counters.snapshot().datagrams_sent, 10);
    (10..90).for_each(|fill| send(to, fill));
    assert_eq!(counters.snapshot().datagrams_sent, 11 + 64, "not more than 64 wait");
    sender.flush(&counters);
    let expected: Vec<_> = (0..90).map(|fill| (fill, 36)).collect();
    assert_eq!(received(receiver, 90).await, expected);
    assert_eq!(received(elsewhere, 1).await, [(99, 36)]);
}

#[tokio::test]
async fn batches_of_different_sessions_are_not_joined() {
    let receiver = loopback();
    let path = Path::to(receiver.local_addresses()[0]);
    let counters = stats::Counters::default();
    let mut sender = ready(loopback()).await;
    for (fill, session) in [(1, 0), (2, 0), (3, 7), (4, 7), (5, 8)] {
        let mut batch = TransmitBuf::new();
        batch.push(&[fill; 36]);
        sender.send(Transmit { session, ..Transmit::to(path) }, &batch, &counters);
    }
    sender.flush(&counters);
    let stats = counters.snapshot();
    assert_eq!((stats.datagrams_sent, stats.send_calls), (5, 3));
    let expected: Vec<_> = (1..=5).map(|fill| (fill, 36)).collect();
    assert_eq!(received(receiver, 5).await, expected);
}

#[tokio::test]
async fn what_was_held_back_is_sent_later() {
    let receiver = loopback();
    let to = receiver.local_addresses()[0];
    let mut sender = loopback();
    sender.hold(0, to, vec![(vec![0; 2500], 1000), (vec![1; 40], 40)]);
    assert!(sender.is_blocked());
    soon(sender.writable()).await;
    sender.send_held(&stats::Counters::default());
    assert!(!sender.is_blocked());
    assert_eq!(received(receiver, 4).await, [(0, 1000), (0, 1000), (0, 500), (1, 40)]);
}

#[tokio::test]
async fn datagrams_without_a_socket_of_their_family_are_counted() {
    let counters = stats::Counters::default();
    let mut batch = TransmitBuf::new();
    batch.push(b"one");
    batch.push(b"two");
    loopback().send(Transmit::to(Path::to("[::1]:1935".parse().unwrap())), &batch, &counters);
    let stats = counters.snapshot();
    assert_eq!((stats.datagrams_unroutable, stats.datagrams_sent), (2, 0));
}

#[tokio::test]
async fn the_interface_decides_and_the_family_overrides() {
    let receiver = Sockets::bind(&["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    let mut receiver = receiver.unwrap();
    let targets = receiver.local_addresses();
    let addresses = ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"].map(|text| text.parse().unwrap());
    let mut sender = ready(Sockets::bind(&addresses).unwrap()).await;
    let from = sender.local_addresses();
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), targets[0].port());
    let mut inbound = receiver.inbound();
    for (interface, to, at, source) in [
        (Interface(2), targets[0], 0, from[2]),
        (Interface(0), targets[0], 0, from[0]),
        (Interface::ANY, targets[0], 0, from[0]),
        (Interface(1), targets[0], 0, from[0]),
        (Interface(0), targets[1], 1, from[1]),
        (Interface(1), mapped, 0, from[0]),
    ] {
        let mut batch = TransmitBuf::new();
        batch.push(b"hello");
        let transmit = Transmit::to(Path { interface, remote: to });
        sender.send(transmit, &batch, &stats::Counters::default());
        sender.flush(&stats::Counters::default());
        let mut arrived = Vec::new();
        while arrived.is_empty() {
            soon(receiver.readable()).await;
            receiver.receive(at, &mut inbound);
            for (from, run) in inbound.runs() {
                arrived.extend(run.each().map(|datagram| (from, datagram.to_vec())));
            }
        }
        assert_eq!(arrived, [(source, b"hello".to_vec())]);
    }
}

/// The code point and the mark of one datagram over the addresses.
async fn marks_over(address: &str, transmit: impl Fn(Path) -> Transmit) -> Vec<Ecn> {
    let mut receiver = ready(Sockets::bind(&[address.parse().unwrap()]).unwrap()).await;
    let mut sender = ready(Sockets::bind(&[address.parse().unwrap()]).unwrap()).await;
    let to = receiver.local_addresses()[0];
    let mut batch = TransmitBuf::new();
    batch.push(&[1; 100]);
    let counters = stats::Counters::default();
    sender.send(transmit(Path::to(to)), &batch, &counters);
    sender.flush(&counters);
    assert_eq!(counters.snapshot().datagrams_refused, 0);
    let mut inbound = receiver.inbound();
    let mut marks = Vec::new();
    while marks.is_empty() {
        soon(receiver.readable()).await;
        receiver.receive(0, &mut inbound);
        marks.extend(inbound.runs().map(|(_, arrived)| arrived.ecn));
    }
    marks
}

#[tokio::test]
async fn congestion_marks_pass_in_both_directions_with_and_without_a_code_point() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        if Sockets::bind(&[address.parse().unwrap()]).is_err() {
            continue; // no IPv6 here
        }
        for dscp in [0, 46] {
            for ecn in [Ecn::NotCapable, Ecn::Capable, Ecn::Congested] {
                let marked = |path| Transmit { ecn, dscp, ..Transmit::to(path) };
                assert_eq!(marks_over(address, marked).await, [ecn], "{address} {dscp}");
            }
        }
    }
}

/// First byte and length of `count` datagrams.
async fn received(mut sockets: Sockets, count: usize) -> Vec<(usize, usize)> {
    let mut inbound = sockets.inbound();
    let mut all = Vec::new();
    while all.len() < count {
        soon(sockets.readable()).await;
        sockets.receive(0, &mut inbound);
        for (_, arrived) in inbound.runs() {
            all.extend(arrived.each().map(|datagram| (usize::from(datagram[0]), datagram.len())));
        }
    }
    all
}
