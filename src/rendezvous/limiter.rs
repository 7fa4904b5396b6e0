//! How often an address may ask for something.

use crate::transport::Time;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Addresses counted in one second; further ones share one count.
const MAX_ADDRESSES: usize = 65_536;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts per IP address and second.
#[derive(Debug)]
pub(super) struct Limiter {
    per_second: u32,
    since: Time,
    counts: HashMap<IpAddr, u32>,
    /// Those for which there was no room.
    others: u32,
}

impl Limiter {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, since: Time::ZERO, counts: HashMap::new(), others: 0 }
    }

    /// True if `ip` has not yet asked too often in this second.
    pub(super) fn allow(&mut self, now: Time, ip: IpAddr) -> bool {
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.counts.clear();
            self.others = 0;
        }
        let room = self.counts.len() < MAX_ADDRESSES;
        let count = match self.counts.get_mut(&ip) {
            Some(count) => count,
            None if room => self.counts.entry(ip).or_default(),
            None => &mut self.others,
        };
        *count += 1;
        *count <= self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_for_itself_and_anew_each_second() {
        let mut limiter = Limiter::new(2);
        let (a, b) = ("10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        let now = Time::from_millis(5000);
        assert!(limiter.allow(now, a) && limiter.allow(now, a));
        assert!(!limiter.allow(now, a));
        assert!(limiter.allow(now, b));
        assert!(limiter.allow(Time::from_millis(6000), a));
    }
}
