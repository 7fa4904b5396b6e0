use super::*;
use proptest::prelude::*;

const SECRET: &[u8] = b"a shared secret";

fn direction(verification: Verification, sequence_numbers: bool) -> Direction {
    Direction { verification, sequence_numbers }
}

fn all_directions() -> impl Iterator<Item = Direction> {
    [
        Verification::Checksum,
        Verification::Hmac(4),
        Verification::Hmac(10),
        Verification::Hmac(16),
        Verification::Hmac(32),
    ]
    .into_iter()
    .flat_map(|v| [direction(v, false), direction(v, true)])
}

fn pair(direction: Direction) -> (Sealer, Opener) {
    let keys = TrafficKeys::derive(SECRET, b"sender", b"receiver");
    (Sealer::new(&keys, direction), Opener::new(&keys, direction))
}

/// One datagram with this plain packet.
fn datagram(sealer: &mut Sealer, session_id: u32, plain: &[u8]) -> Vec<u8> {
    let mut buf = Vec::new();
    let start = sealer.begin(&mut buf);
    buf.extend_from_slice(plain);
    let range = sealer.finish(&mut buf, start);
    assert_eq!(range, 0..buf.len());
    sealer.seal(session_id, &mut buf, &[range]);
    buf
}

fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, PacketError> {
    let mut encrypted = datagram[4..].to_vec();
    opener.open(&mut encrypted).map(<[u8]>::to_vec)
}

#[test]
fn checksum_vectors() {
    // RFC 1071 §3.
    assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    assert_eq!(checksum(&[]), 0xffff);
    assert_eq!(checksum(&[0xff, 0xff]), 0);
    // The last byte of an odd number is the lower half of its word.
    assert_eq!(checksum(&[0x01]), !0x0001);
    assert_eq!(checksum(&[0x01, 0x02, 0x03]), !0x0105);
}

#[test]
fn the_layout_before_encryption() {
    let (mut sealer, _) = pair(direction(Verification::Checksum, true));
    let mut buf = vec![0xee];
    let start = sealer.begin(&mut buf);
    buf.extend_from_slice(&[0x02, 0x10, 0x20]);
    assert_eq!(sealer.finish(&mut buf, start), 1..21);
    let sum = checksum(&[[0x02, 0x10, 0x20].as_slice(), &[0xff; 10]].concat()).to_be_bytes();
    let mut expected = vec![0xee, 0, 0, 0, 0, 0x00, sum[0], sum[1], 0x02, 0x10, 0x20];
    expected.extend_from_slice(&[0xff; 10]);
    assert_eq!(buf, expected);

    let (mut sealer, _) = pair(direction(Verification::Hmac(10), false));
    let mut buf = Vec::new();
    let start = sealer.begin(&mut buf);
    buf.extend_from_slice(&[0x11; 16]);
    assert_eq!(sealer.finish(&mut buf, start), 0..30, "no padding block, space for the HMAC");
}

/// A startup packet, made with another implementation of AES.
#[test]
fn default_key_vector() {
    let mut sealer = Sealer::default_key();
    let datagram = datagram(&mut sealer, 0, &[0x0b; 14]);
    assert_eq!(multiplex::session_id(&datagram), Some(0));
    assert_eq!(datagram[4..], 0x6ea9_aa8b_c8e0_3ab2_d7de_99fe_c942_3a29_u128.to_be_bytes());
    assert_eq!(open(&mut Opener::default_key(), &datagram).unwrap(), [0x0b; 14]);
}

#[test]
fn round_trip_in_every_mode() {
    for direction in all_directions() {
        let (mut sealer, mut opener) = pair(direction);
        for len in 0..200u8 {
            let plain = vec![len; usize::from(len)];
            let datagram = datagram(&mut sealer, 0x1234_5678, &plain);
            assert_eq!(multiplex::session_id(&datagram), Some(0x1234_5678));
            let opened = open(&mut opener, &datagram);
            if len == 0
                && direction == self::direction(direction.verification, false)
                && direction.verification != Verification::Checksum
            {
                // Nothing at all to encrypt.
                assert_eq!(opened, Err(PacketError::Length));
                continue;
            }
            let opened = opened.unwrap();
            assert_eq!(opened[..plain.len()], plain);
            assert!(opened[plain.len()..].iter().all(|byte| *byte == PADDING));
            assert!(opened.len() < plain.len() + BLOCK);
        }
    }
}

#[test]
fn hostile_every_changed_byte() {
    for direction in all_directions() {
        let (mut sealer, mut opener) = pair(direction);
        let good = datagram(&mut sealer, 7, &[0x42; 60]);
        for i in 4..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[i] ^= 1 << bit;
                assert!(open(&mut opener, &bad).is_err(), "{direction:?} byte {i} bit {bit}");
            }
        }
        assert!(open(&mut opener, &good).is_ok(), "failures must not move the window");
    }
}

#[test]
fn hostile_every_length() {
    for direction in all_directions() {
        let (mut sealer, mut opener) = pair(direction);
        let good = datagram(&mut sealer, 7, &[0x42; 60]);
        for len in 0..good.len() - 4 {
            assert!(opener.open(&mut good[4..4 + len].to_vec()).is_err());
            assert!(opener.open(&mut vec![0; len]).is_err());
        }
    }
}

#[test]
fn a_wrong_hmac_leaves_the_bytes_alone() {
    let (mut sealer, mut opener) = pair(direction(Verification::Hmac(16), true));
    let mut bad = datagram(&mut sealer, 7, &[0x42; 60])[4..].to_vec();
    bad[0] ^= 1;
    let before = bad.clone();
    assert_eq!(opener.open(&mut bad).unwrap_err(), PacketError::Hmac);
    assert_eq!(bad, before);
}

#[test]
fn replayed_and_reordered_packets() {
    for verification in [Verification::Checksum, Verification::Hmac(16)] {
        let (mut sealer, mut opener) = pair(direction(verification, true));
        let datagrams: Vec<_> = (0..200).map(|i| datagram(&mut sealer, 7, &[i; 9])).collect();
        for i in (0..200).rev() {
            assert!(open(&mut opener, &datagrams[i]).is_ok());
            assert_eq!(open(&mut opener, &datagrams[i]), Err(PacketError::Replayed));
        }
        let mut lenient = pair(direction(verification, true)).1.without_replay_check();
        assert!(open(&mut lenient, &datagrams[3]).is_ok());
        assert!(open(&mut lenient, &datagrams[3]).is_ok());
    }
}

/// A batch with a packet twice: the second is a replay, and only that.
#[test]
fn a_replay_within_a_batch() {
    let (mut sealer, mut opener) = pair(direction(Verification::Hmac(16), true));
    let mut datagrams: Vec<_> = [0, 1, 2].map(|i| datagram(&mut sealer, 7, &[i; 20])).into();
    datagrams.insert(2, datagrams[1].clone());
    datagrams.push(vec![0x55; 60]);
    let mut encrypted: Vec<&mut [u8]> = datagrams.iter_mut().map(|d| &mut d[4..]).collect();
    let mut opened = [const { Err(PacketError::Length) }; 8];
    opener.open_batch(&mut encrypted, &mut opened);
    assert_eq!(opened[0], Ok(1..32));
    assert_eq!(encrypted[1][1..21], [1; 20]);
    assert_eq!(opened[1], Ok(1..32));
    assert_eq!(opened[2], Err(PacketError::Replayed));
    assert_eq!(opened[3], Ok(1..32));
    assert!(matches!(opened[4], Err(PacketError::Length | PacketError::Hmac)));
}

#[test]
fn an_idle_session_takes_little_memory() {
    assert!(size_of::<Sealer>() <= 112, "{}", size_of::<Sealer>());
    assert!(size_of::<Opener>() <= 248, "{}", size_of::<Opener>());
}

#[test]
fn abandoned_packets_never_repeat_a_sequence_number() {
    let (mut sealer, mut opener) = pair(direction(Verification::Hmac(16), true));
    let mut buf = Vec::new();
    let first = sealer.begin(&mut buf);
    sealer.abandon(&mut buf, first);
    assert!(buf.is_empty());
    assert!(open(&mut opener, &datagram(&mut sealer, 7, b"a")).is_ok());
    let outer = sealer.begin(&mut buf);
    assert!(open(&mut opener, &datagram(&mut sealer, 7, b"b")).is_ok());
    sealer.abandon(&mut buf, outer);
    assert!(open(&mut opener, &datagram(&mut sealer, 7, b"c")).is_ok());
}

#[test]
fn capacity_is_exact() {
    for direction in all_directions() {
        for limit in 0..300 {
            let (mut sealer, _) = pair(direction);
            let capacity = sealer.plain_capacity(limit);
            if capacity == 0 {
                continue;
            }
            assert!(datagram(&mut sealer, 7, &vec![0; capacity]).len() <= limit);
            let (mut sealer, _) = pair(direction);
            assert!(datagram(&mut sealer, 7, &vec![0; capacity + 1]).len() > limit);
        }
        assert!(pair(direction).0.plain_capacity(100) > 0);
    }
    // The sequence number grows.
    let (mut sealer, _) = pair(direction(Verification::Hmac(16), true));
    let before = sealer.plain_capacity(1200);
    (0..128).for_each(|_| drop(datagram(&mut sealer, 7, b"")));
    assert_eq!(sealer.plain_capacity(1200), before - 1);
}

proptest! {
    #[test]
    fn a_batch_equals_single_packets(
        plains in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..20),
        hmac: bool,
        sequence_numbers: bool,
    ) {
        let verification = if hmac { Verification::Hmac(16) } else { Verification::Checksum };
        let direction = direction(verification, sequence_numbers);
        let (mut batch, mut opener) = pair(direction);
        let mut buf = Vec::new();
        let ranges: Vec<_> = plains
            .iter()
            .map(|plain| {
                let start = batch.begin(&mut buf);
                buf.extend_from_slice(plain);
                batch.finish(&mut buf, start)
            })
            .collect();
        batch.seal(99, &mut buf, &ranges);
        let mut single = pair(direction).0;
        for (plain, range) in plains.iter().zip(ranges) {
            prop_assert_eq!(&datagram(&mut single, 99, plain)[..], &buf[range.clone()]);
            if range.len() > 4 + 16 * usize::from(hmac) {
                let opened = open(&mut opener, &buf[range]).unwrap();
                prop_assert_eq!(&opened[..plain.len()], &plain[..]);
            }
        }
    }

    /// With good, replayed, corrupted, cut and empty datagrams among them.
    #[test]
    fn opening_a_batch_equals_one_by_one(
        steps in proptest::collection::vec((0usize..300, 0u8..12, any::<usize>()), 0..40),
        hmac: bool,
        sequence_numbers: bool,
        places in 0usize..64,
    ) {
        let verification = if hmac { Verification::Hmac(10) } else { Verification::Checksum };
        let (mut sealer, mut single) = pair(direction(verification, sequence_numbers));
        let mut batch: Vec<Vec<u8>> = Vec::new();
        for (len, kind, at) in steps {
            let mut encrypted = datagram(&mut sealer, 9, &vec![len as u8; len])[4..].to_vec();
            let len = encrypted.len();
            match kind {
                0 if len > 0 => encrypted[at % len] ^= 1,
                1 => encrypted.truncate(at % (len + 1)),
                2 if !batch.is_empty() => encrypted = batch[at % batch.len()].clone(),
                3 => encrypted.clear(),
                _ => {}
            }
            batch.push(encrypted);
        }
        let mut expected = batch.clone();
        let expected_results: Vec<Opened> = expected
            .iter_mut()
            .take(places)
            .map(|encrypted| {
                let len = encrypted.len() - single.hmac.as_ref().map_or(0, |h| h.len).min(encrypted.len());
                single.open(encrypted).map(|plain| len - plain.len()..len)
            })
            .collect();
        let mut opener = pair(direction(verification, sequence_numbers)).1;
        let mut opened = vec![Err(PacketError::Length); places];
        opener.open_batch(&mut batch, &mut opened);
        prop_assert_eq!(&opened[..expected_results.len()], &expected_results[..]);
        prop_assert_eq!(batch, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, sequence_numbers: bool) {
        let direction = direction(Verification::Checksum, sequence_numbers);
        let _ = pair(direction).1.open(&mut bytes);
        let _ = Opener::default_key().open(&mut bytes);
    }
}
