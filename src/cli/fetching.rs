//! A fetch on the screen: its progress, what is typed meanwhile, and the reasons why nothing arrives.

use super::background::Background;
use super::chosen::Chosen;
use super::console::{Asked, Console, Form, change_limits};
use super::destination::Stream;
use super::events::Reporter;
use super::format;
use super::in_force::InForce;
use super::limits::chunk_time;
use super::link_memory::LinkMemory;
use super::outcome::TimedOut;
use super::patience::Patience;
use super::screen::{self, Live, Picture, REDRAW, SILENCE};
use super::share::print_event;
use super::situation::Situation;
use rtmfp::vod::replica::Stage;
use rtmfp::vod::session::Progress;
use rtmfp::vod::{Fetch, FileEvent, ShareLink};
use rtmfp::{Fingerprint, GroupSpec};
use std::time::Duration;
use tokio::sync::broadcast;

/// Advice for a server that does not answer.
pub(crate) const LAN_ADVICE: &str = "the file is shared on the local network too: --lan looks there, and needs no \
                          answer from the server";

/// A file that was shared with `--verified`, and nobody there.
const NO_HASHES: &str = "it answers, but the hashes of this link (share --verified) come from a member;\n\
                         \x20            without one, all of it is read from there, if --origin-limit allows it";

/// Options for a fetch that waits.
pub(crate) struct Looking<'a> {
    pub(crate) timeout: Option<Duration>,
    /// The member that the link names.
    pub(crate) provider: Option<Fingerprint>,
    /// Where the file goes if it goes nowhere else.
    pub(crate) stream: Option<Stream>,
    /// The files that are fetched, if they are not all.
    pub(crate) chosen: Option<Chosen>,
    /// The link has a hash of the file.
    pub(crate) is_verified: bool,
    pub(crate) reporter: &'a Reporter,
}

/// What a person sees and types.
pub(crate) struct View {
    pub(crate) live: Live,
    pub(crate) picture: Picture,
    pub(crate) console: Console,
    pub(crate) in_force: InForce,
    pub(crate) background: Background,
    pub(crate) links: LinkMemory,
}

impl View {
    pub(crate) fn new(
        in_force: InForce,
        looking: &Looking<'_>,
        background: Background,
        links: LinkMemory,
    ) -> Self {
        let form = if looking.reporter.is_on() { Form::Json } else { Form::Words };
        // The program at the other end of the pipe reads the terminal.
        let console = Console::open(form, looking.stream.is_none());
        let (live, picture) = (Live::new(), Picture::with(in_force.limits));
        Self { live, picture, console, in_force, background, links }
    }
}

/// Shows the progress. Ends, with the reason, when nothing has come for too long.
pub(crate) async fn show(
    fetch: &Fetch,
    events: &mut broadcast::Receiver<FileEvent>,
    view: &mut View,
    looking: &Looking<'_>,
    is_complete: bool,
) -> anyhow::Error {
    let View { live, picture, console, in_force, background, links } = view;
    let progress = fetch.progress();
    let mut patience = Patience::new(looking.timeout).with_pause(chunk_time(in_force.limits.down));
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            _ = redraw.tick() => {
                let progress = progress.borrow().clone();
                note(&mut patience, &progress);
                let text = picture.fetching_drawn(&progress, patience.idle());
                // Where there is no terminal there is no picture either.
                live.report(progress.fraction(), text.lines().last().unwrap_or_default().to_owned());
                live.draw(&with_silence(text, patience.idle()));
                in_force.links = links.latest();
                looking.reporter.set_limits(*in_force);
                looking.reporter.progress(&progress);
                if is_complete {
                    continue;
                }
                if patience.is_over() {
                    return stalled(fetch, looking, patience.idle()).await;
                }
                if patience.is_explanation_due() {
                    explain(fetch, looking, patience.idle()).await;
                }
            }
            asked = console.next() => {
                obey(asked, fetch, in_force, looking.reporter).await;
                picture.set_limits(in_force.limits);
                patience.set_pause(chunk_time(in_force.limits.down));
            }
            Ok(event) = events.recv() => {
                looking.reporter.file_event(&event);
                print_event(&event);
                background.note(&event);
            }
        }
    }
}

/// Does what a line on standard input asks for.
async fn obey(asked: Asked, fetch: &Fetch, in_force: &mut InForce, reporter: &Reporter) {
    let asked = match asked {
        Asked::Change(change) => {
            change_limits(fetch.connection(), &change, in_force).await;
            if let Some(max_neighbors) = change.max_neighbors {
                fetch.set_max_neighbors(max_neighbors).await;
                in_force.max_neighbors = max_neighbors;
            }
            if let Some(is_metered) = change.is_metered {
                fetch.set_offers(!is_metered).await;
                in_force.is_metered = is_metered;
            }
            Asked::Limits
        }
        asked => asked,
    };
    reporter.answer(&asked, *in_force);
}

/// Notes what has come. While there is something else to do than to wait, nothing is missed.
fn note(patience: &mut Patience, progress: &Progress) {
    match progress.stage {
        Stage::Descriptor => {}
        Stage::Chunks => patience.note(1 + screen::fetched(progress)),
        _ => patience.renew(),
    }
}

/// The progress, and how long it has not changed.
fn with_silence(text: String, idle: Duration) -> String {
    match idle {
        idle if idle < SILENCE => text,
        idle => format!("{text}, nothing for {}", format::duration(idle)),
    }
}

async fn explain(fetch: &Fetch, looking: &Looking<'_>, idle: Duration) {
    let situation = situation(fetch, looking).await;
    looking.reporter.waiting(idle, &situation);
    screen::line(&format!("nothing has come for {}:", format::duration(idle)));
    situation.lines().iter().for_each(|line| screen::line(line));
    origin_line(fetch).iter().for_each(|line| screen::line(line));
    screen::line("  still looking; Ctrl-C ends it, and --timeout after a time of your choice");
}

async fn stalled(fetch: &Fetch, looking: &Looking<'_>, idle: Duration) -> anyhow::Error {
    let situation = situation(fetch, looking).await;
    looking.reporter.waiting(idle, &situation);
    let mut lines = vec![format!("gave up: nothing came for {}", format::duration(idle))];
    lines.extend(situation.lines());
    lines.extend(origin_line(fetch));
    TimedOut(lines.join("\n")).into()
}

/// Why nothing comes from the web server.
fn origin_line(fetch: &Fetch) -> Option<String> {
    let progress = fetch.progress();
    let progress = progress.borrow();
    if let Some(error) = &progress.origin_error {
        return Some(format!("  web server {}", format::printable(&error.to_string())));
    }
    // If it had sent what the link means, or members their list, there would be a descriptor.
    (progress.reads_origin && progress.stage == Stage::Descriptor)
        .then(|| format!("  web server {NO_HASHES}"))
}

pub(crate) async fn situation(fetch: &Fetch, looking: &Looking<'_>) -> Situation {
    let (search, has_met) = fetch.search().await;
    Situation { search, provider: looking.provider.map(|provider| (provider, has_met)) }
}

/// No server has answered in the time given by `--timeout`.
pub(crate) fn no_answer(
    servers: &str,
    timeout: Option<Duration>,
    meets_on_lan: bool,
) -> anyhow::Error {
    let time = format::duration(timeout.unwrap_or_default());
    let mut text = format!("gave up: no answer from the rendezvous server {servers} within {time}");
    if meets_on_lan {
        text = format!("{text}\n{LAN_ADVICE}");
    }
    TimedOut(text).into()
}

/// True if members of the link's group find each other without a server too.
pub(crate) fn meets_on_lan(link: &ShareLink) -> bool {
    link.groupspec.parse().is_ok_and(|spec: GroupSpec| spec.meets_on_lan())
}
