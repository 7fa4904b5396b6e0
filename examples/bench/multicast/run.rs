//! One run: members meet, one publishes, the others play.

use super::Multicast;
use super::host::{Host, Member, message};
use crate::group::is_observed;
use crate::process;
use crate::report::{Report, percentile};
use anyhow::Context;
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{
    GroupConfig, GroupError, GroupSpecBuilder, MembershipRules, NetStreamId,
    NetStreamMulticastInfo, PublishOptions, SubscriptionRules,
};
use rtmfp::proto::node::{Node, NodeConfig};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Link, Network, NodeId};
use rtmfp::proto::transport::Time;
use std::time::Duration;

const SERVER: &str = "10.0.0.1:1935";
const NAME: &str = "live";
/// From one member's arrival to the next.
const ARRIVALS: Duration = Duration::from_millis(100);
/// From the last arrival to the begin of the stream.
const MEETING: Duration = Duration::from_secs(10);
/// From the end of the stream to that of the run: what was lost can be fetched in this time.
const REST: Duration = Duration::from_secs(15);

pub(super) fn run(args: &Multicast, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let delay = Duration::from_millis(args.rtt_ms.into()) / 2;
    let mut network = Network::new(seed, Link::lan().with_delay(delay).with_loss(args.loss));
    let rendezvous = server(&mut network);
    network.add(SERVER, rendezvous);
    let members = (0..args.members).map(|number| {
        let is_observed = is_observed(number, args.observed, args.members);
        let id = add(&mut network, number, is_observed);
        network.run_for(ARRIVALS);
        id
    });
    let members = members.collect::<anyhow::Result<Vec<_>>>()?;
    let (source, players) = members.split_first().context("a member")?;
    network.run_for(MEETING);

    let stream = publish(&mut network, *source)?;
    let mut number = 0;
    send(args, &mut network, (*source, stream), &mut number, args.settle)?;
    let (first, cpu) = (number, process::cpu_seconds());
    let before: Vec<_> = members.iter().map(|id| info(&network, *id)).collect();
    send(args, &mut network, (*source, stream), &mut number, args.measure)?;
    let (end, cpu) = (number, process::cpu_seconds() - cpu);
    let after: Vec<_> = members.iter().map(|id| info(&network, *id)).collect();
    network.act(*source, |host, now| {
        let member = host.member_mut();
        member
            .node
            .with_group(now, member.group, |group, now| group.multicast_mut(now).unpublish(stream))
    });
    network.run_for(REST);

    let mut latencies = Vec::new();
    let mut of_all = u64::MAX;
    for id in players {
        let played = network[*id].member().played.iter();
        let played = played.filter(|(number, _)| (first..end).contains(number));
        let count = latencies.len();
        latencies.extend(played.map(|&(_, micros)| micros));
        of_all = of_all.min((latencies.len() - count) as u64);
    }
    latencies.sort_unstable();
    let sum = |field: fn(&NetStreamMulticastInfo) -> u64| -> u64 {
        let pairs = before.iter().zip(&after);
        pairs.map(|(before, after)| field(after) - field(before)).sum()
    };
    let duplicates = sum(|info| info.duplicate_fragments);
    let fragments = sum(|i| i.fragments_pushed_from_peers + i.fragments_requested_from_peers);
    let due = u64::from(end - first) * players.len() as u64;
    let (from, to) = (&before[0], &after[0]);
    let pushed = (to.bytes_pushed_to_peers - from.bytes_pushed_to_peers) as f64;
    let requested = (to.bytes_requested_by_peers - from.bytes_requested_by_peers) as f64;
    let stream_bytes = f64::from(end - first) * size(args) as f64;
    let delivered = latencies.len() as f64 * size(args) as f64;

    report.add("members", "members", members.len() as f64);
    report.add("delivered_share", "messages delivered", latencies.len() as f64 / due as f64);
    report.explain("least share of a player", of_all as f64 / f64::from(end - first));
    report.add("latency_p50_ms", "latency, median, ms", percentile(&latencies, 0.5) / 1000.0);
    report.add(
        "latency_p99_ms",
        "latency, 99th percentile, ms",
        percentile(&latencies, 0.99) / 1e3,
    );
    report.add("duplicate_share", "fragments twice", duplicates as f64 / fragments as f64);
    report.add(
        "source_streams",
        "upload of the source, streams",
        (pushed + requested) / stream_bytes,
    );
    report.explain("of it pushed", pushed / stream_bytes);
    let requested = sum(|info| info.fragments_requested_from_peers) as f64 / fragments as f64;
    report.explain("fragments on request", requested);
    let gib = delivered / f64::from(1 << 30);
    report.add("cpu_s_per_gib", "CPU seconds per GiB delivered", cpu / gib);
    Ok(())
}

/// Bytes of a message.
fn size(args: &Multicast) -> usize {
    args.kbit as usize * 125 / args.fps as usize
}

fn send(
    args: &Multicast,
    network: &mut Network<Host>,
    (source, stream): (NodeId, NetStreamId),
    number: &mut u32,
    seconds: u32,
) -> anyhow::Result<()> {
    for _ in 0..seconds * args.fps {
        let sent = network.act(source, |host, now| {
            let (member, message) = (host.member_mut(), message(*number, now, size(args)));
            member.node.with_group(now, member.group, |group, now| {
                group.multicast_mut(now).send(stream, &message)
            })
        });
        sent.context("the group")??;
        *number += 1;
        network.run_for(Duration::from_secs(1) / args.fps);
    }
    Ok(())
}

fn publish(network: &mut Network<Host>, source: NodeId) -> anyhow::Result<NetStreamId> {
    let published = network.act(source, |host, now| {
        let member = host.member_mut();
        let id = member.node.with_group(now, member.group, |group, now| {
            group.multicast_mut(now).publish(NAME, PublishOptions::default())
        });
        member.stream = id.as_ref().and_then(|id| id.as_ref().ok().copied());
        id
    });
    Ok(published.context("the group")??)
}

fn info(network: &Network<Host>, id: NodeId) -> NetStreamMulticastInfo {
    let member = network[id].member();
    let group = member.node.group(member.group);
    let info = group
        .zip(member.stream)
        .and_then(|(group, stream)| group.multicast().info(network.now(), stream));
    info.unwrap_or_default()
}

fn add(network: &mut Network<Host>, number: u32, is_observed: bool) -> anyhow::Result<NodeId> {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut random);
    let choices = network.random();
    let mut node = Node::new(NodeConfig::default(), identity, Box::new(random), Box::new(choices));
    let spec = GroupSpecBuilder::new("bench")?.multicast(true).server_channel(true).build()?;
    let now = network.now();
    let mut config = GroupConfig::new(spec, node.peer_id());
    if is_observed {
        config.membership = MembershipRules::Observed;
        config.multicast.subscription = SubscriptionRules::Observed;
    }
    let group = node.join_with(now, config);
    let plays = |now: Time, node: &mut Node| -> Option<Result<NetStreamId, GroupError>> {
        node.with_group(now, group, |group, now| group.multicast_mut(now).play(NAME))
    };
    let stream = match number {
        0 => None,
        _ => Some(plays(now, &mut node).context("the group")??),
    };
    let address = format!("10.0.{}.{}:1000", 1 + number / 200, 1 + number % 200);
    node.set_addresses(now, vec![address.parse()?]);
    let uri = Uri::parse(&format!("rtmfp://{SERVER}/")).context("the server's URI")?;
    let server = (uri, SERVER.parse()?);
    let member = Member { node, group, stream, server, played: Vec::new() };
    let id = network.add(&address, Host::Member(Box::new(member)));
    network.act(id, |host, now| host.member_mut().connect(now));
    Ok(id)
}

fn server(network: &mut Network<Host>) -> Host {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let choices = network.random();
    let config = RendezvousConfig::default();
    Host::Server(Box::new(Rendezvous::new(config, identity, Box::new(random), Box::new(choices))))
}
