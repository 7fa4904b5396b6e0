//! A groupspec string, as a user or a link gives it. Whatever its options say, its identity is that
//! of its canonical text, and the string without passwords is the same group.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::proto::group::{GroupId, GroupSpec, GroupSpecBuilder};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(spec) = GroupSpec::parse(text) else {
        builds(text);
        return;
    };
    assert_eq!(spec.as_str(), text);
    assert!(text.starts_with(spec.canonical_text()));
    if spec.version() == 1 {
        let id = GroupId::of_canonical_text(spec.canonical_text().as_bytes());
        assert_eq!(spec.group_id(), id);
    }
    walk(&spec);

    let open =
        GroupSpec::parse(&spec.without_authorizations()).expect("the same without passwords");
    assert_eq!(open.group_id(), spec.group_id());
    assert_eq!(open.canonical_text(), spec.canonical_text());
    assert_eq!(open.bootstrap_peers(), spec.bootstrap_peers());
    assert_eq!(open.ip_multicast_addresses(), spec.ip_multicast_addresses());
    assert_eq!(GroupSpec::parse(&open.without_authorizations()), Ok(open));
});

fn walk(spec: &GroupSpec) {
    let _ = format!("{spec} {spec:?}");
    let _ = (spec.routing_enabled(), spec.multicast_enabled(), spec.posting_enabled());
    let _ = (spec.object_replication_enabled(), spec.server_channel_enabled());
    let _ = (spec.peer_to_peer_disabled(), spec.ip_multicast_member_updates_enabled());
    let _ = (spec.may_publish(), spec.may_post());
    for address in spec.ip_multicast_addresses() {
        let _ = (address.is_valid(), address.to_string());
    }
}

/// Any text is a name, a password, a salt.
fn builds(text: &str) {
    let Ok(builder) = GroupSpecBuilder::new(text) else { return };
    let builder = builder.object_replication(true).publish_password(text, text).posting(true);
    let Ok(spec) = builder.build() else { return };
    assert_eq!(spec.name(), text);
    assert!(spec.may_publish() && spec.may_post() && spec.object_replication_enabled());
    let open =
        GroupSpec::parse(&spec.without_authorizations()).expect("the same without passwords");
    assert!(!open.may_publish() && open.may_post());
}
