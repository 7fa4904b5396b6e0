//! One reliable flow at full rate: the workloads `bulk` and `messages`.

use crate::Common;
use crate::endpoint_service::{
    App, EndpointService, Mode, PATIENCE, Running, identity, negotiating,
};
use crate::keylog::KeyLog;
use crate::peer::{Peer, Remote, discriminator};
use crate::process;
use crate::report::Report;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use rtmfp::peer::{DhGroup, KeyStyle};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowId, FlowOptions, MessageOptions, SendError, SessionId,
    SessionStats, Time,
};
use std::net::SocketAddr;
use std::time::Duration;

/// The workload `bulk`.
#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// How packets are verified
    #[arg(long, value_enum, default_value = "hmac-sseq")]
    mode: Mode,
    /// Bytes of a message
    #[arg(long, default_value = "8192", value_parser = clap::value_parser!(u32).range(1..=8 << 20))]
    message: u32,
    /// How long a run sends
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: f64,
}

/// The workload `messages`.
#[derive(Debug, Args)]
pub(crate) struct Messages {
    /// How packets are verified
    #[arg(long, value_enum, default_value = "hmac-sseq")]
    mode: Mode,
    /// Bytes of a message
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    size: u32,
    /// How long a run sends
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: f64,
}

/// A plausible duration of a run.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    match (0.01..=3600.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("between 0.01 and 3600 seconds".to_owned()),
    }
}

/// Bytes that wait in the sending flow, those in flight included.
const QUEUE: u64 = 4 << 20;
/// The queue is filled up again when less than this is left.
const REFILL_AT: u64 = QUEUE / 4 * 3;

/// Keeps one flow's queue full.
#[derive(Debug)]
pub(crate) struct Flooder {
    message: Bytes,
    flow: Option<(SessionId, FlowId)>,
    until: Time,
    sent: u64,
}

/// Events of a flood.
#[derive(Debug)]
pub(crate) enum Note {
    Opened(SessionId),
    /// Everything is acknowledged.
    Done(Time),
    Failed(String),
}

/// Result of one flood.
#[derive(Debug, Clone, Copy)]
struct Flood {
    messages: u64,
    bytes: u64,
    seconds: f64,
    sender_cpu: f64,
    lost: u64,
    timeouts: u64,
    /// Datagrams in one call to the operating system, on average.
    joined: f64,
    /// Acknowledgements: datagrams received for each that was sent.
    answers: f64,
}

impl Flooder {
    pub(crate) fn new(message: usize) -> Self {
        // No message is like its neighbor's bytes, though nothing here would compress them.
        let message = (0..message).map(|i| (i * 7) as u8).collect();
        Self { message, flow: None, until: Time::ZERO, sent: 0 }
    }

    fn fill(&mut self, now: Time, endpoint: &mut Endpoint) {
        let Some((session, flow)) = self.flow else { return };
        if now >= self.until {
            self.flow = None;
            // Fails if the session is closed, which another event reports.
            let _ = endpoint.close_flow(session, flow);
            return;
        }
        let options = MessageOptions::RELIABLE;
        while endpoint.send(now, session, flow, self.message.clone(), options).is_ok() {
            self.sent += 1;
        }
    }
}

impl App for Flooder {
    type Note = Note;

    fn on_event(&mut self, now: Time, _: &mut Endpoint, event: Event) -> Option<Note> {
        match event {
            Event::SessionOpened { session, .. } => Some(Note::Opened(session)),
            Event::FlowDone { .. } => Some(Note::Done(now)),
            Event::OpenFailed { error, .. } => Some(Note::Failed(error.to_string())),
            Event::FlowRejected { .. } => Some(Note::Failed("the flow was rejected".to_owned())),
            Event::SessionClosed { reason, .. } => {
                Some(Note::Failed(format!("the session is closed: {reason:?}")))
            }
            _ => None,
        }
    }

    fn on_turn(&mut self, now: Time, endpoint: &mut Endpoint) {
        let Some((session, flow)) = self.flow else { return };
        if endpoint.queued(session, flow) < REFILL_AT {
            self.fill(now, endpoint);
        }
    }
}

/// Opens a session with the endpoint at `address`.
pub(crate) async fn connect(
    running: &mut Running<Flooder>,
    address: SocketAddr,
) -> anyhow::Result<SessionId> {
    running.call(move |endpoint, _, now| endpoint.open(now, discriminator(), &[address])).await?;
    match running.note(PATIENCE).await? {
        Note::Opened(session) => Ok(session),
        Note::Failed(error) => bail!(error),
        Note::Done(_) => bail!("a flow has ended before it began"),
    }
}

/// Opens a flow and keeps its queue full for `duration`. Returns when it began.
pub(crate) async fn begin(
    running: &Running<Flooder>,
    session: SessionId,
    duration: Duration,
) -> anyhow::Result<Time> {
    let begin = move |endpoint: &mut Endpoint, app: &mut Flooder, now: Time| {
        let flow = endpoint.open_flow(session, b"bench", FlowOptions::default())?;
        app.flow = Some((session, flow));
        app.until = now + duration;
        app.sent = 0;
        app.fill(now, endpoint);
        Ok::<_, SendError>(now)
    };
    Ok(running.call(begin).await??)
}

/// Counters of the session.
pub(crate) async fn session_stats(
    running: &Running<Flooder>,
    session: SessionId,
) -> anyhow::Result<SessionStats> {
    let look = move |endpoint: &mut Endpoint, _: &mut Flooder, _| {
        endpoint.session(session).map(|info| info.stats())
    };
    running.call(look).await?.context("the session is closed")
}

/// Sends for `seconds`, and waits until all of it is acknowledged.
async fn flood(
    running: &mut Running<Flooder>,
    session: SessionId,
    seconds: f64,
) -> anyhow::Result<Flood> {
    let duration = Duration::from_secs_f64(seconds);
    let cpu = process::cpu_seconds();
    let before = running.stats();
    let begun = begin(running, session, duration).await?;
    let done = match running.note(duration + PATIENCE).await? {
        Note::Done(done) => done,
        Note::Failed(error) => bail!(error),
        Note::Opened(_) => bail!("one more session"),
    };
    let sender_cpu = process::cpu_seconds() - cpu;
    let (messages, message) =
        running.call(|_, app, _| (app.sent, app.message.len() as u64)).await?;
    let stats = session_stats(running, session).await?;
    let after = running.stats();
    let datagrams = (after.datagrams_sent - before.datagrams_sent) as f64;
    let calls = (after.send_calls - before.send_calls).max(1) as f64;
    let answers = (after.datagrams_received - before.datagrams_received) as f64;
    Ok(Flood {
        joined: datagrams / calls,
        answers: answers / datagrams.max(1.0),
        messages,
        bytes: messages * message,
        seconds: done.since(begun).as_secs_f64(),
        sender_cpu,
        lost: stats.fragments_lost,
        timeouts: stats.timeouts,
    })
}

/// One run between two processes: the flood, and the receiver's CPU time.
async fn run(
    mode: Mode,
    message: usize,
    seconds: f64,
    keylog: &KeyLog,
) -> anyhow::Result<(Flood, f64)> {
    let group = DhGroup::Modp14;
    let mut remote = Remote::start(&Peer::new(mode, group))?;
    let mut config = Config::default();
    config.max_send_queue = QUEUE;
    let config = negotiating(config, mode, group);
    let keys = identity(KeyStyle::Ephemeral, group);
    let mut running = EndpointService::start(config, keys, Flooder::new(message), keylog)?;
    let session = connect(&mut running, remote.address).await?;
    let before = remote.sample()?;
    let flood = flood(&mut running, session, seconds).await?;
    let after = remote.sample()?;
    let arrived = after.bytes - before.bytes;
    ensure!(arrived == flood.bytes, "{} bytes were sent, {arrived} arrived", flood.bytes);
    running.stop().await?;
    Ok((flood, after.cpu - before.cpu))
}

impl Bulk {
    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        const GIB: f64 = (1 << 30) as f64;
        let Self { mode, message, seconds } = *self;
        let title =
            format!("bulk: one reliable flow, messages of {message} bytes, {}", mode.name());
        let mut report = Report::new("bulk", title);
        for _ in 0..common.runs(5) {
            let (flood, receiver_cpu) = run(mode, message as usize, seconds, keylog).await?;
            let gib = flood.bytes as f64 / GIB;
            report.add("sender_cpu_s_per_gib", "sender's CPU s per GiB", flood.sender_cpu / gib);
            report.add("receiver_cpu_s_per_gib", "receiver's CPU s per GiB", receiver_cpu / gib);
            report.add("mb_per_s", "MB/s", flood.bytes as f64 / 1e6 / flood.seconds);
            report.explain("fragments found lost", flood.lost as f64);
            report.explain("retransmission timeouts", flood.timeouts as f64);
            report.explain("datagrams sent in one call", flood.joined);
            report.explain("acknowledgements per datagram", flood.answers);
        }
        Ok(report)
    }
}

impl Messages {
    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        let Self { mode, size, seconds } = *self;
        let title = format!("messages: one reliable flow, {size} bytes each, {}", mode.name());
        let mut report = Report::new("messages", title);
        for _ in 0..common.runs(5) {
            let (flood, receiver_cpu) = run(mode, size as usize, seconds, keylog).await?;
            let messages = flood.messages as f64;
            report.add("per_second", "messages per second", messages / flood.seconds);
            report.explain("sender's CPU µs per message", flood.sender_cpu / messages * 1e6);
            report.explain("receiver's CPU µs per message", receiver_cpu / messages * 1e6);
            report.explain("fragments found lost", flood.lost as f64);
        }
        Ok(report)
    }
}
