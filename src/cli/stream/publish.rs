//! `rtmfp stream publish`.

use super::output::{Out, StreamEvent, clock};
use super::pace::{Pace, since_start};
use super::place::Place;
use super::site::{self, Site};
use crate::cli::format;
use crate::cli::member::MemberArgs;
use crate::cli::outcome::WrongUsage;
use crate::cli::patience::after;
use crate::cli::screen::{self, Live, REDRAW};
use crate::cli::signals::Signals;
use anyhow::{Context, bail};
use rtmfp::amf::Value;
use rtmfp::driver::{Clock, Rate};
use rtmfp::media::flv::{self, Tag};
use rtmfp::peer::{Message, NetStreamEvent, PublishToPeers, PublishedStream, RecvError};
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

/// Publish a stream in a group, to peers or at a server, from an FLV file or a pipe.
///
/// A file is sent at the pace of its timestamps, as a live stream, when the first neighbor or peer
/// is there; with --loop at once, and from a pipe (`-`) as it comes. Others can play it from any
/// moment on: codec configuration and metadata are repeated for them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp stream publish GROUPSPEC news news.flv --via rtmfp://rendezvous.example/tv --loop
  rtmfp stream publish peers cam cam.flv --via rtmfp://rendezvous.example/tv
  rtmfp stream publish server live1 - --via rtmfp://media.example/live
  ffmpeg -re -i film.mp4 -c:v libx264 -c:a aac -f flv - |
      rtmfp stream publish GROUPSPEC news - --via rtmfp://rendezvous.example/tv")]
pub(crate) struct PublishArgs {
    /// Where to publish: in a group, by its groupspec, which begins with G:, or one of the words peers,
    /// for whoever asks this peer for the stream, and server, for the server of --via
    #[arg(value_name = "GROUPSPEC|peers|server", value_parser = Place::to_publish)]
    place: Place,

    /// The name of the stream
    name: String,

    /// The FLV file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Begin again at the end of the file
    #[arg(long = "loop")]
    again: bool,

    /// Peers that may play at a time, for a stream that is published to peers [default: 8]
    #[arg(long, value_name = "NUMBER")]
    max_peers: Option<usize>,

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
    site::check(&args.member, &args.place)?;
    if args.max_peers.is_some() && !matches!(args.place, Place::Peers) {
        let text = "--max-peers is for streams that are published to peers; write the word peers";
        return Err(WrongUsage(text.into()).into());
    }
    let is_live = args.file == Path::new("-");
    if is_live && args.again {
        let text = "--loop needs a file: standard input cannot be read twice";
        return Err(WrongUsage(text.into()).into());
    }
    let mut tags = read(&args.file, args.again)?;
    // A file that is no FLV is reported before anybody is asked.
    let first = tokio::select! {
        first = tags.recv() => first.context("the FLV is empty")??,
        () = &mut end => bail!("nothing was to be read in the time given by --for"),
        () = signals.recv() => return Ok(()),
    };
    let out = Out::new(args.json);
    let mut site = tokio::select! {
        opened = Site::open(&args.member, &args.place, None, &mut signals, out) => opened?,
        () = &mut end => bail!("no connection to the server in the time given by --for"),
    };
    let mut options = PublishToPeers::default();
    options.max_peers = args.max_peers.unwrap_or(options.max_peers);
    let stream = match (&args.place, &site.group) {
        (_, Some(group)) => group.publish(&args.name).await?,
        (Place::Server, None) => site.connection.publish(&args.name).await?,
        _ => site.connection.publish_to_peers_with(&args.name, options).await?,
    };
    if let Place::Peers = args.place {
        let (peer_id, via) = (site.connection.peer_id(), args.member.via());
        let name = &args.name;
        screen::line(&format!("to play it: rtmfp stream play {peer_id} {name} -o - --via {via}"));
    }
    let waits = !is_live && !args.again && !matches!(args.place, Place::Server);
    let mut broadcast = Broadcast {
        stream,
        place: args.place,
        pace: Pace::default(),
        is_live,
        clock: Clock::start(),
        at: 0,
        bytes: 0,
    };
    let outcome = tokio::select! {
        outcome = async {
            if waits {
                broadcast.first_listener(&mut site, out).await?;
            }
            out.emit(&StreamEvent::Started { name: args.name.clone() })?;
            broadcast.follow(first, &mut tags, &mut site, out).await
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
    site.leave(&mut signals).await;
    outcome
}

struct Broadcast {
    stream: PublishedStream,
    place: Place,
    pace: Pace,
    /// Tags are sent as they come.
    is_live: bool,
    clock: Clock,
    /// The time of the last tag, in milliseconds since the beginning.
    at: u64,
    bytes: u64,
}

impl Broadcast {
    /// Waits until somebody is there.
    async fn first_listener(&mut self, site: &mut Site, out: Out) -> anyhow::Result<()> {
        match &site.group {
            Some(group) if group.neighbor_count() > 0 => return Ok(()),
            Some(_) => screen::line("the file begins when the first neighbor is there"),
            None => screen::line("the file begins when the first peer plays it"),
        }
        while site.peers == 0 && site.group.as_ref().is_none_or(|it| it.neighbor_count() == 0) {
            tokio::select! {
                event = site.event() => Site::report(&event?, out)?,
                event = self.stream.recv() => note(event, site, out)?,
            }
        }
        Ok(())
    }

    /// Sends tags until the file ends.
    async fn follow(
        &mut self,
        first: Item,
        tags: &mut mpsc::Receiver<anyhow::Result<Item>>,
        site: &mut Site,
        out: Out,
    ) -> anyhow::Result<()> {
        self.clock = Clock::start();
        let (mut live, mut rate) = (Live::new(), Rate::of_steps(REDRAW));
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
                event = site.event() => Site::report(&event?, out)?,
                event = self.stream.recv() => note(event, site, out)?,
                _ = redraw.tick() => {
                    let text = self.status(site, &mut rate);
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
    fn status(&self, site: &Site, rate: &mut Rate) -> String {
        format!(
            "{}, {}, {}{}",
            clock(since_start(self.at).as_secs_f64()),
            format::bytes(self.bytes),
            format::rate(rate.update(self.bytes)),
            site.others(&self.place),
        )
    }
}

/// Prints an event of a stream outside of groups, and counts the peers that play it.
fn note(event: Result<NetStreamEvent, RecvError>, site: &mut Site, out: Out) -> anyhow::Result<()> {
    match event {
        Ok(NetStreamEvent::PeerConnect { peer_id }) => {
            site.peers += 1;
            out.emit(&StreamEvent::PeerConnected { peer_id: peer_id.to_string() })
        }
        Ok(NetStreamEvent::PeerDisconnect { peer_id }) => {
            site.peers = site.peers.saturating_sub(1);
            out.emit(&StreamEvent::PeerDisconnected { peer_id: peer_id.to_string() })
        }
        Ok(NetStreamEvent::Status(info)) => {
            let text = |name| info.property(name).and_then(Value::as_str).unwrap_or_default();
            let text = |name| format::printable(text(name));
            let (code, description) = (text("code"), text("description"));
            out.emit(&StreamEvent::Status { code, description })
        }
        Ok(NetStreamEvent::Failed(error)) => bail!("the stream has ended: {error}"),
        Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
        Err(RecvError::Closed) => bail!("the connection was closed"),
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
