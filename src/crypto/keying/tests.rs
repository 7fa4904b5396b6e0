use super::*;
use crate::crypto::{
    HmacPolicy, IdentityConfig, KeyStyle, SendPolicy, SseqPolicy, Verification, tests_rng,
};
use crate::wire::option::encode_option;
use proptest::prelude::*;

fn identity(keys: KeyStyle, groups: &[DhGroup], seed: u8) -> Arc<Identity> {
    let config = IdentityConfig { keys, groups: groups.to_vec(), ..Default::default() };
    Arc::new(Identity::generate(&config, &mut tests_rng(seed)))
}

fn random(seed: u8) -> KeyingRandom {
    KeyingRandom::from_rng(&mut tests_rng(seed))
}

fn initiate(near: &Arc<Identity>, far: &Identity, offer: Negotiation) -> Initiated {
    let far = far.certificate().clone();
    let random = random(0xa1);
    Initiate { identity: near.clone(), far, offer, ours: false, random }.run().unwrap()
}

fn respond(
    near: &Arc<Identity>,
    initiator: &Certificate,
    skic: &[u8],
    policy: Negotiation,
) -> Result<(Vec<u8>, SessionKeys), CryptoError> {
    let initiator = initiator.clone();
    Respond { identity: near.clone(), initiator, skic: skic.to_vec(), policy, random: random(0xb2) }
        .run()
}

/// Keys both ends.
fn keyed(
    initiator: &Arc<Identity>,
    offer: Negotiation,
    responder: &Arc<Identity>,
    policy: Negotiation,
) -> (SessionKeys, SessionKeys) {
    let initiated = initiate(initiator, responder, offer);
    let (skrc, theirs) =
        respond(responder, initiator.certificate(), initiated.component(), policy).unwrap();
    (initiated.finish(&skrc).unwrap(), theirs)
}

/// Sends packets both ways.
fn assert_connected(a: &mut SessionKeys, b: &mut SessionKeys) {
    for (from, to) in [(&mut a.sealer, &mut b.opener), (&mut b.sealer, &mut a.opener)] {
        for plain in [&b"one packet"[..], b"another one"] {
            let mut buf = Vec::new();
            let start = from.begin(&mut buf);
            buf.extend_from_slice(plain);
            let range = from.finish(&mut buf, start);
            from.seal(1, &mut buf, &[range]);
            assert!(to.open(&mut buf[4..]).unwrap().starts_with(plain));
        }
    }
    assert_eq!((a.near_nonce, a.far_nonce), (b.far_nonce, b.near_nonce));
    assert_ne!(a.near_nonce, a.far_nonce);
    assert_eq!(a.key_log.line(), b.key_log.line());
    assert_eq!(a.negotiated.send, b.negotiated.receive);
    assert_eq!(a.negotiated.receive, b.negotiated.send);
    assert_eq!(a.negotiated.group, b.negotiated.group);
    assert_eq!(a.negotiated.near_static, b.negotiated.far_static);
    assert_eq!(a.negotiated.far_static, b.negotiated.near_static);
}

#[test]
fn all_four_key_combinations_in_every_group() {
    let styles = [KeyStyle::Ephemeral, KeyStyle::Static];
    for group in DhGroup::ALL {
        for (ours, theirs) in styles.into_iter().flat_map(|a| styles.map(|b| (a, b))) {
            let (a, b) = (identity(ours, &[group], 1), identity(theirs, &[group], 2));
            let (mut at_a, mut at_b) =
                keyed(&a, Negotiation::default(), &b, Negotiation::default());
            assert_connected(&mut at_a, &mut at_b);
            assert_eq!(at_a.negotiated.group, group);
            assert_eq!(at_a.negotiated.near_static, ours == KeyStyle::Static);
            assert_eq!(at_a.negotiated.far_static, theirs == KeyStyle::Static);
        }
    }
}

#[test]
fn every_pair_of_policies() {
    let (a, b) = (
        identity(KeyStyle::Static, &[DhGroup::Modp2], 1),
        identity(KeyStyle::Ephemeral, &[DhGroup::Modp2], 2),
    );
    let sends = [SendPolicy::Never, SendPolicy::OnRequest, SendPolicy::Always];
    let policies: Vec<_> = sends
        .into_iter()
        .flat_map(|send| [(send, false), (send, true)])
        .map(|(send, request)| Negotiation {
            hmac: HmacPolicy { send, request, require: false, length: 12 },
            sseq: SseqPolicy { send, request, require: false },
            only_on_request: false,
            ..Default::default()
        })
        .collect();
    for (offer, policy) in policies.iter().flat_map(|a| policies.iter().map(move |b| (a, b))) {
        let (mut at_a, mut at_b) = keyed(&a, offer.clone(), &b, policy.clone());
        assert_connected(&mut at_a, &mut at_b);
        let sent = |direction: Direction| {
            assert_eq!(
                direction.verification == Verification::Hmac(12),
                direction.sequence_numbers
            );
            direction.sequence_numbers
        };
        let expected = |send, requested| match send {
            SendPolicy::Never => false,
            SendPolicy::OnRequest => requested,
            SendPolicy::Always => true,
        };
        assert_eq!(sent(at_a.negotiated.send), expected(offer.hmac.send, policy.hmac.request));
        assert_eq!(sent(at_b.negotiated.send), expected(policy.hmac.send, offer.hmac.request));
    }
}

#[test]
fn the_component_has_what_its_certificate_calls_for() {
    let groups = [DhGroup::Modp2];
    let (ephemeral, fixed) =
        (identity(KeyStyle::Ephemeral, &groups, 1), identity(KeyStyle::Static, &groups, 2));
    let skic = initiate(&fixed, &ephemeral, Negotiation::default()).component().to_vec();
    assert_eq!(skic[..5], [0x02, 0x1d, 0x02, 0x41, 0x0e]);
    assert_eq!(skic[69..], [0x03, 0x1a, 0x02, 0x10, 0x02, 0x1e, 0x02]);
    let eager = Negotiation { only_on_request: false, ..Negotiation::default() };
    let skic = initiate(&ephemeral, &fixed, eager).component().to_vec();
    assert_eq!(skic[..4], [0x81, 0x02, 0x0d, 0x02]);
    assert_eq!(skic[132..], [0x03, 0x1a, 0x07, 0x10, 0x02, 0x1e, 0x07]);
    let policy = Negotiation::default();
    let (skrc, _) = respond(&fixed, ephemeral.certificate(), &skic, policy).unwrap();
    assert_eq!(skrc[..7], [0x03, 0x1a, 0x07, 0x10, 0x02, 0x1e, 0x07]);
    assert_eq!(skrc[7..9], [0x41, 0x0e], "a static responder selects no group");
    assert_eq!(skrc.len(), 7 + 66);
}

#[test]
fn the_initiator_prefers_a_group() {
    let both = identity(KeyStyle::Ephemeral, &[DhGroup::Modp2, DhGroup::Modp14], 1);
    let two = identity(KeyStyle::Ephemeral, &[DhGroup::Modp2], 2);
    let sixteen = identity(KeyStyle::Ephemeral, &[DhGroup::Modp16], 3);
    let group = |near: &Arc<Identity>, far: &Identity, groups: Vec<DhGroup>| {
        let offer = Negotiation { groups, ..Default::default() };
        let far = far.certificate().clone();
        let (ours, random) = (false, random(1));
        let job = Initiate { identity: near.clone(), far, offer, ours, random };
        job.run().map(|initiated| initiated.group)
    };
    let default = Negotiation::default().groups;
    assert_eq!(group(&both, &both, default.clone()), Ok(DhGroup::Modp14));
    assert_eq!(group(&both, &two, default.clone()), Ok(DhGroup::Modp2));
    assert_eq!(group(&both, &both, vec![DhGroup::Modp2]), Ok(DhGroup::Modp2));
    assert_eq!(group(&both, &both, vec![]), Ok(DhGroup::Modp2));
    assert_eq!(group(&sixteen, &sixteen, default.clone()), Ok(DhGroup::Modp16));
    assert_eq!(group(&both, &sixteen, default), Err(CryptoError::NoCommonGroup));
}

#[test]
fn a_forged_answer_does_not_end_the_attempt() {
    let groups = [DhGroup::Modp2];
    let (a, b) =
        (identity(KeyStyle::Static, &groups, 1), identity(KeyStyle::Ephemeral, &groups, 2));
    let initiated = initiate(&a, &b, Negotiation::default());
    for forged in [&b""[..], b"\x05", &[0x03, 0x0d, 0x02, 0x01], &[0x02, 0x1d, 0x02]] {
        assert!(initiated.finish(forged).is_err());
    }
    let policy = Negotiation::default();
    let (skrc, mut at_b) = respond(&b, a.certificate(), initiated.component(), policy).unwrap();
    assert_connected(&mut initiated.finish(&skrc).unwrap(), &mut at_b);
}

#[test]
fn leading_zeros_of_public_keys_count_in_the_derivation_only() {
    let groups = [DhGroup::Modp2];
    let (a, b) =
        (identity(KeyStyle::Ephemeral, &groups, 1), identity(KeyStyle::Ephemeral, &groups, 2));
    let initiated = initiate(&a, &b, Negotiation::default());
    let policy = Negotiation::default();
    let skic = initiated.component();
    let (skrc, _) = respond(&b, a.certificate(), skic, policy).unwrap();
    let plain = initiated.finish(&skrc).unwrap();

    let key = Component::parse(&skrc).unwrap().ephemeral_key.unwrap().1.to_vec();
    let mut padded = skrc[..skrc.len() - key.len() - 4].to_vec();
    encode_option(0x0d, &[&[0x02, 0x00], &key[..]].concat(), &mut padded);
    let keys = initiated.finish(&padded).unwrap();
    let secret = |keys: &SessionKeys| keys.key_log.line()[75..].to_owned();
    assert_eq!(secret(&keys), secret(&plain));
    assert_ne!(keys.far_nonce, plain.far_nonce);
    assert_eq!(keys.near_nonce, plain.near_nonce);
}

#[test]
fn requirements_are_enforced_at_both_ends() {
    let groups = [DhGroup::Modp2];
    let (a, b) =
        (identity(KeyStyle::Ephemeral, &groups, 1), identity(KeyStyle::Ephemeral, &groups, 2));
    let mut strict = Negotiation::default();
    strict.hmac.require = true;
    let initiated = initiate(&a, &b, Negotiation::checksum_only());
    let refused = respond(&b, a.certificate(), initiated.component(), strict.clone());
    assert_eq!(refused.unwrap_err(), CryptoError::HmacRequired);

    let mut strict = Negotiation::default();
    strict.sseq.require = true;
    let initiated = initiate(&a, &b, strict);
    let policy = Negotiation::checksum_only();
    let (skrc, _) = respond(&b, a.certificate(), initiated.component(), policy).unwrap();
    let refused = initiated.finish(&skrc).unwrap_err();
    assert_eq!(refused, CryptoError::SequenceNumbersRequired);
}

#[test]
fn hostile_initiators() {
    let groups = [DhGroup::Modp2];
    let b = identity(KeyStyle::Ephemeral, &groups, 2);
    let key = |group: u8, key: &[u8]| {
        let mut out = Vec::new();
        encode_option(0x0d, &[&[group], key].concat(), &mut out);
        out
    };
    let good = key(2, &[0x5a; 128]);
    let ephemeral = Certificate::parse(&[0x02, 0x15, 0x02]).unwrap();
    let mut bytes = vec![0x81, 0x02, 0x1d, 0x02];
    bytes.extend_from_slice(&[0x5a; 128]);
    let fixed = Certificate::parse(&bytes).unwrap();
    bytes[4..].fill(0);
    let zero = Certificate::parse(&bytes).unwrap();
    bytes.extend_from_slice(&[0x02, 0x15, 0x02]);
    let both = Certificate::parse(&bytes).unwrap();
    let select = |group: u8| vec![0x02, 0x1d, group];

    use CryptoError::*;
    for (certificate, skic, expected) in [
        (&ephemeral, vec![], MissingPublicKey),
        (&ephemeral, select(2), MissingPublicKey),
        (&ephemeral, [select(2), good.clone()].concat(), GroupSelection),
        (&ephemeral, key(2, &[1]), UnacceptablePublicKey),
        (&ephemeral, key(2, &[]), UnacceptablePublicKey),
        (&ephemeral, key(2, &[0xff; 128]), UnacceptablePublicKey),
        (&ephemeral, key(2, &[0x5a; 129]), UnacceptablePublicKey),
        (&ephemeral, key(14, &[0x5a; 256]), UnsupportedGroup(14)),
        (&ephemeral, key(99, &[0x5a; 128]), UnsupportedGroup(99)),
        (&fixed, vec![], GroupSelection),
        (&fixed, good.clone(), MissingPublicKey),
        (&fixed, [select(2), good.clone()].concat(), MissingPublicKey),
        (&fixed, select(14), MissingPublicKey),
        (&fixed, select(99), UnsupportedGroup(99)),
        (&zero, select(2), UnacceptablePublicKey),
        (&both, good.clone(), ContradictoryCertificate),
        (&ephemeral, [good.clone(), good.clone()].concat(), Duplicate("ephemeral public key")),
    ] {
        let result = respond(&b, certificate, &skic, Negotiation::default());
        assert_eq!(result.unwrap_err(), expected, "{skic:x?}");
    }
    assert!(respond(&b, &ephemeral, &good, Negotiation::default()).is_ok());
    assert!(respond(&b, &fixed, &select(2), Negotiation::default()).is_ok());
    let empty = Certificate::parse(&[]).unwrap();
    assert!(respond(&b, &empty, &good, Negotiation::default()).is_ok(), "as some clients do");
}

#[test]
fn hostile_responders() {
    let a = identity(KeyStyle::Ephemeral, &[DhGroup::Modp2, DhGroup::Modp14], 1);
    let ephemeral = identity(KeyStyle::Ephemeral, &[DhGroup::Modp2], 2);
    let fixed = identity(KeyStyle::Static, &[DhGroup::Modp2], 3);
    let mut wrong_group = Vec::new();
    encode_option(0x0d, &[&[14], &[0x5a; 256][..]].concat(), &mut wrong_group);
    let mut good = Vec::new();
    encode_option(0x0d, &[&[2], &[0x5a; 128][..]].concat(), &mut good);

    let initiated = initiate(&a, &ephemeral, Negotiation::default());
    assert_eq!(initiated.finish(&[]).unwrap_err(), CryptoError::MissingPublicKey);
    assert_eq!(initiated.finish(&wrong_group).unwrap_err(), CryptoError::GroupMismatch);
    assert!(initiated.finish(&good).is_ok());
    let initiated = initiate(&a, &fixed, Negotiation::default());
    assert_eq!(initiated.finish(&good).unwrap_err(), CryptoError::MissingPublicKey);
    assert!(initiated.finish(&[]).is_ok());
}

#[test]
fn debug_shows_no_secrets() {
    let groups = [DhGroup::Modp2];
    let (a, b) =
        (identity(KeyStyle::Ephemeral, &groups, 1), identity(KeyStyle::Ephemeral, &groups, 2));
    let initiated = initiate(&a, &b, Negotiation::default());
    let exponent = initiated.ephemeral.as_ref().unwrap().exponent()[..4].to_vec();
    let (_, keys) =
        respond(&b, a.certificate(), initiated.component(), Negotiation::default()).unwrap();
    let text = format!("{initiated:?} {keys:?} {:?}", random(1));
    assert!(!text.contains(&format!("{exponent:?}")[1..]));
    assert!(!text.contains("nonce"), "{text}");
    assert!(text.ends_with("KeyingRandom { .. }"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_components_never_panic(skic: Vec<u8>, certificate: Vec<u8>) {
        let b = identity(KeyStyle::Ephemeral, &[DhGroup::Modp2], 2);
        if let Ok(certificate) = Certificate::parse(&certificate) {
            let _ = respond(&b, &certificate, &skic, Negotiation::default());
        }
        let a = identity(KeyStyle::Ephemeral, &[DhGroup::Modp2], 1);
        prop_assert!(initiate(&a, &b, Negotiation::default()).finish(&skic).is_err());
    }
}

/// The certificate that every program of Flash's time takes, and a larger group where both know it.
#[test]
fn an_additional_key_where_both_ends_know_it() {
    let two = [DhGroup::Modp2];
    let client = identity(KeyStyle::Static, &two, 1);
    let both = [DhGroup::Modp2, DhGroup::Modp14];
    let far_ends = [identity(KeyStyle::Static, &two, 2), identity(KeyStyle::Ephemeral, &both, 3)];
    let plain = Negotiation { groups: two.to_vec(), ..Default::default() };
    for far in far_ends {
        for (additional, policy, expected) in [
            (true, Negotiation::default(), Some(DhGroup::Modp14)),
            (true, plain.clone(), None),
            (false, Negotiation::default(), None),
        ] {
            let job = Initiate {
                identity: client.clone(),
                far: far.certificate().clone(),
                offer: Negotiation::default(),
                ours: additional,
                random: random(1),
            };
            let initiated = job.run().unwrap();
            // Nothing that others do not know unless the far end is known to know it.
            assert_eq!(
                Component::parse(initiated.component()).unwrap().additional_key.is_some(),
                additional
            );
            let skic = initiated.component();
            let (skrc, mut theirs) = respond(&far, client.certificate(), skic, policy).unwrap();
            let mut ours = initiated.finish(&skrc).unwrap();
            assert_connected(&mut ours, &mut theirs);
            for keys in [&ours, &theirs] {
                assert_eq!(keys.negotiated.group, DhGroup::Modp2);
                assert_eq!(keys.negotiated.additional_group, expected);
            }
        }
    }
}

#[test]
fn an_additional_key_that_is_not_acceptable() {
    let two = [DhGroup::Modp2];
    let (a, b) = (identity(KeyStyle::Static, &two, 1), identity(KeyStyle::Static, &two, 2));
    let job = Initiate {
        identity: a.clone(),
        far: b.certificate().clone(),
        offer: Negotiation::default(),
        ours: true,
        random: random(1),
    };
    let initiated = job.run().unwrap();
    let skic = initiated.component();
    let (skrc, _) = respond(&b, a.certificate(), skic, Negotiation::default()).unwrap();
    let key = |component: &[u8]| component.len() - 256;
    for (component, forged) in [(skic, 1), (&skrc[..], 1), (&skrc[..], 0)] {
        let mut component = component.to_vec();
        let start = key(&component);
        component[start..].fill(0);
        *component.last_mut().unwrap() = forged;
        assert!(initiated.finish(&component).is_err());
        assert!(respond(&b, a.certificate(), &component, Negotiation::default()).is_err());
    }
    // Stripped on the way: no error, but the keys differ.
    let end = key(&skrc) - 4;
    let stripped = initiated.finish(&skrc[..end]).unwrap();
    assert_eq!(stripped.negotiated.additional_group, None);
}
