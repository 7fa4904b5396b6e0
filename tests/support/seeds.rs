//! Repetition with many seeds.

/// Runs `test` for `count` seeds, or for as many as `RTMFP_SEEDS` in the environment says if these are
/// more, and names the seed of the first failure.
pub fn for_seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let asked = std::env::var("RTMFP_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..count.max(asked.unwrap_or(0)) {
        let outcome = std::panic::catch_unwind(|| test(seed));
        if outcome.is_err() {
            panic!("failed with seed {seed}");
        }
    }
}
