//! How long new members of groups are followed up, and to how many members they are introduced.

use std::time::Duration;

/// A new member is not introduced to members that were silent for this long. A member that is alive
/// has answered a ping by then ([`Config::keepalive`](crate::transport::Config)).
pub(super) const LATELY: Duration = Duration::from_secs(30);
/// A member that does not answer its ping within this time counts as gone, until it does.
pub(super) const ANSWER: Duration = Duration::from_millis(700);
/// Times at which a newcomer is checked after its introductions: the pings must be answered by then;
/// the players' second and third hello would have come.
pub(super) const CHECKS: [Duration; 3] =
    [ANSWER, Duration::from_millis(2000), Duration::from_millis(5000)];
/// Members that one newcomer is introduced to at a time, checks included; then it has to wait for
/// `newcomers::AGAIN`.
pub(super) const MAX_INTRODUCTIONS: usize = 64;
