//! Plain packets of a session whose keys are known, and what is made of them.
#![no_main]

use libfuzzer_sys::Corpus;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rtmfp::proto::crypto::{
    DhGroup, Identity, IdentityConfig, Initiate, KeyingRandom, Negotiation, Respond, Sealer,
};
use rtmfp::trace::filter::Filter;
use rtmfp::trace::report::{self, Chosen};
use rtmfp::trace::tree::Tree;
use rtmfp::trace::writer::startup_packet;
use rtmfp::trace::{Analyzer, DatagramRef, Decoder, KeyLog, Verify, json, line};
use rtmfp::wire::chunk::{InitiatorKeying, ResponderKeying};
use rtmfp::wire::{Chunk, Mode};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const INITIATOR_ID: u32 = 7;
const RESPONDER_ID: u32 = 9;

/// The messages of both ends, and the line of the key log.
struct Keyed {
    initiate: Vec<u8>,
    answer: Vec<u8>,
    line: String,
}

fn keying() -> (Keyed, Sealer, Sealer) {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut config = IdentityConfig::default();
    config.groups = vec![DhGroup::Modp2];
    let a = Arc::new(Identity::generate(&config, &mut rng));
    let b = Arc::new(Identity::generate(&config, &mut rng));
    let offer = Negotiation::checksum_only;
    let random = KeyingRandom::from_rng(&mut rng);
    let far = b.certificate().clone();
    let initiated = Initiate { identity: a.clone(), far, offer: offer(), ours: true, random }
        .run()
        .expect("keys");
    let skic = initiated.component().to_vec();
    let random = KeyingRandom::from_rng(&mut rng);
    let initiator = a.certificate().clone();
    let (skrc, responder) =
        Respond { identity: b, initiator, skic: skic.clone(), policy: offer(), random }
            .run()
            .expect("keys");
    let keys = initiated.finish(&skrc).expect("keys");
    let line = keys.key_log.line().to_string();
    let signature = b"X";
    let certificate = a.certificate().as_bytes();
    let question = InitiatorKeying {
        session_id: INITIATOR_ID,
        cookie: b"c",
        certificate,
        component: &skic,
        signature,
    };
    let reply = ResponderKeying { session_id: RESPONDER_ID, component: &skrc, signature };
    let initiate = startup_packet(0, Mode::Startup, &[Chunk::InitiatorKeying(question)]);
    let answer = startup_packet(INITIATOR_ID, Mode::Startup, &[Chunk::ResponderKeying(reply)]);
    (Keyed { initiate, answer, line }, keys.sealer, responder.sealer)
}

fuzz_target!(|input: &[u8]| -> Corpus {
    static ONCE: OnceLock<Filter> = OnceLock::new();
    let filter = ONCE.get_or_init(|| {
        "message==connect || command==connect || group==ab || flow>3 || class==gr"
            .parse()
            .expect("a filter")
    });
    thread_local! {
        static SESSION: std::cell::RefCell<(Keyed, Sealer, Sealer)> =
            std::cell::RefCell::new(keying());
    }
    SESSION.with_borrow_mut(|(keyed, initiator, responder)| {
        let mut keys = KeyLog::default();
        keys.read(keyed.line.as_bytes()).expect("a key log");
        let mut analyzer = Analyzer::new(Decoder::new(keys).verifying(Verify::Sampled));
        let mut packets = vec![(false, keyed.initiate.clone()), (true, keyed.answer.clone())];
        // A byte for length and side, then the plain packet.
        let mut rest = input;
        while let Some((&[side, len], after)) = rest.split_first_chunk::<2>() {
            let (plain, after) = after.split_at(after.len().min(usize::from(len) * 5));
            let is_responder = side & 1 != 0;
            let (sealer, id) = match is_responder {
                true => (&mut *responder, INITIATOR_ID),
                false => (&mut *initiator, RESPONDER_ID),
            };
            let mut buf = Vec::new();
            let start = sealer.begin(&mut buf);
            buf.extend_from_slice(plain);
            let range = sealer.finish(&mut buf, start);
            sealer.seal(id, &mut buf, &[range]);
            packets.push((is_responder, buf));
            rest = after;
        }
        let mut text = String::new();
        let mut bytes = Vec::new();
        for (frame, (is_responder, payload)) in (1..).zip(&packets) {
            let ends = [([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into()];
            let (source, destination) =
                if *is_responder { (ends[1], ends[0]) } else { (ends[0], ends[1]) };
            let time = Duration::from_millis(frame);
            let view = analyzer.feed(&DatagramRef {
                frame,
                time,
                source,
                destination,
                payload,
                missing: 0,
            });
            assert!(view.is_rtmfp || frame <= 2, "{:?}", view.status);
            text.clear();
            line::write(&view, &mut text).expect("memory");
            bytes.clear();
            json::packet(&view, true, &mut bytes);
            Tree::of(&view).write(&mut bytes).expect("memory");
            let _ = filter.matches(&view);
        }
        let chosen = Chosen::everything();
        bytes.clear();
        report::sessions(&analyzer, &chosen, &mut bytes).expect("memory");
        report::flows(&analyzer, &chosen, &mut bytes).expect("memory");
        report::groups(&analyzer, &chosen, &mut bytes).expect("memory");
        report::groups_json(&analyzer, &chosen, &mut bytes);
    });
    Corpus::Keep
});
