//! A stream that a client publishes at the server, published in a group.

use crate::cli::format;
use crate::cli::serve::Out;
use crate::cli::serve::events::Event;
use rtmfp::peer::{
    Connection, ConnectionState, NetGroup, NetStreamEvent, PlayedStream, PublishedStream,
    RecvError, StreamError,
};
use rtmfp::server::Ingest;
use rtmfp::wire::Shown;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

/// Time in which neighbors get the end of a stream.
const REST: Duration = Duration::from_secs(10);

/// Time until a stream that the server has refused is asked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// Neighbors to which the member sends each part of a stream in advance: what little more than one copy
/// takes. Others ask their neighbors for it, or the member.
const COPIES: usize = 1;

/// Publishes in the group what clients publish, one stream after the other, until the connection is closed.
pub(super) async fn run(connection: Connection, group: NetGroup, ingest: Ingest, out: Out) {
    let mut pause = tokio::time::interval(AGAIN);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = connection.watch_state();
    loop {
        // It is opened again if it is lost.
        let is_connected =
            |state: &ConnectionState| matches!(state, ConnectionState::Connected { .. });
        if state.wait_for(is_connected).await.is_err() {
            return;
        }
        pause.tick().await;
        let ended = match connection.play(&ingest.name).await {
            Ok(played) => pass_on(played, &group, &ingest, out).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(StreamError::Closed) => return,
            Err(error) => {
                let name = Shown::new(&ingest.name);
                warn!(%name, %error, "a stream does not get into its group");
            }
        }
    }
}

/// A stream in the group.
struct Broadcast {
    stream: PublishedStream,
    bytes: u64,
    has_copies: bool,
}

/// Passes streams of the name on until they can no longer be received.
async fn pass_on(
    mut played: PlayedStream,
    group: &NetGroup,
    ingest: &Ingest,
    out: Out,
) -> Result<(), StreamError> {
    let mut broadcast: Option<Broadcast> = None;
    loop {
        match played.recv().await {
            Ok(NetStreamEvent::Message(message)) => {
                let current = match &mut broadcast {
                    Some(current) => current,
                    none => none.insert(begin(group, ingest, out).await?),
                };
                current.bytes += message.encode().into_bytes().len() as u64;
                current.stream.write(message).await?;
                current.limit_copies().await?;
            }
            Ok(NetStreamEvent::Ended) => end(broadcast.take(), ingest, group, out),
            Ok(NetStreamEvent::Failed(error)) => {
                end(broadcast.take(), ingest, group, out);
                debug!(%error, "a stream for a group has ended");
                return Ok(());
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                let name = Shown::new(&ingest.name);
                warn!(%name, times = missed, "messages of a stream did not get into its group");
            }
            Err(RecvError::Closed) => {
                end(broadcast.take(), ingest, group, out);
                return Ok(());
            }
        }
    }
}

impl Broadcast {
    /// Sends few copies, once the stream has begun. The members follow Flash's settings among themselves.
    async fn limit_copies(&mut self) -> Result<(), StreamError> {
        if !self.has_copies
            && let Some(mut parameters) = self.stream.multicast_parameters().await?
        {
            parameters.push_neighbor_limit = COPIES;
            self.stream.set_multicast_parameters(parameters).await?;
            self.has_copies = true;
        }
        Ok(())
    }
}

async fn begin(group: &NetGroup, ingest: &Ingest, out: Out) -> Result<Broadcast, StreamError> {
    let stream = group.publish(&ingest.stream).await?;
    let event = Event::IngestStarted(Passed::new(ingest, group));
    out.say(&event, || format!("{} goes into group {}\n", shown(ingest), short(group)));
    let name = Shown::new(&ingest.name);
    info!(%name, group = %group.id(), "a stream goes into a group");
    Ok(Broadcast { stream, bytes: 0, has_copies: false })
}

/// Ends the stream in the group. Who lacks something gets it while the next one may begin.
fn end(broadcast: Option<Broadcast>, ingest: &Ingest, group: &NetGroup, out: Out) {
    let Some(Broadcast { stream, bytes, .. }) = broadcast else { return };
    let event = Event::IngestEnded { stream: Passed::new(ingest, group), bytes };
    out.say(&event, || format!("{} in group {} ended\n", shown(ingest), short(group)));
    let name = Shown::new(&ingest.name);
    info!(%name, group = %group.id(), bytes, "a stream in a group ended");
    tokio::spawn(stream.close(REST));
}

/// A stream, as events name it.
#[derive(Debug, Clone, serde::Serialize)]
pub(in crate::cli::serve) struct Passed {
    app: String,
    name: String,
    group_id: String,
    stream: String,
}

impl Passed {
    fn new(ingest: &Ingest, group: &NetGroup) -> Self {
        let Ingest { app, name, stream, .. } = ingest;
        Self {
            app: format::printable(app),
            name: format::printable(name),
            group_id: group.id().to_string(),
            stream: format::printable(stream),
        }
    }
}

/// `live/cam`.
fn shown(ingest: &Ingest) -> String {
    format::printable(&format!("{}/{}", ingest.app, ingest.name))
}

fn short(group: &NetGroup) -> String {
    format!("{}…", group.id().to_string().chars().take(8).collect::<String>())
}
