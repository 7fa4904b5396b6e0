//! Counters and gauges in the text format of Prometheus (version 0.0.4). `docs/server.md` lists them.

use crate::driver::NetworkStats;
use crate::rendezvous::RendezvousStats;
use crate::server::{ClusterStats, ServerLoad, ServerStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;

pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a server now.
pub(super) fn text(stats: &ServerStats, load: ServerLoad) -> String {
    let mut registry = Registry::with_prefix("rtmfp");
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What the server was built from", version);
    registry.register_collector(Box::new(Snapshot { stats: *stats, load }));
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// What is to be written.
#[derive(Debug)]
struct Snapshot {
    stats: ServerStats,
    load: ServerLoad,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ServerStats { uptime, rendezvous, network, cluster } = &self.stats;
        let mut out = Out(encoder);
        out.gauge("uptime_seconds", "Seconds since the start", uptime.as_secs_f64())?;
        out.gauge("sessions", "Sessions that are open now", self.load.sessions)?;
        let held = "Bytes that flows of clients hold, of those that limits bound";
        out.gauge("memory_held_bytes", held, self.load.memory)?;
        of_clients(&mut out, rendezvous)?;
        of_network(&mut out, network)?;
        if let Some(cluster) = cluster {
            of_cluster(&mut out, cluster)?;
        }
        refusals(&mut out, rendezvous, network)
    }
}

fn of_clients(out: &mut Out<'_>, stats: &RendezvousStats) -> fmt::Result {
    out.gauge("clients", "Clients that are connected now", stats.clients as u64)?;
    out.gauge("groups", "Groups with members now", stats.groups as u64)?;
    out.gauge("streams", "Streams that are published now", stats.streams as u64)?;
    out.gauge("players", "NetStreams that play one, or wait for it", stats.players as u64)?;
    out.gauge("shared_objects", "Remote shared objects now", stats.shared_objects as u64)?;
    out.counter("streams_published", "Streams that were ever published", stats.streams_published)?;
    let dropped = "Messages of streams that were dropped because a player lagged";
    out.counter("stream_messages_dropped", dropped, stats.stream_messages_dropped)?;
    out.counter("clients_connected", "Clients that have ever connected", stats.connected)?;
    out.counters(
        "clients_refused",
        "Clients that were refused when they connected",
        "reason",
        [
            ("application", stats.applications_refused),
            ("token", stats.tokens_refused),
            ("hook", stats.hook_refused),
        ],
    )?;
    let rights = "Streams that a client wanted to publish or play without a right to it";
    out.counter("rights_refused", rights, stats.rights_refused)?;
    let redirected = "Newcomers that were sent to other servers";
    out.counter("newcomers_redirected", redirected, stats.endpoint.redirected)?;
    out.counter("hook_queries", "Questions to the hook", stats.hook_queries)?;
    let failed = "Questions to the hook that were not answered in time, or not asked";
    out.counter("hook_queries_failed", failed, stats.hook_queries_failed)?;
    let dropped = "Questions to the hook that were not asked, as too many waited";
    out.counter("hook_queries_dropped", dropped, stats.hook_queries_dropped)?;
    out.counters(
        "introductions",
        "Hellos for other peers, by what became of them",
        "result",
        [
            ("made", stats.introductions),
            ("unknown", stats.unknown_peers),
            ("limited", stats.introductions_limited),
        ],
    )?;
    out.counters(
        "forwards",
        "Hellos that were answered, by whether they were forwarded, too",
        "result",
        [("forwarded", stats.forwarded), ("limited", stats.forwards_limited)],
    )?;
    out.counters(
        "connectivity_checks",
        "Checks of what address translators in front of clients do",
        "result",
        [("begun", stats.checks), ("refused", stats.checks_refused)],
    )?;
    out.counters(
        "relay_calls",
        "Calls from one client to another",
        "result",
        [("relayed", stats.relayed), ("refused", stats.relays_refused)],
    )
}

fn of_network(out: &mut Out<'_>, stats: &NetworkStats) -> fmt::Result {
    let datagrams = [("in", stats.datagrams_received), ("out", stats.datagrams_sent)];
    out.counters("datagrams", "UDP datagrams", "direction", datagrams)?;
    let bytes = [("in", stats.bytes_received), ("out", stats.bytes_sent)];
    out.counters("bytes", "Bytes of UDP payload", "direction", bytes)
}

fn of_cluster(out: &mut Out<'_>, stats: &ClusterStats) -> fmt::Result {
    let servers = "Servers of the cluster that are known now, this one among them";
    out.gauge("cluster_members", servers, stats.servers as u64)?;
    let connected = "1 while the cluster's message bus can be reached, else 0";
    out.gauge("cluster_connected", connected, u64::from(stats.connected))?;
    let commands = [("sent", stats.sent), ("received", stats.received), ("lost", stats.lost)];
    out.counters("cluster_commands", "What servers ask each other", "result", commands)
}

fn refusals(out: &mut Out<'_>, stats: &RendezvousStats, network: &NetworkStats) -> fmt::Result {
    let endpoint = &stats.endpoint;
    out.counters(
        "refused",
        "What was refused or dropped because of a limit",
        "reason",
        [
            ("fragment_memory", endpoint.fragments_refused),
            ("flow_memory", endpoint.flows_rejected),
            ("flow", endpoint.flows_refused),
            ("session_evicted", endpoint.sessions_evicted),
            ("keying", endpoint.keyings_ignored),
            ("unconfirmed_session", endpoint.unconfirmed_evicted),
            ("unconnected_session", stats.connects_timed_out),
            ("send_queue", stats.laggards_closed),
            ("message", stats.messages_too_long),
            ("answer_length", endpoint.answers_limited),
            ("answer", endpoint.answers_dropped),
            ("reported_address", stats.addresses_refused),
            ("join", stats.joins_refused),
            ("relay", stats.relays_limited),
            ("net_stream", stats.net_streams_refused),
            ("stream", stats.streams_refused),
            ("stream_cache", stats.caches_cut),
            ("shared_object", stats.objects_refused),
            ("shared_object_change", stats.object_changes_undone),
            ("shared_object_news", stats.object_messages_held_back),
            ("job", network.jobs_dropped),
            ("startup", network.startups_dropped),
            ("worker_command", stats.commands_lost),
            ("worker_datagram", endpoint.strays_dropped),
            ("datagram_by_system", network.datagrams_refused),
            ("datagram_without_socket", network.datagrams_unroutable),
        ],
    )
}

/// Writes metrics.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    /// Counters that one label tells apart.
    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: [(&'static str, u64); N],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, of)];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
