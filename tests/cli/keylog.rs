//! `--keylog`: the secrets of sessions of running processes open what was recorded of them.
#![expect(clippy::disallowed_methods, reason = "the recorder has sockets and a clock")]

use crate::support::{Running, Share, fail, rtmfp, succeed, write_file};
use rtmfp::trace::KeyLog;
use rtmfp::trace::writer::CaptureWriter;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The server `rtmfp serve` on a free port, and its address.
fn serve(key_log: &Path) -> (Running, SocketAddr) {
    Running::server("127.0.0.1:0", [OsStr::new("--keylog"), key_log.as_os_str()])
}

/// A translator of addresses between a server and its clients that records all that passes.
struct Recorder {
    front: UdpSocket,
    server: SocketAddr,
    begin: Instant,
    state: Mutex<State>,
}

struct State {
    /// The sockets that stand for clients, by their addresses.
    images: HashMap<SocketAddr, UdpSocket>,
    capture: CaptureWriter<File>,
}

impl Recorder {
    fn start(server: SocketAddr, path: &Path) -> (Arc<Self>, SocketAddr) {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let capture = CaptureWriter::new(File::create(path).unwrap()).unwrap();
        let state = Mutex::new(State { images: HashMap::new(), capture });
        let recorder = Arc::new(Self { front, server, begin: Instant::now(), state });
        let listening = recorder.clone();
        std::thread::spawn(move || listening.take_from_clients());
        (recorder, address)
    }

    fn take_from_clients(self: &Arc<Self>) {
        let front = self.front.try_clone().unwrap();
        each_datagram(&front, |client, payload| {
            let mut state = self.state.lock().unwrap();
            let image = state.images.entry(client).or_insert_with(|| {
                let image = UdpSocket::bind("127.0.0.1:0").unwrap();
                let (recorder, listening) = (self.clone(), image.try_clone().unwrap());
                std::thread::spawn(move || recorder.take_for(client, &listening));
                image
            });
            // To a server that is gone.
            let _ = image.send_to(payload, self.server);
            self.record(&mut state, client, self.front.local_addr().unwrap(), payload);
        });
    }

    /// What arrives at the image of a client: from the server, or from another client.
    fn take_for(&self, client: SocketAddr, image: &UdpSocket) {
        each_datagram(image, |from, payload| {
            let mut state = self.state.lock().unwrap();
            let by = match state.images.get(&from) {
                Some(other) => other.try_clone().unwrap(),
                None if from == self.server => self.front.try_clone().unwrap(),
                None => return,
            };
            self.record(&mut state, by.local_addr().unwrap(), client, payload);
            let _ = by.send_to(payload, client);
        });
    }

    fn record(&self, state: &mut State, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        state.capture.write(self.begin.elapsed(), from, to, payload).unwrap();
    }
}

/// Until the process ends.
fn each_datagram(socket: &UdpSocket, mut take: impl FnMut(SocketAddr, &[u8])) {
    let mut buffer = [0; 65_536];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => take(from, &buffer[..len]),
            // A port that nobody listens at any more.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn secrets(path: &Path) -> usize {
    let mut keys = KeyLog::default();
    keys.read(File::open(path).unwrap()).unwrap()
}

fn assert_private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
}

#[test]
fn what_was_recorded_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let bytes = write_file(&path("film.bin"), 1, 300_000);
    // A file that is there already, and not private.
    fs::write(path("server.keys"), "# mine\n").unwrap();
    let (_server, address) = serve(&path("server.keys"));
    let (_recorder, front) = Recorder::start(address, &path("session.pcap"));

    let via = format!("rtmfp://{front}/films");
    let local = ["--listen", "127.0.0.1:0"];
    let mut share = rtmfp(["share", "--via", &via]);
    share.args(local).arg(path("film.bin")).arg("--keylog").arg(path("share.keys"));
    let mut share = Share::spawn(share);
    let mut fetch = rtmfp(["fetch", &share.link, "-o"]);
    fetch.arg(path("copy.bin")).args(local).env("RTMFPKEYLOGFILE", path("fetch.keys"));
    let (_, errors) = succeed(&mut fetch);
    assert!(fs::read(path("copy.bin")).unwrap() == bytes);
    assert!(errors.contains("WARNING: RTMFPKEYLOGFILE: the secrets of all sessions"), "{errors}");
    for name in ["server.keys", "share.keys", "fetch.keys"] {
        assert_private(&path(name));
        assert_eq!(secrets(&path(name)), 2, "{name}");
    }
    assert!(fs::read_to_string(path("server.keys")).unwrap().starts_with("# mine\nDH_SECRET "));

    // The server's secrets open its sessions, one member's those of the member.
    let decode = |keys: &[&str]| {
        let mut command = rtmfp(["decode", "--sessions", "--json"]);
        command.arg(path("session.pcap"));
        for name in keys {
            command.arg("--keys").arg(path(name));
        }
        let (sessions, notes) = succeed(&mut command);
        let lines = sessions.lines().map(|line| serde_json::from_str(line).unwrap());
        (lines.collect::<Vec<serde_json::Value>>(), notes)
    };
    let (sessions, notes) = decode(&["server.keys", "share.keys"]);
    assert!(sessions.len() >= 2, "{sessions:?}");
    assert!(!notes.contains("cannot be decrypted"), "{notes}");
    assert!(sessions.iter().all(|session| session["has_secret"] == true), "{sessions:?}");
    let (_, notes) = decode(&["fetch.keys"]);
    assert!(notes.contains("session #0 cannot be decrypted"), "{notes}");
    #[cfg(unix)]
    {
        share.interrupt();
        let (_, errors) = share.wait();
        assert!(errors.contains("WARNING: --keylog: "), "{errors}");
    }
}

/// Both ends of a session write the same line.
#[test]
fn members_of_a_group_write_the_lines_of_their_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (_server, address) = serve(&path("server.keys"));
    let join = || {
        let via = format!("rtmfp://{address}/app");
        let mut command = rtmfp(["join", "G:0103010c050e6368617400", "--via", &via]);
        command.args(["--listen", "127.0.0.1:0"]);
        command
    };
    let one = Running::start(join().arg("--keylog").arg(path("one.keys")));
    let other = Running::start(join().env("RTMFPKEYLOGFILE", path("other.keys")));
    for member in [&one, &other] {
        member.until(|line| line.contains("NetGroup.Neighbor.Connect"));
    }
    let lines = |name: &str| -> BTreeSet<String> {
        fs::read_to_string(path(name)).unwrap().lines().map(str::to_owned).collect()
    };
    for (one, other) in [("one", "server"), ("other", "server"), ("one", "other")] {
        let (one, other) = (lines(&format!("{one}.keys")), lines(&format!("{other}.keys")));
        assert!(one.intersection(&other).next().is_some(), "{one:?} and {other:?}");
    }
    for name in ["one.keys", "other.keys"] {
        assert_private(&path(name));
        assert!(secrets(&path(name)) >= 2, "{name}");
    }
    #[cfg(unix)]
    for (member, how) in [(one, "--keylog"), (other, "RTMFPKEYLOGFILE")] {
        member.interrupt();
        let (status, _, errors) = member.wait();
        assert_eq!(status, Some(0), "{errors}");
        assert!(
            errors.contains(&format!("WARNING: {how}: the secrets of all sessions")),
            "{errors}"
        );
    }
}

#[test]
fn the_demo_writes_a_line_for_each_end() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("demo.keys");
    succeed(rtmfp(["demo", "--receivers", "2", "--keylog"]).arg(&keys));
    // Three members at the server, and at least one session between members.
    assert!(secrets(&keys) >= 2 * 4, "{}", secrets(&keys));
    assert_private(&keys);
}

#[test]
fn a_key_log_that_cannot_be_written_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("none/keys");
    let join = ["join", "G:0103010c050e6368617400", "--via", "rtmfp://127.0.0.1/app"];
    for verb in [&["serve", "--listen", "127.0.0.1:0"][..], &["demo"], &join] {
        let err = fail(rtmfp(verb).arg("--keylog").arg(&nowhere), 1);
        assert!(err.contains("error: cannot write the key log"), "{err}");
        assert!(err.contains("No such file") || cfg!(not(unix)), "{err}");
    }
    let err = fail(rtmfp(["demo"]).env("RTMFPKEYLOGFILE", directory.path()), 1);
    assert!(err.contains("error: cannot write the key log"), "{err}");
}
