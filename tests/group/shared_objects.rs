//! Remote shared objects through the server: clients with both encodings, on good and bad links.

use crate::support::meeting::Meeting;
use crate::support::{for_seeds, secs};
use bytes::Bytes;
use rtmfp::proto::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
use rtmfp::proto::flash::{Message, ObjectEncoding};
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::{Link, NodeId};

fn say(meeting: &mut Meeting, at: NodeId, version: u32, events: Vec<SharedObjectEvent>) {
    say_of(meeting, at, SharedObjectMessage::new("room".into(), false, version, events));
}

fn say_of(meeting: &mut Meeting, at: NodeId, message: SharedObjectMessage) {
    let bytes = message.encode_for(ObjectEncoding::Amf3).to_vec();
    meeting.network.act(at, |host, now| host.lazy_mut().send_raw(now, bytes));
}

/// What a client was sent about the object, and the last version.
fn heard(meeting: &Meeting, at: NodeId) -> (u32, Vec<SharedObjectEvent>) {
    read(&meeting.network[at].lazy().raw)
}

fn read(raw: &[Bytes]) -> (u32, Vec<SharedObjectEvent>) {
    let messages =
        raw.iter().filter_map(|it| SharedObjectMessage::parse(&Message::parse(it).unwrap().body));
    messages.fold((0, Vec::new()), |(_, mut all), it| {
        all.extend(it.events);
        (it.version, all)
    })
}

fn set(slot: &str, value: &'static [u8]) -> SharedObjectEvent {
    SharedObjectEvent::RequestChange { slot: slot.into(), value: Bytes::from_static(value) }
}

fn change(slot: &str, value: &'static [u8]) -> SharedObjectEvent {
    SharedObjectEvent::Change { slot: slot.into(), value: Bytes::from_static(value) }
}

#[test]
fn what_one_client_sets_all_get() {
    for_seeds(4, |seed| {
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let workers = [1, 3][(seed / 2) as usize % 2];
        let config = RendezvousConfig::default();
        let mut meeting = Meeting::with_workers(seed, link, config, workers);
        let [a, b] = [ObjectEncoding::Amf3, ObjectEncoding::Amf0]
            .map(|encoding| meeting.add_client(encoding, false));
        meeting.network.run_for(secs(10));
        say(&mut meeting, a, 0, vec![SharedObjectEvent::Use]);
        // An AMF3 integer, and a ByteArray, which the other client cannot read.
        say(&mut meeting, a, 0, vec![set("x", b"\x11\x04\x07"), set("b", b"\x11\x0c\x03x")]);
        meeting.network.run_for(secs(10));
        say(&mut meeting, b, 0, vec![SharedObjectEvent::Use]);
        meeting.network.run_for(secs(10));
        say(&mut meeting, b, 2, vec![set("y", b"\x02\0\x01z")]);
        meeting.network.run_for(secs(10));
        let success = |slot: &str| SharedObjectEvent::Success { slot: slot.into() };
        let begun = [SharedObjectEvent::UseSuccess, SharedObjectEvent::Clear];
        let of_a = [success("x"), success("b"), change("y", b"\x02\0\x01z")];
        assert_eq!(heard(&meeting, a), (3, [&begun[..], &of_a].concat()));
        let number = change("x", b"\0\x40\x1c\0\0\0\0\0\0");
        let of_b = [change("b", b"\x06"), number, success("y")];
        assert_eq!(heard(&meeting, b), (3, [&begun[..], &of_b].concat()));
        assert_eq!(meeting.network[meeting.server].crew().stats().shared_objects, 1);
        for client in [a, b] {
            meeting.network.remove(client);
        }
        meeting.network.run_for(secs(120));
        assert_eq!(meeting.network[meeting.server].crew().stats().shared_objects, 0);
    });
}

#[test]
fn what_is_persistent_is_there_after_a_restart() {
    for_seeds(4, |seed| {
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let mut config = RendezvousConfig::default();
        config.takes_shared_objects = true;
        let mut meeting = Meeting::with_config(seed, link, config);
        let first = meeting.add_client(ObjectEncoding::Amf3, false);
        meeting.network.run_for(secs(10));
        let events = vec![SharedObjectEvent::Use, set("x", b"\x11\x04\x07")];
        let message =
            |persistent, events| SharedObjectMessage::new("room".into(), persistent, 0, events);
        for persistent in [true, false] {
            say_of(&mut meeting, first, message(persistent, events.clone()));
        }
        meeting.network.run_for(secs(10));
        let mut taken = Vec::new();
        let server = meeting.server;
        meeting.network.act(server, |host, _| taken = host.server_mut().take_changed_objects());
        assert_eq!(taken.len(), 1, "the persistent one");
        meeting.restart_server(secs(1));
        let server = meeting.server;
        meeting.network.act(server, |host, _| {
            assert!(host.server_mut().restore_shared_object(taken.remove(0)));
        });
        let second = meeting.add_client(ObjectEncoding::Amf3, false);
        meeting.network.run_for(secs(10));
        say_of(&mut meeting, second, message(true, vec![SharedObjectEvent::Use]));
        meeting.network.run_for(secs(10));
        let begun = [SharedObjectEvent::UseSuccess, SharedObjectEvent::Clear];
        let all = [&begun[..], &[change("x", b"\x11\x04\x07")]].concat();
        assert_eq!(heard(&meeting, second), (1, all));
    });
}

#[cfg(all(feature = "cli", unix))]
mod over_sockets {
    use super::{change, read, set};
    use crate::support::caller::{Action, Caller};
    use rtmfp::driver::Handle;
    use rtmfp::proto::flash::ObjectEncoding;
    use rtmfp::proto::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
    use std::fs;
    use std::io::{BufRead, BufReader, Read};
    use std::net::SocketAddr;
    use std::path::Path;
    use std::process::{Child, ChildStdout, Command, Stdio};
    use tokio::sync::oneshot;

    /// `rtmfp serve`, killed when dropped.
    struct Server(Child, BufReader<ChildStdout>, SocketAddr);

    impl Server {
        fn start(folder: &Path) -> Self {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rtmfp"));
            command.args(["serve", "--listen", "127.0.0.1:0", "--shared-objects"]).arg(folder);
            let mut child = command.env_remove("RUST_LOG").stdout(Stdio::piped()).spawn().unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let address = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
            Self(child, out, address)
        }

        /// Ctrl-C.
        fn stop(mut self) {
            let pid = self.0.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
            self.1.read_to_end(&mut Vec::new()).unwrap();
            assert!(self.0.wait().unwrap().success());
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    async fn say(client: &Handle<Action>, events: Vec<SharedObjectEvent>) {
        let message = SharedObjectMessage::new("../room".into(), true, 0, events);
        let bytes = message.encode_for(ObjectEncoding::Amf3).to_vec();
        client.send(Box::new(|lazy, now| lazy.send_raw(now, bytes))).await.unwrap();
    }

    async fn received(client: &Handle<Action>) -> Vec<SharedObjectEvent> {
        let (answer, raw) = oneshot::channel();
        let look: Action = Box::new(|lazy, _| drop(answer.send(lazy.raw.clone())));
        client.send(look).await.unwrap();
        read(&raw.await.unwrap()).1
    }

    /// Waits until the last event about the object is this one.
    async fn until(client: &Handle<Action>, wanted: SharedObjectEvent) {
        loop {
            if received(client).await.last() == Some(&wanted) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_command_keeps_objects_from_one_start_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("objects");
        let server = Server::start(&folder);
        let (client, _events) = Caller::connect(server.2).await;
        say(&client, vec![SharedObjectEvent::Use, set("x", b"\x11\x04\x07")]).await;
        until(&client, SharedObjectEvent::Success { slot: "x".into() }).await;
        // It is written while the server runs, which is then killed.
        let is_written = || {
            let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            paths.into_iter().any(|path| path.extension().is_some_and(|it| it == "object"))
        };
        while !is_written() {
            tokio::task::yield_now().await;
        }
        drop(server);

        let server = Server::start(&folder);
        let (second, _events) = Caller::connect(server.2).await;
        say(&second, vec![SharedObjectEvent::Use, set("y", b"\x05")]).await;
        until(&second, SharedObjectEvent::Success { slot: "y".into() }).await;
        server.stop();

        let server = Server::start(&folder);
        let (third, _events) = Caller::connect(server.2).await;
        say(&third, vec![SharedObjectEvent::Use]).await;
        until(&third, change("y", b"\x05")).await;
        assert!(received(&third).await.contains(&change("x", b"\x11\x04\x07")));
        server.stop();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
