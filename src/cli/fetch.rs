//! `rtmfp fetch`: get a shared file and share it on.

use super::background::Background;
use super::catalogue::{self, Browsing};
use super::check;
use super::chosen::{Chosen, Placed};
use super::destination::{self, Output, Stream};
use super::events::Reporter;
use super::fetch_options::FetchOptions;
use super::fetching::{LAN_ADVICE, Looking, View, meets_on_lan, no_answer, show};
use super::link_memory::LinkMemory;
use super::listen::{self, Listen};
use super::origin;
use super::outcome::WrongUsage;
use super::patience::{after, connecting};
use super::scratch::Scratch;
use super::screen::{self, Live};
use super::signals::Signals;
use super::signing::{self, SignedBy};
use super::source::{self, Source};
use super::{STOP_GRACE, format};
use anyhow::{Context, anyhow, bail, ensure};
use bytes::BytesMut;
use rtmfp::Fingerprint;
use rtmfp::vod::session::SessionError;
use rtmfp::vod::{
    CHUNK_SIZE, CatalogueLink, Completed, Destination, Digest256, Fetch, FileEvent, Integrity,
};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::broadcast::{self, error::RecvError};

/// Fetch a shared file, verify it, and share it on.
///
/// The file is called NAME.part until it is complete; the same command again goes on where an
/// earlier one ended.
///
/// A file shared by a Flash application can be fetched by its groupspec: object 0 has the number of objects
/// there are, or describes the file, and the others are its parts. Nothing vouches for what such a
/// group sends: the file is not verified.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp fetch rtmfp-share://192.0.2.7:1935/1/group=G:…
  rtmfp fetch LINK -o ~/Videos/ --seed-for 2h
  rtmfp fetch LINK --file 'season 1/three.mp4'
  rtmfp fetch LINK -o - | mpv -
  rtmfp fetch LINK --lan
  rtmfp fetch https://web.example/film.mp4 --via rtmfp://rendezvous.example/films
  rtmfp fetch G:0102010c050e66696c6d00 --via rtmfp://rendezvous.example/vod -o film.flv

While it runs in the foreground of a terminal, and not with -o -, `up 500K`, `down off`, `neighbours 8`,
`metered on` and `limits` with Enter change and show its limits.")]
pub(crate) struct FetchArgs {
    /// The link that `rtmfp share` printed, or, with --via, the groupspec of a Flash application
    /// that shares a file, which begins with G:
    ///
    /// The entries of a catalogue, whose link `rtmfp share --library` printed, are listed: name, size and
    /// link, with a tab between.
    ///
    /// Or, with --via, the URL of a file on a web server: the members of its swarm at that server are
    /// met, and what they lack is read from the web server.
    #[arg(value_name = "LINK|GROUPSPEC|URL", value_parser = source::parse)]
    source: Source,

    /// File or directory to write to, or - for standard output [default: this directory, under the
    /// name that the file was shared by]
    ///
    /// A slash at the end makes the directory. Several files are written to a folder of this name, or of
    /// the name that they were shared by. Links are followed; devices and pipes are written to
    /// in order, as standard output is.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How long to share the file on when it is complete: 30s, 15m, 2h, or 0 for not at all
    /// [default: until Ctrl-C if standard output is a terminal, otherwise 0]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = format::parse_duration,
        conflicts_with = "metered"
    )]
    seed_for: Option<Duration>,

    /// Replace the file if a different one of its name exists
    #[arg(long)]
    force: bool,

    /// Check the file that is here instead of fetching it: exit status 0 if it is the one that was
    /// shared, otherwise 1, and a list of what is bad
    #[arg(long, conflicts_with_all = ["force", "seed_for", "json", "file"])]
    check: bool,

    /// Of several files, fetch only this one, by its path in the share; may be given several times
    ///
    /// It is written to where it would be if everything was fetched. What lies beside it in the same parts of
    /// 64 KB is fetched, too, and deleted at the end.
    #[arg(long, value_name = "PATH")]
    file: Vec<String>,

    /// Fetch only if the link is signed with this key, or one of those in this file
    ///
    /// A public key has 64 hexadecimal digits; a file has one a line, with a name after it if you like.
    #[arg(long, value_name = "KEY|FILE", value_parser = signing::parse)]
    signed_by: Option<SignedBy>,

    /// UDP address to send and receive from: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given several
    /// times [default: all addresses, any free port]
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    listen: Vec<Listen>,

    #[command(flatten)]
    options: FetchOptions,
}

/// How long to share on.
#[derive(Debug, Clone, Copy)]
enum Seed {
    For(Duration),
    UntilInterrupted,
}

pub(crate) async fn run(args: FetchArgs) -> anyhow::Result<()> {
    let reporter = Reporter::new(args.options.json);
    let outcome = fetch(args, &reporter).await;
    reporter.ended(&outcome);
    outcome
}

async fn fetch(args: FetchArgs, reporter: &Reporter) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let (source, version) = tokio::select! {
        source = args.source.clone().resolved(&args.options.via, args.options.lan) => source?,
        () = signals.recv() => bail!("interrupted"),
    };
    if let Source::Catalogue(link) = source {
        return list(args, *link, reporter, &mut signals).await;
    }
    let link = source.link(&args.options.via, args.options.lan)?;
    signing::check(&link, args.signed_by.as_ref())?;
    if args.check {
        ensure!(
            link.integrity != Integrity::None,
            WrongUsage(
                "--check needs a link with a hash: neither the link nor the group has a hash of the file"
                    .into()
            )
        );
        let (path, timeout) = (args.output.clone(), args.options.timeout);
        ensure!(
            path.as_deref() != Some(Path::new("-")),
            WrongUsage("--check needs a file to check: -o - is standard output".into())
        );
        let config = args.options.config(link, Destination::Nowhere, &args.listen, false)?;
        return check::run(path.as_deref(), config, timeout, &mut signals).await;
    }
    let output = tokio::select! {
        output = destination::choose(args.output.as_deref(), &link) => output?,
        () = signals.recv() => bail!("interrupted"),
    };
    let (destination, stream, _scratch) = match output {
        Output::File(destination) => (destination, None, None),
        Output::Stream(stream) => {
            let scratch = Scratch::new()?;
            (Destination::File(scratch.path().join("piped")), Some(stream), Some(scratch))
        }
    };
    ensure!(
        stream.is_none() || !reporter.is_on(),
        WrongUsage(
            "--json does not go with an output that is written in order: both need standard output"
                .into()
        )
    );
    let FetchArgs { options, file, force, listen, seed_for, .. } = args;
    let seed = seed(seed_for, stream.is_some(), options.metered);
    let (timeout, in_force) = (options.timeout, options.in_force());
    let chosen = match file.is_empty() {
        true => None,
        false => Some(Chosen::new(file, &link, &destination, force)?),
    };
    let destination = chosen.as_ref().map_or(destination, Chosen::destination);
    let mut config = options.config(link, destination, &listen, force)?;
    config.selective = chosen.is_some();
    config.origin_version = version;
    let is_verified = config.link.integrity != Integrity::None;
    if !is_verified {
        screen::line("nothing vouches for what this group sends: the file is not verified");
    }
    let servers: Vec<String> = config.link.servers.iter().map(ToString::to_string).collect();
    let servers = servers.join(", ");
    let lan = config.lan;
    let meets_on_lan = meets_on_lan(&config.link);
    let looking = Looking {
        timeout,
        provider: config.link.provider.map(|provider| Fingerprint(provider.0)),
        stream,
        is_verified,
        reporter,
        chosen,
    };
    reporter.set_limits(in_force);
    reporter.connecting(config.link.servers.iter().map(ToString::to_string));
    screen::line(&match (lan, servers.is_empty()) {
        (false, _) => format!("connecting to {servers}"),
        (true, true) => "looking for members on the local network".to_owned(),
        (true, false) => {
            format!("looking for members on the local network, and connecting to {servers}")
        }
    });
    let fetch = tokio::select! {
        fetch = connecting(&servers, Fetch::start(config)) => fetch.map_err(|error| match error {
            SessionError::Unreachable(_) if meets_on_lan => anyhow!("{error}\n{LAN_ADVICE}"),
            error => error.into(),
        })?,
        () = after(timeout) => return Err(no_answer(&servers, timeout, meets_on_lan)),
        () = signals.recv() => bail!("interrupted before there was a connection"),
    };
    let links = LinkMemory::begin(fetch.connection()).await;
    let mut view = View::new(in_force, &looking, Background::new(lan, &servers), links);
    let events = fetch.events();
    let (search, _) = fetch.search().await;
    reporter.connected(search.server.filter(|_| search.connected));
    view.background.begin(&search);
    view.picture = view.picture.serverless(servers.is_empty());
    let outcome = fetch_and_seed(&fetch, events, seed, &mut view, &looking, &mut signals).await;
    drop(view);
    let progress = fetch.progress();
    signals.or_at_once(fetch.stop(STOP_GRACE)).await;
    if let Some(chosen) = looking.chosen.as_ref().filter(|_| outcome.is_ok()) {
        chosen.clean_up();
    }
    let uploaded = progress.borrow().bytes_uploaded;
    reporter.stopped(uploaded);
    if uploaded > 0 {
        screen::line(&format!("{} uploaded to other members", format::bytes(uploaded)));
    }
    outcome
}

/// Lists the entries of a catalogue.
async fn list(
    args: FetchArgs,
    link: CatalogueLink,
    reporter: &Reporter,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    ensure!(
        args.output.is_none() && !args.check && args.file.is_empty(),
        WrongUsage(
            "this is the link of a catalogue, which is listed without -o, --file and --check: fetch one of its \
             entries by the link of the entry"
                .into()
        )
    );
    signing::check_key(Some(link.key), args.signed_by.as_ref())?;
    let browsing = Browsing {
        via: &args.options.via,
        lan: args.options.lan,
        listen: listen::addresses(args.listen),
        key_log: args.options.key_log.open()?,
    };
    catalogue::list(link, browsing, args.options.timeout, reporter, signals).await
}

fn seed(asked: Option<Duration>, is_pipe: bool, is_metered: bool) -> Seed {
    match asked {
        Some(time) => Seed::For(time),
        None if is_metered => Seed::For(Duration::ZERO),
        None if !is_pipe && std::io::stdout().is_terminal() => Seed::UntilInterrupted,
        None => Seed::For(Duration::ZERO),
    }
}

async fn fetch_and_seed(
    fetch: &Fetch,
    mut events: broadcast::Receiver<FileEvent>,
    seed: Seed,
    view: &mut View,
    looking: &Looking<'_>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let arrival = async {
        match (&looking.stream, &looking.chosen) {
            (Some(stream), _) => pipe(fetch, stream).await.map(Arrived::Whole),
            (None, Some(chosen)) => chosen.fetch(fetch).await.map(Arrived::Files),
            (None, None) => Ok(Arrived::Whole(fetch.completed().await?)),
        }
    };
    let arrived = tokio::select! {
        arrived = arrival => arrived?,
        error = show(fetch, &mut events, view, looking, false) => return Err(error),
        () = signals.recv() => bail!(interrupted(fetch, looking.stream.is_some())),
    };
    view.live.clear();
    if let Some(servers) = view.background.silent() {
        screen::line(&format!("no answer from {servers}: fetched on the local network alone"));
    }
    let descriptor = fetch.descriptor().await?;
    let has_hash = descriptor.sha256.is_some() || descriptor.chunk_hashes.is_some();
    let is_verified = looking.is_verified && has_hash;
    match arrived {
        Arrived::Whole(completed) => summary(fetch, &completed, looking, is_verified)?,
        Arrived::Files(files) => placed(fetch, &files, looking, is_verified)?,
    }
    match seed {
        Seed::For(Duration::ZERO) => return Ok(()),
        Seed::For(time) => screen::line(&format!("sharing on for {}", format::duration(time))),
        Seed::UntilInterrupted => screen::line("sharing on until Ctrl-C"),
    }
    view.live = Live::new();
    let end = async {
        match seed {
            Seed::For(time) => tokio::time::timeout(time, std::future::pending()).await,
            Seed::UntilInterrupted => std::future::pending().await,
        }
    };
    tokio::select! {
        Ok(()) | Err(_) = end => {}
        error = show(fetch, &mut events, view, looking, true) => return Err(error),
        () = signals.recv() => {}
    }
    Ok(())
}

/// What has been fetched.
enum Arrived {
    Whole(Completed),
    Files(Vec<Placed>),
}

/// The summary of some files of a share.
fn placed(
    fetch: &Fetch,
    files: &[Placed],
    looking: &Looking<'_>,
    is_verified: bool,
) -> anyhow::Result<()> {
    let progress = fetch.progress().borrow().clone();
    screen::line(&format!(
        "{}: {}, {} fetched now, {} of it from peers{}",
        format::count(files.len() as u64, "file"),
        format::bytes(files.iter().map(|file| file.size).sum()),
        format::bytes(screen::fetched(&progress)),
        format::bytes(progress.bytes_from_peers),
        origin::note(&progress),
    ));
    looking.reporter.progress(&progress);
    for file in files {
        let path = file.path.display().to_string();
        match looking.reporter.is_on() {
            true => looking.reporter.placed(file, is_verified),
            false => screen::result(&path)?,
        }
    }
    Ok(())
}

/// The files that remain after Ctrl-C.
fn interrupted(fetch: &Fetch, is_pipe: bool) -> &'static str {
    match fetch.progress().borrow().held_chunks {
        0 => "interrupted before anything was fetched",
        _ if is_pipe => "interrupted",
        _ => "interrupted; what was fetched is kept, the same command goes on with it",
    }
}

fn summary(
    fetch: &Fetch,
    completed: &Completed,
    looking: &Looking<'_>,
    is_verified: bool,
) -> anyhow::Result<()> {
    let is_pipe = looking.stream.is_some();
    let progress = fetch.progress().borrow().clone();
    let fetched = screen::fetched(&progress);
    let place = match &completed.path {
        Some(path) if !is_pipe => path.display().to_string(),
        _ => "complete".into(),
    };
    let size = format::bytes(progress.held_bytes);
    screen::line(&match fetched {
        0 if progress.held_bytes > 0 => {
            format!("{place}: {size}, was here already: 0 B fetched now")
        }
        _ => format!(
            "{place}: {size}, {} fetched now, {} of it from peers{}",
            format::bytes(fetched),
            format::bytes(progress.bytes_from_peers),
            origin::note(&progress),
        ),
    });
    let note = match (is_verified, looking.is_verified) {
        (true, _) => "",
        (false, true) => " (of what came; samples of it were compared with the web server)",
        (false, false) => " (of what came; nothing vouches for it)",
    };
    screen::line(&format!("SHA-256 {}{note}", completed.sha256));
    if let Some(kept) = &completed.kept {
        screen::line(&format!("the damaged copy that was here is kept as {}", kept.display()));
    }
    looking.reporter.progress(&progress);
    looking.reporter.complete(completed, progress.held_bytes, is_verified);
    let is_for_programs = is_pipe || looking.reporter.is_on();
    if let Some(path) = completed.path.as_ref().filter(|_| !is_for_programs) {
        screen::result(&path.display().to_string())?;
    }
    Ok(())
}

/// Writes the file in order, each part as soon as it is there.
async fn pipe(fetch: &Fetch, stream: &Stream) -> anyhow::Result<Completed> {
    let (mut events, mut reader) = (fetch.events(), fetch.reader());
    ensure!(
        fetch.descriptor().await?.files.is_none(),
        WrongUsage(destination::SEVERAL_IN_ORDER.into())
    );
    let copy = async {
        loop {
            let mut part = BytesMut::with_capacity(CHUNK_SIZE as usize);
            if reader.read_buf(&mut part).await.map_err(of_fetch)? == 0 {
                return anyhow::Ok(fetch.completed().await?);
            }
            stream.write(part.freeze()).await?;
        }
    };
    tokio::select! {
        completed = copy => completed,
        rejected = rejected(&mut events) => {
            bail!("the bytes written so far are not the shared file (SHA-256 {rejected})")
        }
    }
}

/// The error of a fetch that its reader has reported.
fn of_fetch(error: std::io::Error) -> anyhow::Error {
    match error.downcast::<SessionError>() {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}

/// Waits until the file, verified as a whole, turns out to be wrong.
async fn rejected(events: &mut broadcast::Receiver<FileEvent>) -> Digest256 {
    loop {
        match events.recv().await {
            Ok(FileEvent::FileRejected { actual }) => return actual,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
