//! Bytes of a stranger before and during a keying: certificates, endpoint discriminators, keying
//! components, signatures, cookies, datagrams. The first byte selects which; where several belong
//! together, all but the last have their lengths before them.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rtmfp::proto::crypto::{
    Certificate, CookieCheck, CookieSecret, DhGroup, Epd, Identity, IdentityConfig, Initiate,
    Initiated, KeyStyle, KeyingRandom, NO_SIGNATURE, Negotiation, Opener, Overheard, Respond,
    Sealer, SessionKeys, SignatureCheck, Verification, verify,
};
use rtmfp::wire::{multiplex, vlu};

fuzz_target!(|input: &[u8]| {
    let Some((&kind, blob)) = input.split_first() else { return };
    match kind % 8 {
        0 => certificate(blob),
        1 => discriminator(blob),
        2 => initiator(blob),
        3 => responder(blob),
        4 => listener(blob),
        5 => signature(blob),
        6 => cookie_and_identity(blob),
        _ => datagram(blob),
    }
});

/// The near end, with static keys, so that an input costs no more than one power.
static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| {
    let mut config = IdentityConfig::default();
    config.keys = KeyStyle::Static;
    config.groups = vec![DhGroup::Modp2];
    Arc::new(Identity::generate(&config, &mut rng()))
});

/// An initiator that waits for the answer of a responder with ephemeral keys.
static INITIATED: LazyLock<Initiated> = LazyLock::new(|| {
    let mut config = IdentityConfig::default();
    config.groups = vec![DhGroup::Modp2];
    let far = Identity::generate(&config, &mut rng()).certificate().clone();
    let offer = Negotiation::default();
    let initiate =
        Initiate { identity: IDENTITY.clone(), far, offer, ours: true, random: random() };
    initiate.run().expect("they have a group in common")
});

static COOKIES: LazyLock<CookieSecret> = LazyLock::new(|| CookieSecret::generate(&mut rng()));

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

fn random() -> KeyingRandom {
    KeyingRandom::from_rng(&mut rng())
}

fn certificate(blob: &[u8]) {
    let Ok(certificate) = Certificate::parse(blob) else { return };
    assert_eq!(certificate.as_bytes(), blob);
    let _ = format!("{certificate:?}");
    let _ = (certificate.ephemeral_groups().count(), certificate.hostname());
    for group in certificate.static_groups() {
        assert!(certificate.static_key(group).is_some());
    }
    assert!(certificate.precedes_or_equals(&certificate));
    assert!(Epd::for_fingerprint(certificate.fingerprint()).selects(&certificate));
    let own = IDENTITY.certificate();
    assert!(certificate.precedes_or_equals(own) || own.precedes_or_equals(&certificate));
    let offer = Negotiation::default();
    let initiate = Initiate {
        identity: IDENTITY.clone(),
        far: certificate,
        offer,
        ours: true,
        random: random(),
    };
    let _ = initiate.run();
}

fn discriminator(blob: &[u8]) {
    let Ok(epd) = Epd::parse(blob) else { return };
    assert_eq!(epd.as_bytes(), blob);
    let _ = (format!("{epd:?}"), epd.hostname());
    if let Some(fingerprint) = epd.fingerprint() {
        assert_eq!(Epd::for_fingerprint(fingerprint).fingerprint(), Some(fingerprint));
    }
    if let Some(Ok(uri)) = epd.ancillary().map(std::str::from_utf8) {
        assert_eq!(Epd::for_uri(uri).ancillary(), Some(uri.as_bytes()));
    }
    let selected = epd.selects(IDENTITY.certificate());
    assert!(!selected || !blob.is_empty());
}

/// Its certificate and its component.
fn initiator(blob: &[u8]) {
    let Ok((certificate, skic)) = vlu::parse_prefixed("certificate", blob) else { return };
    let Ok(initiator) = Certificate::parse(certificate) else { return };
    let identity = IDENTITY.clone();
    let (skic, policy) = (skic.to_vec(), Negotiation::default());
    let respond = Respond { identity, initiator, skic, policy, random: random() };
    if let Ok((skrc, mut keys)) = respond.run() {
        assert!(Overheard::new(&[], &skrc, b"secret").is_ok());
        forgery_is_refused(&mut keys);
    }
}

/// Its component.
fn responder(blob: &[u8]) {
    if let Ok(mut keys) = INITIATED.finish(blob) {
        forgery_is_refused(&mut keys);
    }
}

/// Without an HMAC, one in 65,536 has the right checksum.
fn forgery_is_refused(keys: &mut SessionKeys) {
    let opened = keys.opener.open(&mut [0; 64]).is_ok();
    assert!(!opened || keys.negotiated.receive.verification == Verification::Checksum);
}

/// Both components, the secret and a datagram.
fn listener(blob: &[u8]) {
    let Ok((skic, rest)) = vlu::parse_prefixed("skic", blob) else { return };
    let Ok((skrc, rest)) = vlu::parse_prefixed("skrc", rest) else { return };
    let Ok((secret, datagram)) = vlu::parse_prefixed("secret", rest) else { return };
    let Ok(mut overheard) = Overheard::new(skic, skrc, secret) else { return };
    let mut scratch = Vec::new();
    let _ = overheard.open_from_initiator(datagram, &mut scratch).map(<[u8]>::len);
    let _ = overheard.open_from_responder(datagram, &mut scratch).map(<[u8]>::len);
}

fn signature(blob: &[u8]) {
    assert_eq!(verify(blob, NO_SIGNATURE, |_| None), SignatureCheck::Absent);
    let proven = verify(blob, NO_SIGNATURE, |id| Some(id.to_vec().into()));
    assert!(!matches!(proven, SignatureCheck::Valid(ids) if ids.is_empty()));
}

fn cookie_and_identity(blob: &[u8]) {
    let address = "192.0.2.1:1935".parse().expect("an address");
    assert_ne!(COOKIES.check(1, address, blob), CookieCheck::Valid);
    if let Ok(identity) = Identity::restore(blob) {
        let again = Identity::restore(&identity.save()).expect("what was saved can be restored");
        assert_eq!(again.certificate(), identity.certificate());
    }
}

/// As it arrives, and as the plain packet of a datagram of ours.
fn datagram(blob: &[u8]) {
    let mut opener = Opener::default_key();
    let _ = opener.open(&mut blob.to_vec()).map(<[u8]>::len);

    let mut sealer = Sealer::default_key();
    let mut buffer = Vec::new();
    let start = sealer.begin(&mut buffer);
    buffer.extend_from_slice(blob);
    let range = sealer.finish(&mut buffer, start);
    sealer.seal(7, &mut buffer, &[range]);
    assert_eq!(multiplex::session_id(&buffer), Some(7));
    let opened = opener.open(&mut buffer[multiplex::SESSION_ID_LEN..]).expect("a sealed datagram");
    assert!(opened.starts_with(blob));
    assert!(opened[blob.len()..].iter().all(|byte| *byte == 0xff));
}
