//! A message and its echo: the workload `pingpong`.

use crate::Common;
use crate::endpoint_service::{App, EndpointService, Mode, PATIENCE, identity, negotiating};
use crate::flood::parse_seconds;
use crate::keylog::KeyLog;
use crate::peer::{Peer, Remote, discriminator};
use crate::report::{Report, percentile};
use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use rtmfp::peer::{DhGroup, KeyStyle};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowId, FlowOptions, MessageOptions, SendError, SessionId, Time,
};
use std::time::Duration;

/// The workload `pingpong`.
#[derive(Debug, Args)]
pub(crate) struct Pingpong {
    /// How packets are verified
    #[arg(long, value_enum, default_value = "hmac-sseq")]
    mode: Mode,
    /// Bytes of a message
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    size: u32,
    /// How long a run takes, without its warm-up
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: f64,
}

/// Round trips that are made before those that count.
const WARM_UP: usize = 100;

/// Sends a message when the one before has come back.
struct Pinger {
    message: Bytes,
    duration: Duration,
    flow: Option<(SessionId, FlowId)>,
    /// Set when it is warm: then the run begins.
    until: Option<Time>,
    sent_at: Time,
    /// In microseconds.
    trips: Vec<u64>,
}

enum Note {
    Opened(SessionId),
    Done(Vec<u64>),
    Failed(String),
}

impl Pinger {
    fn send(&mut self, now: Time, endpoint: &mut Endpoint) -> Result<(), SendError> {
        let Some((session, flow)) = self.flow else { return Ok(()) };
        self.sent_at = now;
        endpoint.send(now, session, flow, self.message.clone(), MessageOptions::RELIABLE)
    }

    fn on_answer(&mut self, now: Time, endpoint: &mut Endpoint) -> Option<Note> {
        self.trips.push(now.since(self.sent_at).as_micros() as u64);
        match self.until {
            Some(until) if now >= until => {
                return Some(Note::Done(std::mem::take(&mut self.trips)));
            }
            None if self.trips.len() >= WARM_UP => {
                self.trips.clear();
                self.until = Some(now + self.duration);
            }
            _ => {}
        }
        self.send(now, endpoint).err().map(|error| Note::Failed(error.to_string()))
    }
}

impl App for Pinger {
    type Note = Note;

    fn on_event(&mut self, now: Time, endpoint: &mut Endpoint, event: Event) -> Option<Note> {
        match event {
            Event::SessionOpened { session, .. } => Some(Note::Opened(session)),
            Event::Message { .. } => self.on_answer(now, endpoint),
            Event::OpenFailed { error, .. } => Some(Note::Failed(error.to_string())),
            Event::FlowRejected { .. } => Some(Note::Failed("the flow was rejected".to_owned())),
            Event::SessionClosed { reason, .. } => {
                Some(Note::Failed(format!("the session is closed: {reason:?}")))
            }
            _ => None,
        }
    }
}

impl Pingpong {
    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        let title = format!(
            "pingpong: one message of {} bytes and its echo, {}",
            self.size,
            self.mode.name()
        );
        let mut report = Report::new("pingpong", title);
        for _ in 0..common.runs(5) {
            let mut trips = self.once(keylog).await?;
            trips.sort_unstable();
            report.add("p50_us", "median round trip, µs", percentile(&trips, 0.5));
            report.add("p99_us", "99th percentile, µs", percentile(&trips, 0.99));
            report.explain("round trips", trips.len() as f64);
        }
        Ok(report)
    }

    async fn once(&self, keylog: &KeyLog) -> anyhow::Result<Vec<u64>> {
        let (mode, group) = (self.mode, DhGroup::Modp14);
        let remote = Remote::start(&Peer { echo: true, ..Peer::new(mode, group) })?;
        let (message, trips) = (vec![7; self.size as usize].into(), Vec::new());
        let duration = Duration::from_secs_f64(self.seconds);
        let (flow, until, sent_at) = (None, None, Time::ZERO);
        let app = Pinger { message, duration, flow, until, sent_at, trips };
        let config = negotiating(Config::default(), mode, group);
        let mut running =
            EndpointService::start(config, identity(KeyStyle::Ephemeral, group), app, keylog)?;
        let address = remote.address;
        running
            .call(move |endpoint, _, now| endpoint.open(now, discriminator(), &[address]))
            .await?;
        let session = match running.note(PATIENCE).await? {
            Note::Opened(session) => session,
            Note::Failed(error) => bail!(error),
            Note::Done(_) => bail!("an answer came before a question"),
        };
        let begin = move |endpoint: &mut Endpoint, app: &mut Pinger, now: Time| {
            let flow = endpoint.open_flow(session, b"bench", FlowOptions::default())?;
            app.flow = Some((session, flow));
            app.send(now, endpoint)
        };
        running.call(begin).await??;
        let trips = match running.note(duration + PATIENCE).await? {
            Note::Done(trips) => trips,
            Note::Failed(error) => bail!(error),
            Note::Opened(_) => bail!("one more session"),
        };
        running.stop().await?;
        Ok(trips)
    }
}
