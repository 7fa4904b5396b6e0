//! `rtmfp stream play`.

use super::output::{Out, StreamEvent, clock};
use super::place::Place;
use super::site::{self, Site};
use crate::cli::destination::Stream;
use crate::cli::format;
use crate::cli::member::MemberArgs;
use crate::cli::outcome::{TimedOut, WrongUsage};
use crate::cli::patience::{Patience, after};
use crate::cli::screen::{self, Live, REDRAW};
use crate::cli::signals::Signals;
use anyhow::{Context, bail};
use bytes::Bytes;
use rtmfp::driver::Rate;
use rtmfp::peer::{FlvReader, Missing, NetStreamError};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

/// Play a stream of a group, a peer or a server into a file or a pipe, as FLV.
///
/// The file begins at a key frame, its time at 0, and is complete whenever the command ends: when
/// the stream does, or with Ctrl-C. Who plays also passes the stream on to others.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp stream play GROUPSPEC news -o - --via rtmfp://rendezvous.example/tv | ffplay -
  rtmfp stream play GROUPSPEC news -o news.flv --via rtmfp://rendezvous.example/tv --for 10m
  rtmfp stream play GROUPSPEC news -o - --lan | mpv -
  rtmfp stream play PEERID cam -o cam.flv --via rtmfp://rendezvous.example/tv
  rtmfp stream play server live1 -o - --via rtmfp://media.example/live | ffplay -")]
pub(crate) struct PlayArgs {
    /// Where the stream is: a groupspec, which begins with G:, the peer ID of its publisher, or the
    /// word server for the server of --via
    #[arg(value_name = "GROUPSPEC|PEERID|server", value_parser = Place::to_play)]
    place: Place,

    /// The name of the stream
    name: String,

    /// The file that is written; `-` is standard output. An existing file is not replaced
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    member: MemberArgs,

    /// End after this time, connecting included: 30s, 15m, 2h [default: when the stream ends]
    #[arg(long = "for", value_name = "DURATION", value_parser = format::parse_duration)]
    stay: Option<Duration>,

    /// Give up, with exit status 3, when nothing has come for so long: 30s, 15m, 2h [default: wait]
    #[arg(long, value_name = "DURATION", value_parser = format::parse_timeout)]
    timeout: Option<Duration>,

    /// Print a JSON object for each event, one a line; docs/streams.md describes them
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: PlayArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let mut end = pin!(after(args.stay));
    site::check(&args.member, &args.place)?;
    let is_standard = args.output == Path::new("-");
    if args.json && is_standard {
        let text = "--json does not go with -o -: both need standard output";
        return Err(WrongUsage(text.into()).into());
    }
    let out = Out::new(args.json);
    let (file, empty) = match is_standard {
        true => (Stream::new("standard output", std::io::stdout()), Empty(None)),
        false => open(&args.output)?,
    };
    let mut site = tokio::select! {
        opened = Site::open(&args.member, &args.place, args.timeout, &mut signals, out) => opened?,
        () = &mut end => bail!("no connection to the server in the time given by --for"),
    };
    let played = match (&args.place, &site.group) {
        (Place::Peer(peer_id), _) => site.connection.play_from_peer(*peer_id, &args.name).await?,
        (_, Some(group)) => group.play(&args.name).await?,
        _ => site.connection.play(&args.name).await?,
    };
    let mut recording = Recording {
        flv: played.into_flv_reader(),
        place: args.place,
        file,
        empty,
        bytes: 0,
        has_begun: false,
        patience: Patience::new(args.timeout),
        out,
    };
    let outcome = tokio::select! {
        outcome = recording.follow(&mut site) => outcome,
        () = &mut end => Ok(()),
        () = signals.recv() => Ok(()),
    };
    let outcome = outcome.and_then(|()| recording.end());
    site.leave(&mut signals).await;
    outcome
}

/// A file that was made and has nothing in it. It is removed again, so that it is not in the way of the
/// next attempt.
struct Empty(Option<PathBuf>);

impl Drop for Empty {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Whoever has removed it already is welcome.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Creates a file, or opens a pipe or a device.
fn open(path: &Path) -> anyhow::Result<(Stream, Empty)> {
    let shown = path.display();
    let is_special = std::fs::metadata(path).is_ok_and(|known| !known.is_file());
    let opened = OpenOptions::new().write(true).create_new(!is_special).open(path);
    let file = opened.with_context(|| match path.exists() {
        true => format!("{shown} exists and is not replaced; remove it or name another file"),
        false => format!("cannot write to {shown}"),
    })?;
    let empty = Empty((!is_special).then(|| path.to_owned()));
    Ok((Stream::new(&shown.to_string(), file), empty))
}

struct Recording {
    flv: FlvReader,
    place: Place,
    file: Stream,
    empty: Empty,
    bytes: u64,
    has_begun: bool,
    patience: Patience,
    out: Out,
}

impl Recording {
    /// Writes what comes, until the stream ends.
    async fn follow(&mut self, site: &mut Site) -> anyhow::Result<()> {
        let mut live = Live::new();
        let mut redraw = tokio::time::interval(REDRAW);
        let mut rate = Rate::of_steps(REDRAW);
        loop {
            tokio::select! {
                tags = self.flv.next_tags() => match tags {
                    Some(tags) => self.write(tags).await?,
                    None => return self.failure(),
                },
                event = site.event() => Site::report(&event?, self.out)?,
                _ = redraw.tick() => {
                    self.patience.note(self.bytes);
                    let text = self.status(site, &mut rate);
                    live.draw(&text);
                    live.report(0.0, text);
                    if self.patience.is_over() || self.patience.is_explanation_due() {
                        self.explain(site).await?;
                    }
                }
            }
        }
    }

    async fn write(&mut self, tags: Bytes) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.empty.0 = None;
            let name = self.flv.stream().name().to_owned();
            self.out.emit(&StreamEvent::Started { name })?;
        }
        self.bytes += tags.len() as u64;
        self.file.write(tags).await
    }

    /// `1:02, 1.2 MB, 250 kB/s, 3 neighbors`.
    fn status(&self, site: &Site, rate: &mut Rate) -> String {
        let others = site.others(&self.place);
        if !self.has_begun {
            return format!("{}{others}", self.waits_for());
        }
        let time = clock(self.flv.position().as_secs_f64());
        let rate = format::rate(rate.update(self.bytes));
        format!("{time}, {}, {rate}{others}", format::bytes(self.bytes))
    }

    fn waits_for(&self) -> &'static str {
        match self.flv.missing() {
            Some(Missing::KeyFrame) => "waiting for a key frame",
            Some(Missing::Configuration) => {
                "waiting for the codec configuration, which the publisher has to send again"
            }
            _ if !self.flv.is_connected() && matches!(self.place, Place::Peer(_)) => {
                "waiting for the peer"
            }
            _ => "waiting for the stream",
        }
    }

    /// Prints why nothing comes.
    ///
    /// # Errors
    ///
    /// The same, when the time is over.
    async fn explain(&self, site: &Site) -> anyhow::Result<()> {
        let lines = site.situation(&self.place, self.flv.is_connected()).await?;
        let time = format::duration(self.patience.idle());
        if self.patience.is_over() {
            let lines = lines.join("\n");
            let what = if self.has_begun { "nothing more came" } else { self.waits_for() };
            return Err(TimedOut(format!("gave up: {what} for {time}\n{lines}")).into());
        }
        screen::line(&format!("nothing of the stream has come for {time}:"));
        lines.iter().for_each(|line| screen::line(line));
        Ok(())
    }

    /// The error with which the stream has ended, if it has not ended in order.
    fn failure(&self) -> anyhow::Result<()> {
        match self.flv.failure() {
            Some(NetStreamError::Closed) if self.has_begun => {
                bail!("the publisher is gone; what came until then is in the file")
            }
            Some(error) => bail!("cannot play {}: {error}", self.flv.stream().name()),
            None => Ok(()),
        }
    }

    fn end(&self) -> anyhow::Result<()> {
        if !self.has_begun {
            bail!("ended before the stream had begun: {}", self.waits_for());
        }
        self.out.emit(&StreamEvent::Ended {
            name: self.flv.stream().name().to_owned(),
            duration: self.flv.position().as_secs_f64(),
            bytes: self.bytes,
            missed: self.flv.missed(),
            delivered: true,
        })
    }
}
