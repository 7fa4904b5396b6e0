//! Log lines of events.

use super::limits::LimitReached;
use super::service::ServerEvent;
use super::workers::WorkerEvents;
use crate::rendezvous::{RendezvousEvent, RendezvousStats};
use crate::wire::Shown;
use tokio::sync::broadcast;
use tracing::{debug, info, warn};

/// Logs events and broadcasts them until the server has stopped and everything is saved.
pub(super) async fn run(events: WorkerEvents, listeners: broadcast::Sender<ServerEvent>) {
    // Closed at the very end.
    let _open = listeners.clone();
    let log_event = |event: &ServerEvent| match event {
        ServerEvent::Rendezvous(event) => log(event),
        ServerEvent::Counters(stats) => log_stats(stats),
        ServerEvent::LimitReached(LimitReached { limit, effect, times }) => {
            warn!(limit, times, "limit reached: {effect}");
        }
    };
    if let Some(saver) = events.run(listeners, log_event).await {
        // It panics nowhere; if it did, its message is in the log.
        let _ = saver.await;
    }
    info!("stopped");
}

/// Logs one event. Text from clients is cut and escaped.
fn log(event: &RendezvousEvent) {
    match event {
        RendezvousEvent::ClientConnected { peer, address, app, name } => {
            let app = Shown::new(app);
            let name = name.as_deref().map(Shown::new);
            info!(%peer, %address, ?app, ?name, "client connected");
        }
        RendezvousEvent::ClientGone { peer } => info!(%peer, "client gone"),
        RendezvousEvent::Joined { peer, group, members } => {
            debug!(%peer, %group, members, "joined a group");
        }
        RendezvousEvent::Left { peer, group, members } => {
            debug!(%peer, %group, members, "left a group");
        }
        RendezvousEvent::MessageTooLong { peer, method, limit } => {
            let method = method.as_deref().map(Shown::new);
            info!(%peer, ?method, limit, "a message was longer than the limit and was dropped");
        }
        RendezvousEvent::StreamPublished { peer, app, name } => {
            let app = Shown::new(app);
            let name = Shown::new(name);
            info!(%peer, ?app, ?name, "stream published");
        }
        RendezvousEvent::StreamEnded { peer, app, name } => {
            let app = Shown::new(app);
            let name = Shown::new(name);
            info!(%peer, ?app, ?name, "stream ended");
        }
        RendezvousEvent::ClientRefused { address, app, reason } => {
            let app = Shown::new(app);
            info!(%address, ?app, "client refused: {reason}");
        }
        RendezvousEvent::Introduced { from, to } => debug!(%from, %to, "introduced"),
        _ => {}
    }
}

fn log_stats(stats: &RendezvousStats) {
    let RendezvousStats { clients, groups, connected, introductions, .. } = stats;
    info!(
        clients,
        groups,
        connected,
        introductions,
        streams = stats.streams,
        players = stats.players,
        shared_objects = stats.shared_objects,
        streams_published = stats.streams_published,
        stream_messages_dropped = stats.stream_messages_dropped,
        unknown_peers = stats.unknown_peers,
        introductions_limited = stats.introductions_limited,
        forwarded = stats.forwarded,
        forwards_limited = stats.forwards_limited,
        relays_limited = stats.relays_limited,
        connects_timed_out = stats.connects_timed_out,
        laggards_closed = stats.laggards_closed,
        messages_too_long = stats.messages_too_long,
        net_streams_refused = stats.net_streams_refused,
        streams_refused = stats.streams_refused,
        objects_refused = stats.objects_refused,
        object_changes_undone = stats.object_changes_undone,
        applications_refused = stats.applications_refused,
        tokens_refused = stats.tokens_refused,
        rights_refused = stats.rights_refused,
        hook_refused = stats.hook_refused,
        hook_queries = stats.hook_queries,
        hook_queries_dropped = stats.hook_queries_dropped,
        hook_queries_failed = stats.hook_queries_failed,
        joins_refused = stats.joins_refused,
        addresses_refused = stats.addresses_refused,
        sessions_evicted = stats.endpoint.sessions_evicted,
        flows_rejected = stats.endpoint.flows_rejected,
        flows_refused = stats.endpoint.flows_refused,
        answers_limited = stats.endpoint.answers_limited,
        answers_dropped = stats.endpoint.answers_dropped,
        fragments_refused = stats.endpoint.fragments_refused,
        keyings_ignored = stats.endpoint.keyings_ignored,
        unconfirmed_evicted = stats.endpoint.unconfirmed_evicted,
        commands_lost = stats.commands_lost,
        strays_dropped = stats.endpoint.strays_dropped,
        "counters"
    );
}
