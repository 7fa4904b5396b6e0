//! `rtmfp groupspec`: groupspecs made and explained.

use crate::support::{fail, rtmfp, succeed};
use rtmfp::proto::group::GroupSpec;

fn new(args: &[&str]) -> GroupSpec {
    let (out, _) = succeed(rtmfp(["groupspec", "new"]).args(args));
    out.trim_end().parse().unwrap()
}

fn show(spec: &str) -> String {
    succeed(&mut rtmfp(["groupspec", "show", spec])).0
}

#[test]
fn what_was_asked_for_is_shown() {
    let spec = new(&["chat", "--posting", "--server-channel"]);
    assert_eq!(spec.as_str(), "G:0103010c050e6368617400");
    let text = show(spec.as_str());
    assert!(text.contains(&format!("group ID       {}", spec.group_id())), "{text}");
    assert!(text.contains("name           chat\n"), "{text}");
    assert!(text.contains("version        1\n"), "{text}");
    assert!(text.contains("posting, server channel"), "{text}");
    assert!(text.contains("may post       yes\n"), "{text}");
    assert!(text.contains("may publish    no"), "{text}");
}

#[test]
fn guests_of_a_group_with_a_password_may_not_publish() {
    let spec = new(&["live", "--multicast", "--publish-password", "secret", "--version", "2"]);
    assert!(spec.multicast_enabled() && spec.may_publish());
    assert_eq!(spec.version(), 2);
    let text = show(spec.as_str());
    let guests = text.lines().find_map(|line| line.strip_prefix("for guests     ")).unwrap();
    let text = show(guests);
    assert!(text.contains("may publish    no: that needs a password"), "{text}");
    let id = format!("group ID       {}", spec.group_id());
    assert!(text.contains(&id), "the same group: {text}");
}

/// Groupspecs recorded from Flash Player 10.3 for `setPostingPassword("pw")` and
/// `setPublishPassword("pub")`.
#[test]
fn a_password_gives_the_group_of_an_application_that_sets_it() {
    let posting = new(&["t", "--posting", "--server-channel", "--posting-password", "pw"]);
    assert_eq!(
        posting.as_str(),
        "G:0103210730c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4010c020e7400\
         03177077"
    );
    let publish = new(&["t", "--multicast", "--server-channel", "--publish-password", "pub"]);
    assert_eq!(
        publish.as_str(),
        "G:010121050017dea7770f7ecff7ab3c20506546129e96bdeba2f544bb8e5414eb79786122010c020e7400\
         0415707562"
    );
}

#[test]
fn passwords_are_salted_on_demand() {
    let args = ["live", "--multicast", "--publish-password", "password"];
    let salted = |option: &str| new(&[&args[..], &[option]].concat());
    assert!(salted("--salt=salt").as_str().starts_with(
        "G:0101250573616c7413601bda4ea78e55a07b98866d2be6be0744e3866f13c00c811cab608a28f322"
    ));
    let (one, other) = (salted("--salt"), salted("--salt"));
    assert!(one.may_publish() && other.may_publish());
    assert_ne!(one.group_id(), other.group_id());
    assert_ne!(one.group_id(), new(&args).group_id());
    fail(&mut rtmfp(["groupspec", "new", "x", "--salt"]), 2);
}

#[test]
fn unique_groups_differ() {
    let make = || new(&["film", "--replication", "--unique"]).group_id();
    assert_ne!(make(), make());
}

#[test]
fn every_flag_reaches_the_groupspec() {
    let spec = new(&[
        "all",
        "--posting",
        "--multicast",
        "--routing",
        "--replication",
        "--server-channel",
        "--no-peer-to-peer",
        "--member-updates",
    ]);
    assert!(spec.posting_enabled() && spec.multicast_enabled() && spec.routing_enabled());
    assert!(spec.object_replication_enabled() && spec.server_channel_enabled());
    assert!(spec.peer_to_peer_disabled() && spec.ip_multicast_member_updates_enabled());
}

#[test]
fn bootstrap_peers_are_named_by_their_peer_ids() {
    let peers = ["07".repeat(32), "a9".repeat(32)];
    let spec = new(&["x", "--bootstrap-peer", &peers[0], "--bootstrap-peer", &peers[1]]);
    let named: Vec<String> = spec.bootstrap_peers().iter().map(ToString::to_string).collect();
    assert_eq!(named, peers);
    let err = fail(&mut rtmfp(["groupspec", "new", "x", "--bootstrap-peer", "07"]), 2);
    assert!(err.contains("64 hexadecimal digits"), "{err}");
}

#[test]
fn mistakes_are_reported() {
    let err = fail(&mut rtmfp(["groupspec", "show", "chat"]), 2);
    assert!(err.contains("starts with \"G:\""), "{err}");
    let err = fail(&mut rtmfp(["groupspec", "show", "G:0101xx"]), 2);
    assert!(err.contains("not a hexadecimal digit"), "{err}");
    fail(&mut rtmfp(["groupspec", "new"]), 2);
    fail(&mut rtmfp(["groupspec", "new", "x", "--version", "3"]), 2);
    let err = fail(&mut rtmfp(["groupspec", "new", ""]), 2);
    assert!(err.contains("name is empty"), "{err}");
}

/// Groups that are of no use are made, with a note on standard error.
#[test]
fn who_forgets_an_option_is_advised() {
    let notes = |args: &[&str]| succeed(rtmfp(["groupspec", "new", "t"]).args(args)).1;
    assert_eq!(notes(&["--posting", "--server-channel"]), "");
    assert!(notes(&["--posting"]).contains("--server-channel lets them meet at a server"));
    assert!(notes(&["--lan"]).contains("cannot exchange anything"));
    fail(&mut rtmfp(["groupspec", "new", "t", "--lan", "--no-peer-to-peer"]), 2);
}
