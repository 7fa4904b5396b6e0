//! The analyzer of captures as a library: sampling, damage, moves, bounds.

use rand_chacha::rand_core::SeedableRng;
use rtmfp::proto::crypto::{
    DhGroup, Identity, IdentityConfig, Initiate, KeyingRandom, Negotiation, Respond, SessionKeys,
};
use rtmfp::trace::flows::{FlowKey, Side};
use rtmfp::trace::tree::Tree;
use rtmfp::trace::writer::{CaptureWriter, packet, startup_packet};
use rtmfp::trace::{
    Analyzer, Capture, DatagramRef, Decoder, KeyLog, Status, Undecoded, Verify, json, line,
};
use rtmfp::wire::chunk::{
    FragmentControl, InitiatorHello, InitiatorKeying, ResponderKeying, UserData, UserDataFlags,
};
use rtmfp::wire::{Chunk, Mode};
use std::fs;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const INITIATOR_ID: u32 = 7;
const RESPONDER_ID: u32 = 9;

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A session between ports 1 and 2 whose keying an analyzer has seen.
struct Recording {
    analyzer: Analyzer,
    initiator: SessionKeys,
    frame: u64,
}

fn recording(verify: Verify) -> Recording {
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([3; 32]);
    let mut config = IdentityConfig::default();
    config.groups = vec![DhGroup::Modp2];
    let mut identity = || Arc::new(Identity::generate(&config, &mut rng));
    let (a, b) = (identity(), identity());
    let initiated = Initiate {
        identity: a.clone(),
        far: b.certificate().clone(),
        offer: Negotiation::default(),
        ours: true,
        random: KeyingRandom::from_rng(&mut rng),
    }
    .run()
    .unwrap();
    let skic = initiated.component().to_vec();
    let (skrc, _) = Respond {
        identity: b,
        initiator: a.certificate().clone(),
        skic: skic.clone(),
        policy: Negotiation::default(),
        random: KeyingRandom::from_rng(&mut rng),
    }
    .run()
    .unwrap();
    let initiator = initiated.finish(&skrc).unwrap();
    let mut keys = KeyLog::default();
    keys.read(initiator.key_log.line().as_bytes()).unwrap();
    let analyzer = Analyzer::new(Decoder::new(keys).verifying(verify));
    let mut recording = Recording { analyzer, initiator, frame: 0 };
    let (component, signature) = (&skic[..], &b"X"[..]);
    let certificate = a.certificate().as_bytes();
    let keying = InitiatorKeying {
        session_id: INITIATOR_ID,
        cookie: b"c",
        certificate,
        component,
        signature,
    };
    let answer = ResponderKeying { session_id: RESPONDER_ID, component: &skrc, signature };
    let keying = startup_packet(0, Mode::Startup, &[Chunk::InitiatorKeying(keying)]);
    let answer = startup_packet(INITIATOR_ID, Mode::Startup, &[Chunk::ResponderKeying(answer)]);
    assert_eq!(recording.feed(1, 2, &keying), Status::Startup);
    assert_eq!(recording.feed(2, 1, &answer), Status::Startup);
    recording
}

impl Recording {
    fn feed(&mut self, from: u16, to: u16, payload: &[u8]) -> Status {
        self.frame += 1;
        let datagram = DatagramRef {
            frame: self.frame,
            time: Duration::from_millis(self.frame),
            source: address(from),
            destination: address(to),
            payload,
            missing: 0,
        };
        self.analyzer.feed(&datagram).status
    }

    fn fragment(&mut self, sequence: u64, fsn_offset: u64, fragment: FragmentControl) -> Vec<u8> {
        let flags = UserDataFlags { fragment, abandon: false, last: false, reserved: 0 };
        let options = (sequence == 1).then_some(&[3, 0, b'G', b'C', 0][..]);
        let data = &[0x0b; 40];
        let chunk = UserData { flags, flow: 2, sequence, fsn_offset, options, data };
        self.seal(&[Chunk::UserData(chunk)])
    }

    fn seal(&mut self, chunks: &[Chunk<'_>]) -> Vec<u8> {
        packet(&mut self.initiator.sealer, RESPONDER_ID, Mode::Initiator, chunks)
    }
}

const OURS: Status = Status::Session(0, Side::Initiator);

/// Damage within what an application sent goes unnoticed by sampling, once the keys have proven
/// themselves; damage to the packet itself does not.
#[test]
fn sampling_skips_hmacs_but_not_structure() {
    for (verify, noticed) in [(Verify::All, true), (Verify::Sampled, false)] {
        let mut recording = recording(verify);
        for sequence in 1..=65 {
            let mut payload = recording.fragment(sequence, 1, FragmentControl::Whole);
            // The first are all verified.
            if sequence == 3 {
                let last = payload.len() - 1;
                payload[last] ^= 1;
                assert!(matches!(recording.feed(1, 2, &payload), Status::Undecoded(_)));
            } else {
                assert_eq!(recording.feed(1, 2, &payload), OURS, "{sequence}");
            }
        }
        // One in 64 is verified.
        let payload = recording.fragment(66, 1, FragmentControl::Whole);
        assert_eq!(recording.feed(1, 2, &payload), OURS);
        for sequence in 67..=70 {
            let mut payload = recording.fragment(sequence, 1, FragmentControl::Whole);
            let last = payload.len() - 1;
            payload[last] ^= 1;
            let status = recording.feed(1, 2, &payload);
            assert_eq!(status == OURS, !noticed, "{verify:?} {sequence}: {status:?}");
        }
        let mut payload = recording.fragment(71, 1, FragmentControl::Whole);
        for byte in &mut payload[12..20] {
            *byte ^= 0x55;
        }
        assert!(matches!(recording.feed(1, 2, &payload), Status::Undecoded(_)));
    }
}

#[test]
fn fragments_out_of_order_make_messages() {
    use FragmentControl::{Begin, End, Middle, Whole};
    let mut recording = recording(Verify::All);
    // 1-3 a message, in disorder and with a repetition; 4 lost for good; 5 a message of its own;
    // 6-7 without a beginning, as 6 is given up.
    let packets = [(1, 1, Begin), (3, 3, End), (1, 1, Begin), (2, 2, Middle), (5, 5, Whole)];
    let mut completed = Vec::new();
    for (sequence, offset, control) in packets {
        let payload = recording.fragment(sequence, offset, control);
        recording.feed(1, 2, &payload);
        let key = FlowKey { session: 0, side: Side::Initiator, flow: 2 };
        completed.push(recording.analyzer.flows().find(&key).unwrap().messages);
    }
    assert_eq!(completed, [0, 0, 0, 1, 1], "5 waits for 4");
    let payload = recording.fragment(7, 2, End);
    recording.feed(1, 2, &payload);
    let flows = recording.analyzer.flows().sorted();
    let (key, flow) = flows[0];
    assert_eq!((key.session, key.side, key.flow), (0, Side::Initiator, 2));
    assert_eq!((flow.messages, flow.message_bytes), (2, 160));
    assert_eq!((flow.chunks, flow.retransmitted, flow.reordered), (6, 1, 1));
    assert_eq!(flow.skipped, 1, "4; 6 may still come");
    assert_eq!(flow.metadata, b"GC");
}

#[test]
fn a_session_that_moves_is_still_known() {
    let mut recording = recording(Verify::Sampled);
    for port in [1, 1, 50, 51] {
        let ping = recording.seal(&[Chunk::Ping(b"?")]);
        assert_eq!(recording.feed(port, 2, &ping), OURS);
    }
    let session = recording.analyzer.sessions().find(0).unwrap();
    assert_eq!(session.initiator.addresses, [1, 50, 51].map(address));
    assert_eq!((session.initiator.moves, session.initiator.packets), (2, 4));
    assert!(session.initiator.fingerprint.is_some() && session.responder.fingerprint.is_none());
}

#[test]
fn what_is_not_rtmfp_is_recognized() {
    let mut analyzer = Analyzer::new(Decoder::new(KeyLog::default()));
    let mut feed = |from, payload: &[u8]| {
        let datagram = DatagramRef {
            frame: 1,
            time: Duration::ZERO,
            source: address(from),
            destination: address(2),
            payload,
            missing: 0,
        };
        analyzer.feed(&datagram).is_rtmfp
    };
    assert!(!feed(1, &[0x55; 100]));
    assert!(!feed(1, b"short"));
    let hello = InitiatorHello { epd: b"", tag: b"tag" };
    assert!(feed(1, &startup_packet(0, Mode::Startup, &[Chunk::InitiatorHello(hello)])));
    assert!(feed(1, &[0x55; 100]), "between the same addresses");
    // The checksum is right, but nothing else is.
    let unknown = Chunk::Unknown { kind: 0x99, payload: b"abcdefgh" };
    assert!(!feed(3, &startup_packet(0, Mode::Startup, &[unknown])));
}

/// What the snap length has cut is the session's between the same addresses, but cannot be read.
#[test]
fn datagrams_that_were_cut_are_attributed() {
    let mut recording = recording(Verify::Sampled);
    let whole = recording.seal(&[Chunk::Ping(&[7; 100])]);
    for (from, session) in [(1, Some((0, Side::Initiator))), (5, None)] {
        let datagram = DatagramRef {
            frame: 9,
            time: Duration::ZERO,
            source: address(from),
            destination: address(2),
            payload: &whole[..68],
            missing: whole.len() - 68,
        };
        let packet = recording.analyzer.feed(&datagram);
        assert_eq!(packet.status, Status::Undecoded(Undecoded::Cut(RESPONDER_ID)));
        assert_eq!((packet.session, packet.is_rtmfp), (session, from == 1));
        assert_eq!(packet.len, whole.len());
        let mut text = String::new();
        line::write_summary(&packet, &mut text).unwrap();
        let who = if from == 1 { "#0 initiator" } else { "undecoded: not captured whole" };
        assert_eq!(text, format!("{who} [{} bytes not captured]", whole.len() - 68));
    }
}

/// What comes of a capture with these datagrams, as an analyzer takes it: their lengths.
fn lengths(analyzer: &mut Analyzer, datagrams: &[(SocketAddr, SocketAddr, Vec<u8>)]) -> Vec<usize> {
    let mut file = CaptureWriter::new(Vec::new()).unwrap();
    for (source, destination, payload) in datagrams {
        file.write(Duration::ZERO, *source, *destination, payload).unwrap();
    }
    let mut capture = Capture::open(Cursor::new(file.into_inner())).unwrap();
    let mut lengths = Vec::new();
    while let Some(datagram) = capture.advance_with(|first| analyzer.knows(first)).unwrap() {
        lengths.push(analyzer.feed(&datagram).len);
    }
    lengths
}

#[test]
fn joined_datagrams_of_a_known_session_are_taken_apart() {
    let mut recording = recording(Verify::All);
    let mut joined = |first: u64| {
        let datagrams =
            (first..first + 20).map(|n| recording.fragment(n, 1, FragmentControl::Whole));
        datagrams.collect::<Vec<_>>().concat()
    };
    let (one, two, three) = (joined(2), joined(22), joined(42));
    let len = one.len() / 20;
    let count = |analyzer: &mut Analyzer, from, payload| {
        let found = lengths(analyzer, &[(address(from), address(2), payload)]);
        assert!(found.len() == 1 || found.iter().all(|l| *l == len), "{found:?}");
        found.len()
    };
    // On loopback, where a datagram may be that long; the second time from another port.
    assert_eq!(count(&mut recording.analyzer, 1, one.clone()), 20);
    assert_eq!(count(&mut recording.analyzer, 77, two), 20);
    // Of another session nothing is known; between hosts it is longer than the link carries.
    let mut stranger = Analyzer::new(Decoder::new(KeyLog::default()));
    assert_eq!(count(&mut stranger, 1, three.clone()), 1);
    let remote = |host| SocketAddr::from(([192, 0, 2, host], 9));
    let between = |payload: &[u8]| [(remote(1), remote(2), payload.to_vec())];
    assert_eq!(lengths(&mut stranger, &between(&three)), [len; 20]);
    let short = &three[..len * (1472 / len)];
    assert_eq!(lengths(&mut stranger, &between(short)), [short.len()]);
    // The startup of a session between addresses of which nothing is known yet.
    let hello = InitiatorHello { epd: b"", tag: b"tag" };
    let hello = startup_packet(0, Mode::Startup, &[Chunk::InitiatorHello(hello)]);
    let twice = [&hello[..], &hello].concat();
    assert_eq!(lengths(&mut stranger, &between(&twice)), [hello.len(); 2]);
}

#[test]
fn datagrams_of_other_programs_are_left_whole() {
    let mut analyzer = Analyzer::new(Decoder::new(KeyLog::default()));
    let remote = |host| SocketAddr::from(([192, 0, 2, host], 9));
    let pattern: Vec<u8> = (0..8000u32).flat_map(|n| (n % 3).to_be_bytes()).collect();
    for payload in [vec![0; 200], vec![0; 65_507], vec![0xaa; 9000], pattern] {
        for (from, to) in [(remote(1), remote(2)), (address(1), address(2))] {
            let found = lengths(&mut analyzer, &[(from, to, payload.clone())]);
            assert_eq!(found, [payload.len()], "{from} {:?}", &payload[..8]);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures/links");
    let file = fs::File::open(folder.join("zeros-one-datagram.pcap")).unwrap();
    let found: Vec<_> = Capture::open(file).unwrap().map(|d| d.unwrap().payload.len()).collect();
    assert_eq!(found, [200]);
}

/// Whatever is cut off or damaged, everything that can be printed is.
#[test]
fn cut_and_damaged_captures_never_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let file = fs::read(folder.join("cpp-p2p-intro.pcap")).unwrap();
    let mut keys = KeyLog::default();
    keys.read(fs::File::open(folder.join("cpp-p2p-intro.keys")).unwrap()).unwrap();
    let run = |file: Vec<u8>| {
        let Ok(mut capture) = Capture::open(Cursor::new(file)) else { return };
        let mut analyzer = Analyzer::new(Decoder::new(keys.clone()).verifying(Verify::Sampled));
        while let Ok(Some(datagram)) = capture.advance() {
            let packet = analyzer.feed(&datagram);
            line::write(&packet, &mut String::new()).unwrap();
            Tree::of(&packet).write(&mut Vec::new()).unwrap();
            json::packet(&packet, true, &mut Vec::new());
        }
    };
    for cut in (0..file.len()).step_by(1009) {
        run(file[..cut].to_vec());
        let mut damaged = file.clone();
        damaged[cut] ^= 0x81;
        run(damaged);
    }
}
