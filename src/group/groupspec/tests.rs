use super::*;
use crate::wire::Reason;
use proptest::prelude::*;

const V2: &str = "G:027f0201010103010c050e74657374011b00";
const REAL: &str = "G:01010102010321050a22aade0583f6f26b1d5edef57b27a92dec77fa22f5aef85b364528c2bb979f\
                    010d040e616e73011b00";

fn name(text: &str) -> GroupSpecBuilder {
    GroupSpecBuilder::new(text).unwrap()
}

#[test]
fn version_two_is_hashed_twice() {
    let spec = GroupSpec::parse(V2).unwrap();
    assert_eq!(spec.canonical_text(), "G:027f0201010103010c050e74657374011b");
    assert_eq!(spec.version(), 2);
    assert_eq!(
        spec.group_id().to_string(),
        "763f90e4b524a0e026052bb5696bd143246f26c6eb0b9fa31b0d1ed39a092620"
    );
    let once = GroupSpec::parse("G:01010103010c050e74657374011b00").unwrap();
    assert_eq!(
        once.group_id().to_string(),
        "4452b91f70bd5dfaf926e1178bb14f761b4775a6b4ab97c2454b7ec99fdcc585"
    );
}

#[test]
fn string_of_a_real_group() {
    let spec: GroupSpec = REAL.parse().unwrap();
    assert_eq!(spec.name(), "ans");
    assert!(spec.multicast_enabled() && spec.object_replication_enabled());
    assert!(spec.posting_enabled() && spec.peer_to_peer_disabled());
    assert!(spec.ip_multicast_member_updates_enabled());
    assert!(!spec.routing_enabled() && !spec.server_channel_enabled());
    assert!(!spec.may_publish() && spec.may_post());
    assert_eq!(spec.to_string(), REAL);
    assert_eq!(spec.without_authorizations(), REAL);
}

/// Group and hello recorded on loopback from Adobe Flash Player 10.3.
#[test]
fn identity_that_the_player_puts_into_its_hello() {
    let spec = name("t").object_replication(true).server_channel(true).build().unwrap();
    assert_eq!(spec.as_str(), "G:0102010c020e7400");
    assert_eq!(
        spec.group_id().to_string(),
        "1aed5a8ac756be92bfa161496c3ad6c9c5f0b7a3ab1cc8e02f29d71a7cc88536"
    );
}

#[test]
fn builder_writes_flash_order() {
    let spec = name("test").ip_multicast_member_updates(true).server_channel(true).posting(true);
    assert_eq!(spec.multicast(true).version(2).build().unwrap().as_str(), V2);

    let peer = Fingerprint([7; 32]);
    let spec = name("t")
        .bootstrap_peer(peer)
        .ip_multicast_address("224.0.0.251:5353".parse().unwrap())
        .posting_password("pw", "")
        .make_unique([0xaa; 32])
        .routing(true)
        .routing(false)
        .build()
        .unwrap();
    assert_eq!(spec.bootstrap_peers(), [peer]);
    assert_eq!(spec.ip_multicast_addresses()[0].to_string(), "224.0.0.251:5353");
    assert!(spec.may_post() && !spec.routing_enabled());
    let kinds: Vec<_> = spec.canonical_options().map(|o| o.kind).collect();
    assert_eq!(kinds, [kind::POSTING_HASH, kind::TAG, kind::TAG]);
    let kinds: Vec<_> = spec.tail_options().map(|o| o.kind).collect();
    assert_eq!(kinds, [kind::IP_MULTICAST, kind::BOOTSTRAP_PEER, kind::POSTING_PASSWORD]);
}

#[test]
fn salted_hash_and_authorization_by_concatenation() {
    let spec = name("t").publish_password("password", "salt").build().unwrap();
    let hash = spec.canonical_options().find(|o| o.kind == kind::PUBLISH_HASH).unwrap();
    assert_eq!(
        encode_hex(hash.value),
        "73616c7413601bda4ea78e55a07b98866d2be6be0744e3866f13c00c811cab608a28f322"
    );
    assert!(spec.may_publish());

    let stripped = GroupSpec::parse(&spec.without_authorizations()).unwrap();
    assert!(!stripped.may_publish());
    assert_eq!(stripped.group_id(), spec.group_id());
    let wrong = format!("{stripped}{}", encode_publish_authorization("Password"));
    assert!(!GroupSpec::parse(&wrong).unwrap().may_publish());
    let right = format!("{stripped}{}", encode_publish_authorization("password"));
    assert!(GroupSpec::parse(&right).unwrap().may_publish());
    assert_eq!(right, spec.as_str());
    let other = format!("{stripped}{}", encode_posting_authorization("password"));
    assert!(!GroupSpec::parse(&other).unwrap().may_publish());
}

#[test]
fn fragments_are_appended() {
    let whole = name("t").publish_password("a", "").posting_password("b", "").build().unwrap();
    let bare = whole.without_authorizations();
    assert_eq!(format!("{bare}{}", whole.authorizations()), whole.as_str());
    assert_eq!(whole.authorizations(), "0215610217 62".replace(' ', ""));
    assert_eq!(GroupSpec::parse(&bare).unwrap().authorizations(), "");

    let (peer, address) = (Fingerprint([7; 32]), IpMulticastAddress::LAN);
    let extras = encode_ip_multicast_address_spec(&address) + &encode_bootstrap_peer_id_spec(&peer);
    let extended = GroupSpec::parse(&format!("{whole}{extras}")).unwrap();
    assert_eq!(extended.ip_multicast_addresses(), [address]);
    assert_eq!(extended.bootstrap_peers(), [peer]);
    assert_eq!(extended.group_id(), whole.group_id());
    assert!(extended.may_publish() && extended.may_post());
}

#[test]
fn addresses_to_listen_on_are_checked() {
    let group = |text: &str| text.parse().unwrap();
    let v6 = Some("2001:db8::1".parse().unwrap());
    for (group, source) in
        [(group("10.0.0.1:80"), None), (group("239.0.0.1:0"), None), (group("239.0.0.1:80"), v6)]
    {
        let wrong = IpMulticastAddress { group, source };
        let built = name("t").ip_multicast_address(wrong).build();
        assert_eq!(built, Err(GroupSpecError::IpMulticast(wrong)));
    }
}

#[test]
fn foreign_text_is_hashed_as_given() {
    let lower = GroupSpec::parse("G:0102010c020e7400").unwrap();
    let swapped = GroupSpec::parse("G:010c0102020e7400").unwrap();
    let upper = GroupSpec::parse("G:0102010C020E7400").unwrap();
    assert_ne!(lower.group_id(), swapped.group_id());
    assert_ne!(lower.group_id(), upper.group_id());
    assert_eq!(upper.canonical_text(), "G:0102010C020E74");
    let unknown = GroupSpec::parse("G:03424242020e7400034343430204ff").unwrap();
    assert_eq!(unknown.canonical_options().next().unwrap().value, [0x42, 0x42]);
    assert_eq!(unknown.tail_options().count(), 2);
    assert_eq!(unknown.without_authorizations(), unknown.as_str());
}

#[test]
fn long_names_have_a_long_length() {
    let spec = name(&"n".repeat(200)).build().unwrap();
    assert_eq!(spec.name(), "n".repeat(200));
}

#[test]
fn multicast_addresses_of_every_form() {
    let all = [
        IpMulticastAddress { group: "239.1.2.3:4".parse().unwrap(), source: None },
        IpMulticastAddress {
            group: "232.1.2.3:4".parse().unwrap(),
            source: Some("10.0.0.1".parse().unwrap()),
        },
        IpMulticastAddress { group: "[ff02::1]:5".parse().unwrap(), source: None },
        IpMulticastAddress {
            group: "[ff32::1]:5".parse().unwrap(),
            source: Some("2001:db8::1".parse().unwrap()),
        },
    ];
    for (address, len) in all.into_iter().zip([6, 10, 18, 34]) {
        assert!(address.is_valid());
        assert_eq!(address.value().len(), len);
        assert_eq!(IpMulticastAddress::from_value(&address.value()), Some(address));
    }
    assert!(IpMulticastAddress::from_value(&[0; 7]).is_none());
    assert!("10.0.0.1:80".parse::<IpMulticastAddress>().is_err(), "unicast");
    assert!("224.0.0.1".parse::<IpMulticastAddress>().is_err(), "no port");
}

#[test]
fn hostile_strings() {
    assert_eq!(GroupSpec::parse(""), Err(GroupSpecError::Prefix));
    assert_eq!(GroupSpec::parse("g:00"), Err(GroupSpecError::Prefix));
    assert_eq!(GroupSpec::parse("G:0é0"), Err(GroupSpecError::Hex(3)));
    assert_eq!(GroupSpec::parse("G:000"), Err(GroupSpecError::OddDigits));
    assert_eq!(GroupSpec::parse("G:000x"), Err(GroupSpecError::Hex(5)));
    assert_eq!(GroupSpec::parse("G:0102"), Err(GroupSpecError::NoMarker));
    assert_eq!(GroupSpec::parse("G:037f822a00"), Err(GroupSpecError::Version(298)));
    let truncated = GroupSpec::parse("G:00050e").unwrap_err();
    assert!(matches!(truncated, GroupSpecError::Options(e) if e.reason == Reason::Truncated));
    let many = format!("G:00{}", "0102".repeat(100));
    assert!(matches!(GroupSpec::parse(&many), Err(GroupSpecError::Options(_))));
    let long = format!("G:{}", "00".repeat(MAX_TEXT));
    assert!(matches!(GroupSpec::parse(&long), Err(GroupSpecError::TooLong(_))));
    assert_eq!(GroupSpecBuilder::new("").unwrap_err(), GroupSpecError::EmptyName);
}

#[test]
fn secrets_do_not_reach_debug_output() {
    let spec = name("t").posting_password("hunter2", "").build().unwrap();
    assert!(!format!("{spec:?}").contains("G:"));
    assert!(!format!("{spec:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(G:)?[0-9a-f]{0,80}") {
        if let Ok(spec) = GroupSpec::parse(&text) {
            prop_assert!(text.starts_with(spec.canonical_text()));
            prop_assert_eq!(spec.as_str(), &text);
            let _ = (spec.may_post(), spec.bootstrap_peers(), spec.ip_multicast_addresses());
        }
    }
}
