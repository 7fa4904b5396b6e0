//! Randomness of the operating system.

use crate::transport::Random;
use getrandom::SysRng;
use rand_core::UnwrapErr;

/// The operating system's source of randomness.
///
/// # Panics
///
/// Its use panics if the operating system has no randomness to give. The systems that run tokio
/// can't fail so once they have booted (`getrandom(2)` and its like neither block nor fail for
/// valid buffers), and to go on with predictable keys would be worse.
pub fn os_random() -> Random {
    Box::new(UnwrapErr(SysRng))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        super::os_random().fill_bytes(&mut a);
        super::os_random().fill_bytes(&mut b);
        assert_ne!(a, b);
        assert_ne!(a, [0; 32]);
    }
}
