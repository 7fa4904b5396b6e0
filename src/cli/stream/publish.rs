//! `rtmfp stream publish`.

use super::member::{self, Member};
use super::output::{Out, StreamEvent, clock};
use super::pace::{Pace, since_start};
use crate::cli::format;
use crate::cli::member::MemberArgs;
use crate::cli::outcome::WrongUsage;
use crate::cli::patience::after;
use crate::cli::screen::{self, Live, REDRAW};
use crate::cli::signals::Signals;
use anyhow::{Context, bail};
use rtmfp::GroupSpec;
use rtmfp::driver::Clock;
use rtmfp::media::flv::{self, Tag};
use rtmfp::peer::{Message, PublishedStream, RecvError};
use rtmfp::proto::transport::Time;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// Tags that are read ahead.
const AHEAD: usize = 256;
/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;
/// How long neighbors may take for the rest of a stream that has ended: its window, and what they
/// need to ask for what is missing.
const REST: Duration = Duration::from_secs(10);

/// Publish a stream in a group, from an FLV file or a pipe.
///
/// A file is sent at the pace of its timestamps, as a live stream, when the first neighbor is
/// there; with --loop at once, and from a pipe (`-`) as it comes. Others can play it from any
/// moment on: codec configuration and metadata are repeated for them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp stream publish GROUPSPEC news news.flv --via rtmfp://rendezvous.example/tv --loop
  ffmpeg -re -i film.mp4 -c:v libx264 -c:a aac -f flv - |
      rtmfp stream publish GROUPSPEC news - --via rtmfp://rendezvous.example/tv")]
pub(crate) struct PublishArgs {
    /// The group, by its groupspec, which begins with G:
    #[arg(value_name = "GROUPSPEC")]
    spec: GroupSpec,

    /// The name of the stream
    name: String,

    /// The FLV file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Begin again at the end of the file
    #[arg(long = "loop")]
    again: bool,

    #[command(flatten)]
    member: MemberArgs,

    /// End after this time, connecting included: 30s, 15m, 2h [default: at the end of the file]
    #[arg(long = "for", value_name = "DURATION", value_parser = format::parse_duration)]
    stay: Option<Duration>,

    /// Print a JSON object for each event, one a line; docs/streams.md describes them
    #[arg(long)]
    json: bool,
}

/// What a file gives.
#[derive(Debug)]
enum Item {
    Tag(Tag),
    /// It begins again.
    Again,
}

pub(super) async fn run(args: PublishArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let mut end = pin!(after(args.stay));
    member::check(&args.member, &args.spec)?;
    let is_live = args.file == Path::new("-");
    if is_live && args.again {
        let text = "--loop needs a file: standard input cannot be read twice";
        return Err(WrongUsage(text.into()).into());
    }
    let mut tags = read(&args.file, args.again)?;
    // A file that is no FLV is reported before anybody is asked.
    let first = tokio::select! {
        first = tags.recv() => first.context("the FLV is empty")??,
        () = signals.recv() => return Ok(()),
    };
    let out = Out { json: args.json };
    let mut member = tokio::select! {
        joined = Member::join(&args.member, args.spec, None, &mut signals, out) => joined?,
        () = &mut end => bail!("no connection to the server in the time given by --for"),
    };
    let stream = member.group.publish(&args.name).await?;
    let waits = !is_live && !args.again;
    let mut broadcast = Broadcast {
        stream,
        pace: Pace::default(),
        is_live,
        clock: Clock::start(),
        at: 0,
        bytes: 0,
    };
    let outcome = tokio::select! {
        outcome = async {
            if waits {
                first_neighbor(&mut member, out).await?;
            }
            out.emit(&StreamEvent::Started { name: args.name.clone() })?;
            broadcast.follow(first, &mut tags, &mut member, out).await
        } => outcome,
        () = &mut end => Ok(()),
        () = signals.recv() => Ok(()),
    };
    let Broadcast { stream, at, bytes, .. } = broadcast;
    let delivered = tokio::select! {
        delivered = stream.close(REST) => delivered.unwrap_or(false),
        () = signals.recv() => false,
    };
    let duration = since_start(at).as_secs_f64();
    let ended = StreamEvent::Ended { name: args.name, duration, bytes, missed: 0, delivered };
    let outcome = outcome.and(out.emit(&ended));
    member.leave(&mut signals).await;
    outcome
}

/// Waits until somebody is there.
async fn first_neighbor(member: &mut Member, out: Out) -> anyhow::Result<()> {
    if member.group.neighbor_count() == 0 {
        screen::line("the file begins when the first neighbor is there");
    }
    while member.group.neighbor_count() == 0 {
        match member.events.recv().await {
            Ok(event) => Member::report(&event, out)?,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => bail!("the group was closed"),
        }
    }
    Ok(())
}

struct Broadcast {
    stream: PublishedStream,
    pace: Pace,
    /// Tags are sent as they come.
    is_live: bool,
    clock: Clock,
    /// The time of the last tag, in milliseconds since the beginning.
    at: u64,
    bytes: u64,
}

impl Broadcast {
    /// Sends tags until the file ends.
    async fn follow(
        &mut self,
        first: Item,
        tags: &mut mpsc::Receiver<anyhow::Result<Item>>,
        member: &mut Member,
        out: Out,
    ) -> anyhow::Result<()> {
        self.clock = Clock::start();
        let (mut live, mut rate) = (Live::new(), format::Rate::of_steps(REDRAW));
        let mut redraw = tokio::time::interval(REDRAW);
        let mut waiting = self.timed(first);
        loop {
            let rest = waiting.as_ref().map_or(Duration::ZERO, |(at, _)| self.rest(*at));
            tokio::select! {
                item = tags.recv(), if waiting.is_none() => match item {
                    Some(item) => waiting = self.timed(item?),
                    None => return Ok(()),
                },
                () = wait(rest), if waiting.is_some() => {
                    if let Some((at, tag)) = waiting.take() {
                        self.send(at, tag).await?;
                    }
                }
                event = member.events.recv() => match event {
                    Ok(event) => Member::report(&event, out)?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => bail!("the group was closed"),
                },
                _ = redraw.tick() => {
                    let text = self.status(member, &mut rate);
                    live.draw(&text);
                    live.report(0.0, text);
                }
            }
        }
    }

    /// A tag with its time, in milliseconds since the beginning.
    fn timed(&mut self, item: Item) -> Option<(u64, Tag)> {
        match item {
            Item::Tag(tag) => Some((self.pace.time(tag.timestamp), tag)),
            Item::Again => {
                self.pace.begin_again();
                None
            }
        }
    }

    /// The time until this tag is due.
    fn rest(&self, at: u64) -> Duration {
        let since = self.clock.now().since(Time::ZERO);
        if self.is_live { Duration::ZERO } else { since_start(at).saturating_sub(since) }
    }

    async fn send(&mut self, at: u64, tag: Tag) -> anyhow::Result<()> {
        (self.at, self.bytes) = (at, self.bytes + tag.data.len() as u64);
        // Timestamps are modulo 2³² milliseconds.
        let message = Message::from(Tag { timestamp: at as u32, ..tag });
        Ok(self.stream.write(message).await?)
    }

    /// `1:02, 1.2 MB, 250 kB/s, 3 neighbors`.
    fn status(&self, member: &Member, rate: &mut format::Rate) -> String {
        format!(
            "{}, {}, {}, {}",
            clock(since_start(self.at).as_secs_f64()),
            format::bytes(self.bytes),
            format::rate(rate.update(self.bytes)),
            format::neighbors(member.group.neighbor_count()),
        )
    }
}

/// Waits for this time; not at all, if it is over.
async fn wait(time: Duration) {
    if !time.is_zero() {
        after(Some(time)).await;
    }
}

/// Reads a file on a thread of its own, where a slow pipe keeps nothing else waiting.
fn read(path: &Path, again: bool) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Item>>> {
    let (sender, tags) = mpsc::channel(AHEAD);
    let is_standard = path == Path::new("-");
    let shown = match is_standard {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let file = match is_standard {
        true => None,
        false => Some(File::open(path).with_context(|| format!("cannot read {shown}"))?),
    };
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let read = || -> anyhow::Result<()> {
            match file {
                None => return read_tags(std::io::stdin().lock(), &sender),
                Some(file) => read_tags(file, &sender)?,
            }
            while again && sender.blocking_send(Ok(Item::Again)).is_ok() {
                read_tags(File::open(&path)?, &sender)?;
            }
            Ok(())
        };
        if let Err(error) = read() {
            // Nobody listens if the command has ended.
            let _ = sender.blocking_send(Err(error.context(format!("cannot read {shown}"))));
        }
    });
    Ok(tags)
}

fn read_tags(
    mut file: impl Read,
    sender: &mpsc::Sender<anyhow::Result<Item>>,
) -> anyhow::Result<()> {
    let (mut reader, mut piece) = (flv::Reader::new(), vec![0; PIECE]);
    let mut count = 0_u64;
    loop {
        let read = file.read(&mut piece)?;
        reader.push(&piece[..read]);
        while let Some(tag) = reader.next_tag()? {
            count += 1;
            if sender.blocking_send(Ok(Item::Tag(tag))).is_err() {
                return Ok(());
            }
        }
        if read > 0 {
            continue;
        }
        if count == 0 {
            bail!("there is no audio or video in it");
        }
        // A recording that was cut off ends with its last whole tag.
        return Ok(());
    }
}
