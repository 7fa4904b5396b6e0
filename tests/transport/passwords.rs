//! Keyings signed by passwords (RFC 7425 §4.3.5.1.1).

use crate::support::{Pair, quick, secs};
use rtmfp::proto::crypto::Password;
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{Config, Event, Passwords};

fn password(id: &str, secret: &str) -> Password {
    Password { id: id.into(), secret: secret.as_bytes().to_vec().into() }
}

fn with(offered: &[(&str, &str)], known: &[(&str, &str)], required: bool) -> Config {
    let all = |list: &[(&str, &str)]| list.iter().map(|(id, s)| password(id, s)).collect();
    let passwords = Passwords { offered: all(offered), known: all(known), required };
    let mut config = quick();
    config.passwords = passwords;
    config
}

/// Identifiers of passwords.
type Proven = Vec<Vec<u8>>;

/// The passwords that each end has proved to the other; `None` if there is no session.
fn try_open(a: Config, b: Config) -> Option<(Proven, Proven)> {
    let mut pair = Pair::with_configs(1, Link::lan(), a, b);
    let (a, b) = (pair.a, pair.b);
    pair.ask(a, b);
    pair.network.run_for(secs(100));
    let failed = pair.events(a).iter().any(|e| matches!(e, Event::OpenFailed { .. }));
    let proven = |node| {
        let (_, session) = pair.network[node].0.sessions().next()?;
        Some(session.proven_passwords().to_vec())
    };
    let both = proven(a).zip(proven(b));
    assert_eq!(failed, both.is_none());
    both
}

#[test]
fn the_right_password_opens() {
    let demands = with(&[], &[("bob", "x"), ("ann", "secret")], true);
    let (at_a, at_b) = try_open(with(&[("ann", "secret")], &[], false), demands).unwrap();
    assert_eq!((at_a, at_b), (vec![], vec![b"ann".to_vec()]));
}

#[test]
fn both_ends_can_demand() {
    let a = with(&[("ann", "secret")], &[("server", "s")], true);
    let b = with(&[("server", "s")], &[("ann", "secret")], true);
    let (at_a, at_b) = try_open(a, b).unwrap();
    assert_eq!((at_a, at_b), (vec![b"server".to_vec()], vec![b"ann".to_vec()]));
}

#[test]
fn a_wrong_or_missing_password_is_ignored() {
    let demands = || with(&[], &[("ann", "secret")], true);
    assert!(try_open(with(&[("ann", "Secret")], &[], false), demands()).is_none());
    assert!(try_open(quick(), demands()).is_none());
    assert!(try_open(with(&[("bob", "secret")], &[], false), demands()).is_none());
    // The responder's is demanded too.
    assert!(try_open(demands(), quick()).is_none());
    assert!(try_open(demands(), with(&[("ann", "secreT")], &[], false)).is_none());
}

#[test]
fn unknown_identifiers_beside_a_known_one_do_no_harm_but_a_wrong_known_one_does() {
    let demands = || with(&[], &[("ann", "secret"), ("old", "o")], true);
    let (_, at_b) =
        try_open(with(&[("new", "n"), ("ann", "secret")], &[], false), demands()).unwrap();
    assert_eq!(at_b, [b"ann".to_vec()]);
    assert!(
        try_open(with(&[("old", "wrong"), ("ann", "secret")], &[], false), demands()).is_none()
    );
}

#[test]
fn who_demands_nothing_takes_any_signature() {
    let knows = with(&[], &[("ann", "secret")], false);
    let (_, at_b) = try_open(with(&[("ann", "wrong")], &[], false), knows).unwrap();
    assert!(at_b.is_empty());
}
