use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// Every way to hash that this processor has.
fn engines() -> Vec<(&'static str, Engine)> {
    let name = |engine: &Engine| match engine {
        Engine::Serial => "serial",
        Engine::Turns => "turns",
        #[cfg(target_arch = "x86_64")]
        Engine::Avx2(_) => "avx2",
        #[cfg(target_arch = "x86_64")]
        Engine::Avx512(_) => "avx512",
    };
    Engine::available().into_iter().map(|engine| (name(&engine), engine)).collect()
}

fn hash(engine: Engine, messages: &[&[u8]]) -> Vec<[u8; 32]> {
    let mut hashes = vec![[0; 32]; messages.len()];
    let count = engine.hash(&INITIAL, 0, messages.iter().copied(), &mut hashes);
    assert_eq!(count, messages.len());
    hashes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The examples of FIPS 180-4 (as published with its predecessor), and the empty message.
#[test]
fn fips_180_vectors_in_every_lane() {
    let vectors: [(&[u8], &str); 3] = [
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ];
    for (name, engine) in engines() {
        for count in 1..=MAX_LANES {
            for (i, (message, expected)) in vectors.iter().enumerate() {
                for found in hash(engine, &vec![*message; count]) {
                    assert_eq!(hex(&found), *expected, "{name}, {count} of vector {i}");
                }
            }
            let mixed: Vec<_> = vectors.iter().cycle().take(count).collect();
            let messages: Vec<&[u8]> = mixed.iter().map(|(message, _)| *message).collect();
            for (found, (_, expected)) in hash(engine, &messages).iter().zip(&mixed) {
                assert_eq!(hex(found), *expected, "{name}, {count} mixed");
            }
        }
    }
}

/// RFC 4231, test cases 1 to 4: those with keys of at most 32 bytes, which zeros may follow, and
/// whole results.
#[test]
fn rfc_4231_vectors_in_every_lane() {
    let counting: Vec<u8> = (1..26).collect();
    let vectors: [(&[u8], &[u8], &str); 4] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &counting,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
    ];
    for (key, message, expected) in vectors {
        let mut padded = [0; 32];
        padded[..key.len()].copy_from_slice(key);
        let key = HmacKey::new(&padded);
        for (name, engine) in engines() {
            assert_eq!(hex(&key.compute_one(engine, message)), expected, "{name}");
            for count in 1..=MAX_LANES {
                let mut hmacs = vec![[0; 32]; count];
                key.compute_with(engine, std::iter::repeat_n(message, count), &mut hmacs);
                for hmac in hmacs {
                    assert_eq!(hex(&hmac), expected, "{name}, {count}");
                }
            }
        }
    }
}

#[test]
fn all_lengths_around_the_blocks() {
    let bytes: Vec<u8> = (0..300u16).map(|i| (i * 7) as u8).collect();
    for (name, engine) in engines() {
        // Sixteen lengths at a time, so that the lanes end at different blocks.
        for from in (0..bytes.len() - 16).step_by(11) {
            let messages: Vec<&[u8]> =
                (0..16).map(|i| &bytes[..(from + i * (i % 3) * 5).min(bytes.len())]).collect();
            for (message, found) in messages.iter().zip(hash(engine, &messages)) {
                assert_eq!(found[..], Sha256::digest(message)[..], "{name}, {}", message.len());
            }
        }
    }
}

#[test]
fn more_messages_than_lanes() {
    let bytes: Vec<u8> = (0..500u16).map(|i| (i * 3) as u8).collect();
    let messages: Vec<&[u8]> = (0..40).map(|i| &bytes[i..10 * i + 40]).collect();
    let key = HmacKey::new(&[7; 32]);
    let (mut together, mut single) = ([[0; 32]; 40], [[0; 32]]);
    key.compute(messages.iter().copied(), &mut together, Place::Near);
    for (message, found) in messages.iter().zip(together) {
        key.compute(std::iter::once(*message), &mut single, Place::Far);
        assert_eq!(found, single[0]);
    }
}

#[test]
fn many_digests() {
    let bytes: Vec<u8> = (0..500u16).map(|i| (i * 5) as u8).collect();
    let messages: Vec<&[u8]> = (0..40).map(|i| &bytes[..i * i / 4]).collect();
    for (message, found) in messages.iter().zip(digests(&messages)) {
        assert_eq!(found[..], Sha256::digest(message)[..]);
    }
    assert!(digests(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn engines_agree(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..17)
    ) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let expected: Vec<[u8; 32]> = messages.iter().map(|m| Sha256::digest(m).into()).collect();
        for (name, engine) in engines() {
            prop_assert_eq!(&hash(engine, &messages), &expected, "{}", name);
        }
    }
}
