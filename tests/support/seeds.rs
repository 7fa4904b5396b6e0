//! Repetition with many seeds.

/// Runs `test` for many seeds and names the seed of the first failure.
pub fn for_seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in 0..count {
        let outcome = std::panic::catch_unwind(|| test(seed));
        if outcome.is_err() {
            panic!("failed with seed {seed}");
        }
    }
}
