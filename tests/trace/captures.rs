//! Captures of real programs: every packet decrypts and verifies, and what is in them equals what
//! an independent decoder found.

use rand_chacha::rand_core::SeedableRng;
use rtmfp::proto::crypto::{
    Certificate, CryptoError, DhGroup, Epd, Identity, IdentityConfig, Initiate, KeyingRandom,
    Negotiation, Respond,
};
use rtmfp::trace::{Capture, CaptureStats, Decoded, Decoder, KeyLog, Undecoded};
use rtmfp::wire::Chunk;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    files.sort();
    files
}

fn stats(capture: &Path, keys: KeyLog) -> CaptureStats {
    let mut decoder = Decoder::new(keys);
    let mut stats = CaptureStats::default();
    for datagram in Capture::open(File::open(capture).unwrap()).unwrap() {
        stats.add(&decoder.feed(&datagram.unwrap()));
    }
    stats
}

fn keys(capture: &Path) -> KeyLog {
    let mut keys = KeyLog::default();
    keys.read(File::open(capture.with_extension("keys")).unwrap()).unwrap();
    keys
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The counts in the form of the files, in which a count of zero is left out.
fn to_json(stats: &CaptureStats) -> Value {
    let packets = [
        ("datagrams", stats.datagrams),
        ("startup", stats.startup),
        ("session", stats.session),
        ("sessions", stats.sessions),
        ("too_short", stats.too_short),
        ("undecoded", stats.undecoded),
    ];
    let object = |entries: Vec<(String, u64)>| -> Value {
        let entries = entries.into_iter().filter(|(_, count)| *count > 0);
        entries.map(|(name, count)| (name, Value::from(count))).collect::<Map<_, _>>().into()
    };
    let packets = object(packets.map(|(name, count)| (name.to_owned(), count)).to_vec());
    let chunks = object(stats.chunks.iter().map(|(k, n)| (hex(&[*k]), *n)).collect());
    let metadata = object(stats.flow_metadata.iter().map(|(m, n)| (hex(m), *n)).collect());
    serde_json::json!({ "packets": packets, "chunks": chunks, "flow_metadata": metadata })
}

#[test]
fn counts_equal_those_of_an_independent_decoder() {
    let captures = captures();
    assert_eq!(captures.len(), 15);
    for capture in captures {
        let expected = fs::read(capture.with_extension("counts.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let found = to_json(&stats(&capture, keys(&capture)));
        assert_eq!(found, expected, "{}", capture.display());
    }
}

/// Without the secrets only startup packets can be read, and the decoder reports of every other
/// packet of a session whose keying it saw that the secret is missing.
#[test]
fn without_secrets_only_startup_is_read() {
    for capture in captures() {
        let with = stats(&capture, keys(&capture));
        let without = stats(&capture, KeyLog::default());
        assert_eq!((without.sessions, without.session), (0, 0), "{}", capture.display());
        assert_eq!(without.startup, with.startup);
        assert_eq!(without.undecoded, with.undecoded + with.session);
    }
}

/// The two players of this capture talk to each other with keys that nobody logged.
#[test]
fn a_session_without_a_secret_is_reported() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let capture = folder.join("flash-tc2.pcap");
    let mut decoder = Decoder::new(keys(&capture));
    let (mut keyings, mut unread) = (Vec::new(), 0);
    for datagram in Capture::open(File::open(&capture).unwrap()).unwrap() {
        match decoder.feed(&datagram.unwrap()) {
            Decoded::Packet(packet) => keyings.extend(packet.keying),
            Decoded::Undecoded(reason) => {
                assert!(matches!(reason, Undecoded::NoSecret(_)), "{reason}");
                unread += 1;
            }
        }
    }
    let secrets: Vec<_> = keyings.iter().map(|keying| keying.has_secret).collect();
    assert_eq!(secrets, [true, true, false]);
    assert_eq!(unread, 35);
}

/// A changed byte anywhere in a session's packets is noticed in all sessions with HMACs.
#[test]
fn a_damaged_capture_is_noticed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let capture = folder.join("cpp-echo-g14-hmac-sseq.pcap");
    let mut decoder = Decoder::new(keys(&capture));
    let mut stats = CaptureStats::default();
    for (number, datagram) in Capture::open(File::open(&capture).unwrap()).unwrap().enumerate() {
        let mut datagram = datagram.unwrap();
        if number >= 4 {
            let at = 12 + number % (datagram.payload.len() - 12);
            datagram.payload[at] ^= 0x10;
        }
        stats.add(&decoder.feed(&datagram));
    }
    assert_eq!((stats.startup, stats.session, stats.undecoded), (4, 0, 161));
}

/// Our ends would key with every program that was recorded: no certificate, discriminator or keying
/// component of theirs is refused.
#[test]
fn every_recorded_keying_suits_our_ends() {
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
    let mut config = IdentityConfig::default();
    config.groups = DhGroup::ALL.to_vec();
    let identity = Arc::new(Identity::generate(&config, &mut rng));
    let (mut responders, mut initiators) = (0, 0);
    let mut key = |chunk: Chunk<'_>| -> Result<(), CryptoError> {
        let identity = identity.clone();
        let random = KeyingRandom::from_rng(&mut rng);
        match chunk {
            Chunk::InitiatorHello(hello) => drop(Epd::parse(hello.epd)?),
            Chunk::ForwardedHello(hello) => drop(Epd::parse(hello.epd)?),
            Chunk::ResponderHello(hello) => {
                let far = Certificate::parse(hello.certificate)?;
                Initiate { identity, far, offer: Negotiation::default(), ours: false, random }
                    .run()?;
                responders += 1;
            }
            Chunk::InitiatorKeying(keying) => {
                let initiator = Certificate::parse(keying.certificate)?;
                let skic = keying.component.to_vec();
                let policy = Negotiation::default();
                Respond { identity, initiator, skic, policy, random }.run()?;
                initiators += 1;
            }
            _ => {}
        }
        Ok(())
    };
    for capture in captures() {
        let mut decoder = Decoder::new(keys(&capture));
        for datagram in Capture::open(File::open(&capture).unwrap()).unwrap() {
            let Decoded::Packet(packet) = decoder.feed(&datagram.unwrap()) else { continue };
            for chunk in packet.chunks() {
                assert_eq!(key(chunk), Ok(()), "{}", capture.display());
            }
        }
    }
    assert_eq!((responders, initiators), (198, 204));
}
