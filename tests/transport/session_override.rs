//! A new session with the same certificate takes the place of the old one (RFC 7425 §4.3.7), as
//! far as the certificate proves that it is the same far end.

use crate::support::{Pair, endpoint_as, millis, quick, secs};
use rtmfp::proto::crypto::{DhGroup, Identity, IdentityConfig, KeyStyle};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{CloseReason, Event, Role, SessionId};

/// A far end with these keys opens a session to `b`, fails, and opens another from `address`.
/// Returns the events of `b` for the second one, and both sessions.
fn again(keys: KeyStyle, address: &str) -> (Pair, Vec<Event>, [SessionId; 2]) {
    let mut pair = Pair::new(1, Link::lan());
    let groups = vec![DhGroup::Modp2];
    let mut config = IdentityConfig::default();
    config.keys = keys;
    config.groups = groups;
    let saved = Identity::generate(&config, &mut pair.network.random()).save();
    let mut sessions = Vec::new();
    let mut events = Vec::new();
    for address in ["10.0.0.7:7", address] {
        let identity = Identity::restore(&saved).unwrap();
        let machine = endpoint_as(&mut pair.network, quick(), identity);
        let node = pair.network.add(address, machine);
        pair.ask(node, pair.b);
        pair.network.run_for(millis(500));
        events = pair.events(pair.b);
        let opened = events.iter().find_map(|event| match event {
            Event::SessionOpened { session, role: Role::Responder, .. } => Some(*session),
            _ => None,
        });
        sessions.push(opened.expect("a session"));
        if sessions.len() == 1 {
            pair.network.remove(node);
        }
    }
    (pair, events, [sessions[0], sessions[1]])
}

fn overridden(pair: &Pair, events: &[Event], [old, new]: [SessionId; 2]) {
    let [
        Event::SessionClosed { session, reason: CloseReason::Overridden },
        Event::SessionOpened { .. },
    ] = events
    else {
        panic!("{events:?}")
    };
    assert_eq!(*session, old);
    let endpoint = &pair.network[pair.b].0;
    assert!(endpoint.session(old).is_none());
    let far = endpoint.session(new).unwrap().far();
    assert_eq!(endpoint.session_with(far), Some(new));
}

#[test]
fn a_static_key_proves_it_from_anywhere() {
    let (pair, events, sessions) = again(KeyStyle::Static, "10.0.0.8:8");
    overridden(&pair, &events, sessions);
}

#[test]
fn an_ephemeral_key_from_the_same_ip_is_believed() {
    let (pair, events, sessions) = again(KeyStyle::Ephemeral, "10.0.0.7:8");
    overridden(&pair, &events, sessions);
}

#[test]
fn hostile_ephemeral_certificate_from_another_ip_changes_nothing() {
    let (mut pair, events, [old, new]) = again(KeyStyle::Ephemeral, "10.0.0.8:8");
    assert!(matches!(events[..], [Event::SessionOpened { .. }]), "{events:?}");
    let b = pair.b;
    let endpoint = &pair.network[b].0;
    let far = endpoint.session(old).unwrap().far();
    assert!(endpoint.session(new).is_some());
    assert_eq!(endpoint.session_with(far), Some(old), "the first keeps the name");
    // When the first is gone, the second has the name.
    pair.network.run_for(secs(200));
    let endpoint = &pair.network[b].0;
    assert!(endpoint.session(old).is_none() && endpoint.session(new).is_some());
    assert_eq!(endpoint.session_with(far), Some(new));
}
