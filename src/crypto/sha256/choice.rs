//! The choice of the quickest engine for a number of messages.
//!
//! Which one that is differs between processors with instructions for SHA-256: some hash one
//! message with them about as quickly as wide vectors hash a message each of sixteen lanes, others
//! half as quickly. The driver, which has a clock, lets it be measured once.

use super::{BLOCK, Engine, INITIAL, MAX_LANES, Place};
use std::sync::OnceLock;
use std::time::Duration;

/// Bytes of each message that is hashed to measure.
const SAMPLE: usize = 3 * BLOCK;
/// Measurements of each engine, of which the shortest counts: others were disturbed.
const ROUNDS: usize = 5;

/// The quickest engine for each number of messages, from 1 on.
type Choice = [Engine; MAX_LANES];

static MEASURED: OnceLock<Choice> = OnceLock::new();

/// The quickest engine for `count` messages, as far as that is known. What was just received is hashed
/// one after the other by processors without vectors of 512 bits: by turns, a whole receiver took 13 %
/// longer on one of them, and 14 % less on a newer one that has them (`protocol-notes/performance.md`).
pub(super) fn best(count: usize, place: Place) -> Engine {
    let count = count.clamp(1, MAX_LANES);
    let measured = MEASURED.get().and_then(|choice| choice.get(count - 1).copied());
    match measured.unwrap_or_else(|| presumed(count)) {
        Engine::Turns if place == Place::Far && !is_wide() => Engine::Serial,
        engine => engine,
    }
}

/// True if the processor has vectors of 512 bits.
fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return pulp::x86::V4::try_new().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Measures once in a process which engines are the quickest, in some tenths of a millisecond, if the
/// processor leaves a choice. Any result is right, as all engines give the same hashes.
pub(crate) fn measure(clock: impl Fn() -> Duration) {
    let engines = Engine::available();
    if cfg!(debug_assertions) || !has_instructions() || engines.len() < 3 {
        return;
    }
    MEASURED.get_or_init(|| measured(&engines, clock));
}

/// The engine that is likely the quickest.
fn presumed(count: usize) -> Engine {
    // Without optimization that is `sha2`, which our manifest has optimized even then.
    if cfg!(debug_assertions) {
        return Engine::Serial;
    }
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V4};
        let has_instructions = has_instructions();
        match (V4::try_new(), V3::try_new()) {
            (Some(cpu), _) if !has_instructions || count > 8 => return Engine::Avx512(cpu),
            (None, Some(cpu)) if !has_instructions => return Engine::Avx2(cpu),
            _ => {}
        }
    }
    if count > 1 { Engine::Turns } else { Engine::Serial }
}

/// True if the processor has instructions for SHA-256.
fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

fn measured(engines: &[Engine], clock: impl Fn() -> Duration) -> Choice {
    let sample = [0x5c; SAMPLE];
    let time = |engine: Engine, count: usize| {
        let mut hashes = [[0; 32]; MAX_LANES];
        let begun = clock();
        engine.hash(&INITIAL, 0, std::iter::repeat_n(&sample[..], count), &mut hashes[..count]);
        clock().saturating_sub(begun)
    };
    let mut choice = [Engine::Serial; MAX_LANES];
    let mut count = 1;
    while let Some(places) = choice.get_mut(count - 1..).filter(|places| !places.is_empty()) {
        let mut shortest = vec![Duration::MAX; engines.len()];
        for _ in 0..ROUNDS {
            for (shortest, engine) in shortest.iter_mut().zip(engines) {
                *shortest = time(*engine, count).min(*shortest);
            }
        }
        let quickest = engines.iter().zip(shortest).min_by_key(|(_, shortest)| *shortest);
        // Also for the greater numbers, until one of them is measured.
        places.fill(quickest.map_or(Engine::Serial, |(engine, _)| *engine));
        count += if count < 8 { 2 } else { 4 };
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_quickest_engine_is_chosen() {
        let engines = Engine::available();
        for wanted in 0..engines.len() {
            // A clock on which only the wanted engine takes no time.
            let calls = Cell::new(0_usize);
            let clock = || {
                calls.set(calls.get() + 1);
                let (engine, is_end) = ((calls.get() - 1) / 2, calls.get().is_multiple_of(2));
                let slow = is_end && engine % engines.len() != wanted;
                Duration::from_secs(calls.get() as u64 + u64::from(slow))
            };
            let choice = measured(&engines, clock);
            let kind = std::mem::discriminant(&engines[wanted]);
            assert!(choice.iter().all(|engine| std::mem::discriminant(engine) == kind));
        }
    }

    #[test]
    fn every_number_of_messages_has_an_engine() {
        for count in 0..100 {
            let mut hashes = [[0; 32]; 2];
            let messages = [&b"one"[..], b"two"];
            best(count, Place::Near).hash(&INITIAL, 0, messages.into_iter(), &mut hashes);
            presumed(count).hash(&INITIAL, 0, messages.into_iter(), &mut hashes);
            assert_eq!(
                hashes[0],
                best(1, Place::Far).hash_one(&INITIAL, &super::super::Remaining::new(b"one", 0))
            );
        }
    }
}
