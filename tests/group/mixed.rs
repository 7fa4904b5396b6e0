//! Groups in which some members follow the observed rules of Flash Player and the others those of this
//! crate: posts, streams and directed messages do not depend on who is what.

use crate::support::net::Net;
use crate::support::{millis, secs};
use rtmfp::amf::{self, Value};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::{Body, Message};
use rtmfp::proto::group::{
    GroupConfig, GroupEvent, GroupSpec, GroupSpecBuilder, MembershipRules, PublishOptions,
    SubscriptionRules,
};
use std::collections::BTreeSet;

const MEMBERS: usize = 24;

fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("t").unwrap().server_channel(true);
    builder.multicast(true).posting(true).build().unwrap()
}

/// A group in which the members for which it is true follow the observed rules.
fn group(is_observed: impl Fn(usize) -> bool) -> Net {
    let mut net = Net::new(0);
    for member in 0..MEMBERS {
        let mut config = GroupConfig::new(spec(), Fingerprint([member as u8 + 1; 32]));
        if is_observed(member) {
            config.membership = MembershipRules::Observed;
            config.multicast.subscription = SubscriptionRules::Observed;
        }
        net.add_configured(config);
        (member.saturating_sub(6)..member).for_each(|whom| net.introduce(member, whom));
        net.run_for(millis(200));
    }
    net.run_for(secs(30));
    net
}

fn everything_reaches_all(is_observed: impl Fn(usize) -> bool) {
    let mut net = group(&is_observed);
    for from in [0, 1, MEMBERS - 1] {
        let value = amf::to_bytes(&Value::from(format!("post of {from}").as_str())).unwrap();
        net.with(from, |group, now| group.posting_mut(now).post(value.into())).unwrap();
    }
    net.run_for(secs(15));
    for (number, node) in net.nodes.iter().enumerate() {
        let own = usize::from([0, 1, MEMBERS - 1].contains(&number));
        let posts = node.events.iter().filter(|e| matches!(e, GroupEvent::PostingNotify { .. }));
        assert_eq!(posts.count(), 3 - own, "posts at member {number}");
    }

    // One stream of a member of each kind.
    for source in [0, 1] {
        let name = format!("of {source}");
        for node in (0..MEMBERS).filter(|node| *node != source) {
            net.with(node, |group, now| group.multicast_mut(now).play(&name)).unwrap();
        }
        let options = PublishOptions::default();
        let published =
            net.with(source, |group, now| group.multicast_mut(now).publish(&name, options));
        let id = published.unwrap();
        net.nodes.iter_mut().for_each(|node| node.events.clear());
        for number in 0..400u32 {
            let payload = number.to_be_bytes().repeat(100);
            let message = Message::new(number * 40, Body::Video(payload.into()));
            net.with(source, |group, now| group.multicast_mut(now).send(id, &message)).unwrap();
            net.run_for(millis(40));
        }
        net.with(source, |group, now| group.multicast_mut(now).unpublish(id)).unwrap();
        net.run_for(secs(12));
        for (number, node) in net.nodes.iter().enumerate().filter(|(n, _)| *n != source) {
            let messages = node.events.iter().filter_map(|event| match event {
                GroupEvent::MulticastStreamMessage { message, .. } => Some(message),
                _ => None,
            });
            let video = messages.filter(|message| matches!(message.body, Body::Video(_)));
            let got: BTreeSet<u32> = video.map(|message| message.timestamp / 40).collect();
            let first = got.first().copied().unwrap_or(400);
            assert!(first < 80, "{name}: member {number} begins at {first}");
            assert!(got.into_iter().eq(first..400), "{name}: member {number} misses something");
        }
    }
}

#[test]
fn two_members_of_the_observed_rules() {
    everything_reaches_all(|member| member == 1 || member == 13);
}

#[test]
fn every_other_member_of_the_observed_rules() {
    everything_reaches_all(|member| member % 2 == 1);
}
