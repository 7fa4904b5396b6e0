//! `rtmfp join`: a member of a group, as a command.
//!
//! | file | what |
//! | --- | --- |
//! | `commands` | what is typed: posts and commands |
//! | `obey` | what commands do |
//! | `objects` | what the member has and wants, in files and in memory |
//! | `output` | the lines on standard output, for people and as JSON |
//! | `waiting` | why nothing comes, and when to give up |

mod commands;
mod obey;
mod objects;
mod output;
mod waiting;

use super::console::{Asked, Console, Form, change_limits};
use super::in_force::InForce;
use super::limits::{self, HEADING};
use super::link_memory::LinkMemory;
use super::member::{MemberArgs, no_connection};
use super::outcome::WrongUsage;
use super::patience::after;
use super::screen::{self, Live, REDRAW};
use super::signals::Signals;
use super::{STOP_GRACE, format, remembered};
use anyhow::{Context, bail, ensure};
use objects::{Objects, parse_ranges};
use output::{MemberEvent, Out, described, shown};
use rtmfp::amf::Value;
use rtmfp::peer::{
    Connection, ConnectionEvent, ConnectionState, GroupConfig, GroupEvent, NetGroup, NetGroupError,
    RecvError, ReplicationLimits,
};
use rtmfp::proto::range::IndexSet;
use rtmfp::vod::METERED_NEIGHBORS;
use rtmfp::{Fingerprint, GroupSpec};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use waiting::Waiting;

/// How often objects that came but could not be read are asked for again.
const AGAIN: Duration = Duration::from_secs(2);

/// Join a group: see who is there, talk to them, fetch objects, offer objects.
///
/// The group may be that of a Flash application: GROUPSPEC is what its
/// GroupSpecifier.groupspecWithAuthorizations() gives, and --via the server that it connects to.
/// Standard output has a line for each event, with Flash's info.code for it. Nothing verifies what
/// members send: objects are saved as they come.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp join G:0103010c050e6368617400 --via rtmfp://rendezvous.example/chat
  rtmfp join GROUPSPEC --via rtmfp://192.0.2.7/app --have objects/
  rtmfp join GROUPSPEC --via rtmfp://192.0.2.7/app --want 0-99,200 --save objects/ --exit-when-done
  rtmfp join \"$(rtmfp groupspec new office --posting --lan)\" --lan
  rtmfp join GROUPSPEC --via rtmfp://192.0.2.7/app --for 10m --json | jq .code

While it runs in the foreground of a terminal, a line that is typed is posted to all members, and
a line with a slash is a command: `/post {\"user\":\"me\",\"text\":\"hi\"}` posts an object, `/all hi`
sends to the neighbours, `/want 0-9` fetches objects, `/peers` and `/stats` show what there is, and
`/quit` leaves; `/help` lists them all. With --json, commands are objects on standard input, one a
line: {\"command\":\"post\",\"value\":\"hi\"}.")]
pub(crate) struct JoinArgs {
    /// The group, by its groupspec, which begins with G:
    #[arg(value_name = "GROUPSPEC")]
    spec: GroupSpec,

    #[command(flatten)]
    member: MemberArgs,

    /// End after this time, connecting included: 30s, 15m, 2h [default: stay until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = format::parse_duration)]
    stay: Option<Duration>,

    /// Give up, with exit status 3, when there was no neighbor, or no wanted object came, for so
    /// long: 30s, 15m, 2h [default: wait]
    ///
    /// The known reasons are printed.
    #[arg(long, value_name = "DURATION", value_parser = format::parse_timeout)]
    timeout: Option<Duration>,

    /// Offer the files 0.bin, 1.bin, … of this directory as objects, each as a ByteArray
    #[arg(long, value_name = "DIR")]
    have: Option<PathBuf>,

    /// Fetch these objects and offer them in turn, for example 0-99,200
    #[arg(long, value_name = "RANGES", value_parser = parse_ranges)]
    want: Option<IndexSet>,

    /// Save each fetched object in this directory: a ByteArray as N.bin, other values as N.json
    ///
    /// A file of such a name with other content is never replaced: the member ends with an error. If
    /// --have names the same directory, what is there is not fetched again.
    #[arg(long, value_name = "DIR", requires = "want")]
    save: Option<PathBuf>,

    /// End when all wanted objects are fetched; the exit status is 1 if it ends before
    #[arg(long, requires = "want")]
    exit_when_done: bool,

    /// Print a JSON object for each event, one a line; docs/joining.md describes them
    #[arg(long)]
    json: bool,

    /// For a link on which every byte costs: offer nothing, not even what --want has fetched
    ///
    /// At most 8 members are connected to (--max-neighbours sets another number), and the server is
    /// pinged every 20 s instead of every 5 s. --exit-when-done ends it when everything is fetched.
    #[arg(long, conflicts_with = "have", help_heading = HEADING, display_order = 4)]
    metered: bool,
}

pub(crate) async fn run(args: JoinArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let mut end = pin!(after(args.stay));
    args.member.check(&args.spec)?;
    check(&args).map_err(|error| WrongUsage(error.to_string()))?;
    let objects = Objects::open(args.want, args.have.as_deref(), args.save)?;
    if let Some(directory) = &args.have {
        let had = format::count(objects.had().len(), "object");
        screen::line(&format!("offering {had} from {}", directory.display()));
    }
    let mut config = args.member.config()?;
    if args.metered {
        config = config.for_metered_link();
    }
    let in_force = InForce::new(args.member.up, args.member.down, args.metered);
    let out = Out::new(args.json);
    if !objects.missing().is_empty() {
        screen::line("objects are taken as members send them: nothing verifies them");
    }
    let connection = tokio::select! {
        connection = args.member.connect(config, args.timeout, &mut signals) => connection?,
        () = &mut end => {
            let why = "no answer in the time given by --for";
            return Err(no_connection(&args.member.via(), why));
        }
    };
    let outcome = async {
        let max_neighbors = args.member.up.max_neighbors();
        let group = join(&connection, args.spec, max_neighbors, args.metered).await?;
        args.member.add_neighbors(&group).await?;
        let links = LinkMemory::begin(&connection).await;
        let offers = !args.metered;
        let exit_when_done = args.exit_when_done;
        let waiting = Waiting::new(args.timeout);
        let mut member = Member {
            group,
            objects,
            out,
            exit_when_done,
            offers,
            in_force,
            links,
            waiting,
            again: Vec::new(),
            has_quit: false,
        };
        member.begin().await?;
        tokio::select! {
            outcome = member.follow() => outcome?,
            () = &mut end => {}
            () = signals.recv() => {}
        }
        member.verdict()
    }
    .await;
    // The process ends; who does not confirm notices that this member is gone.
    let close = async { connection.close(STOP_GRACE).await.unwrap_or_default() };
    signals.or_at_once(close).await;
    let left = out.emit(Some("NetGroup.Connect.Closed"), &MemberEvent::Left);
    outcome.and(left)
}

/// Refuses objects in a group without object replication.
fn check(args: &JoinArgs) -> anyhow::Result<()> {
    let spec = &args.spec;
    let option = if args.want.is_some() { "--want" } else { "--have" };
    ensure!(
        spec.object_replication_enabled() || (args.want.is_none() && args.have.is_none()),
        "{option} does not work in this group: its groupspec does not enable object replication \
         (objectReplicationEnabled; rtmfp groupspec new … --replication)"
    );
    Ok(())
}

async fn join(
    connection: &Connection,
    spec: GroupSpec,
    max_neighbors: Option<usize>,
    is_metered: bool,
) -> Result<NetGroup, NetGroupError> {
    let mut config = GroupConfig::new(spec, connection.peer_id());
    if is_metered {
        config.max_neighbors = METERED_NEIGHBORS;
        config.replication.max_unchoked = 0;
    }
    config.max_neighbors = max_neighbors.unwrap_or(config.max_neighbors);
    connection.join_with(config).await
}

/// The file for what is typed, unless there is no place for it.
fn history() -> Option<PathBuf> {
    let file = remembered::history();
    file.inspect_err(|error| {
        screen::line(&format!("what is typed is forgotten at the end: {error:#}"));
    })
    .ok()
}

/// A member of a group with its objects.
struct Member {
    group: NetGroup,
    objects: Objects,
    out: Out,
    exit_when_done: bool,
    /// Offers what it has fetched.
    offers: bool,
    in_force: InForce,
    links: LinkMemory,
    waiting: Waiting,
    /// Objects that could not be read.
    again: Vec<u64>,
    /// `/quit` was typed.
    has_quit: bool,
}

impl Member {
    /// Reports the joined group, and announces its Have and Want sets to the group.
    async fn begin(&mut self) -> anyhow::Result<()> {
        // The first event is that the connection is up.
        let event = self.group.connection().events().recv().await;
        if event != Err(RecvError::Closed) {
            self.on_connection_event(event)?;
        }
        let joined = MemberEvent::Joined {
            name: self.group.spec().name(),
            group_id: self.group.id().to_string(),
            peer_id: self.group.connection().peer_id().to_string(),
            address: self.group.address().to_string(),
        };
        self.out.emit(Some("NetGroup.Connect.Success"), &joined)?;
        for range in self.objects.had().ranges() {
            self.group.add_have_objects(*range.start(), *range.end()).await?;
        }
        for range in self.objects.missing().ranges() {
            self.group.add_want_objects(*range.start(), *range.end()).await?;
        }
        if self.objects.is_complete() {
            self.out.emit(None, &MemberEvent::Complete { objects: self.objects.wanted() })?;
        }
        Ok(())
    }

    /// Reports events until the member may leave.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let (mut events, mut live) = (self.group.events(), Live::new());
        let mut connection_events = self.group.connection().events();
        let mut closed = false;
        let mut redraw = tokio::time::interval(REDRAW);
        let mut again = tokio::time::interval(AGAIN);
        let is_talking = self.is_talking();
        let mut console = match is_talking && self.out.form() == Form::Slash {
            true => Console::edit(self.out.form(), history()),
            false => Console::open(self.out.form(), true),
        };
        if is_talking {
            screen::line(match self.group.spec().posting_enabled() {
                true => "a line that is typed is posted to all members; /help lists commands",
                false => "/help lists commands",
            });
        }
        while !(self.has_quit || self.exit_when_done && self.objects.is_complete()) {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.on_event(event).await?,
                    Err(RecvError::Lagged(missed)) => {
                        self.out.emit(None, &MemberEvent::Lagged { missed })?;
                    }
                    Err(RecvError::Closed) => bail!("the group was closed"),
                },
                event = connection_events.recv(), if !closed => {
                    closed = event == Err(RecvError::Closed);
                    if !closed {
                        self.on_connection_event(event)?;
                    }
                }
                _ = redraw.tick() => {
                    let text = self.status().await?;
                    if !is_talking {
                        live.draw(&text);
                    }
                    live.report(0.0, text);
                    if self.waiting.is_news_due() {
                        self.waiting.explain(self.group.search().await?, self.out)?;
                    }
                }
                line = console.line() => self.on_line(&line).await?,
                _ = again.tick() => for index in std::mem::take(&mut self.again) {
                    self.group.add_want_objects(index, index).await?;
                },
            }
        }
        Ok(())
    }

    /// True if a person types messages. A status line would be drawn over what is being typed.
    fn is_talking(&self) -> bool {
        let spec = self.group.spec();
        let can_talk = spec.posting_enabled() || spec.routing_enabled();
        can_talk && std::io::stdin().is_terminal() && screen::is_terminal()
    }

    /// Does what a line on standard input asks for.
    async fn on_line(&mut self, line: &str) -> anyhow::Result<()> {
        let form = self.out.form();
        let command = match form {
            Form::Json => commands::parse_json(line),
            Form::Words | Form::Slash => commands::parse(line),
        };
        match command {
            Some(Ok(command)) => self.obey(command).await,
            Some(Err(reason)) => self.out.answer(&Asked::Wrong(reason), &self.in_force),
            None => self.change(form.understand(line)).await,
        }
    }

    /// Changes or shows limits.
    async fn change(&mut self, asked: Asked) -> anyhow::Result<()> {
        self.in_force.links = self.links.latest();
        let asked = match asked {
            Asked::Change(change) => {
                change_limits(self.group.connection(), &change, &mut self.in_force).await;
                if let Some(max_neighbors) = change.max_neighbors {
                    self.group.set_max_neighbors(max_neighbors).await?;
                    self.in_force.max_neighbors = max_neighbors;
                }
                if let Some(is_metered) = change.is_metered {
                    self.set_metered(is_metered).await?;
                }
                Asked::Limits
            }
            asked => asked,
        };
        self.out.answer(&asked, &self.in_force)
    }

    /// Offers nothing from now on, or everything again.
    async fn set_metered(&mut self, is_metered: bool) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.in_force.is_metered, is_metered) == is_metered {
            return Ok(());
        }
        self.offers = !is_metered;
        let usual = ReplicationLimits::default().max_unchoked;
        self.group.set_max_served(if is_metered { 0 } else { usual }).await?;
        for range in self.objects.had().ranges() {
            let (start, end) = (*range.start(), *range.end());
            match is_metered {
                true => self.group.remove_have_objects(start, end).await?,
                false => self.group.add_have_objects(start, end).await?,
            }
        }
        Ok(())
    }

    async fn on_event(&mut self, event: GroupEvent) -> anyhow::Result<()> {
        let code = Some(event.code());
        let emitted = match event {
            GroupEvent::ConnectRejected => return self.on_unserved(&event),
            GroupEvent::ReplicationFetchResult { index, object, peer_id } => {
                match object.decode() {
                    Ok(object) => return self.on_fetched(code, index, object, peer_id).await,
                    Err(error) => {
                        self.again.push(index);
                        let (peer_id, reason) = (peer_id.to_string(), error.to_string());
                        MemberEvent::Unreadable { index, peer_id, reason }
                    }
                }
            }
            GroupEvent::ReplicationRequest { index, request_id } => {
                match self.answer(index, request_id).await? {
                    Some(emitted) => emitted,
                    None => return Ok(()),
                }
            }
            GroupEvent::PostingNotify { message, message_id } => {
                let (value, text) = shown(&message);
                MemberEvent::Posting { message_id: message_id.to_string(), value, text }
            }
            GroupEvent::SendToNotify { message, from, from_local } => {
                let (value, text) = shown(&message);
                MemberEvent::DirectedMessage { value, from: from.to_string(), from_local, text }
            }
            event => return self.out.group_event(&event),
        };
        self.out.emit(code, &emitted)
    }

    /// Keeps an object and offers it.
    async fn on_fetched(
        &mut self,
        code: Option<&'static str>,
        index: u64,
        object: Value,
        peer_id: Fingerprint,
    ) -> anyhow::Result<()> {
        let shown = described(&object);
        let kept = self.objects.keep(index, object).await?;
        if kept.is_had && self.offers {
            self.group.add_have_objects(index, index).await?;
        }
        let (kind, bytes, file) = (kept.kind, kept.bytes, kept.file);
        let file = file.map(|path| path.display().to_string());
        let (value, text) = if file.is_none() { shown } else { (None, None) };
        let peer_id = peer_id.to_string();
        let fetched = MemberEvent::Fetched { index, kind, bytes, peer_id, file, value, text };
        self.out.emit(code, &fetched)?;
        if !kept.was_missing || !self.objects.is_complete() {
            return Ok(());
        }
        self.out.emit(None, &MemberEvent::Complete { objects: self.objects.wanted() })
    }

    /// The server keeps no groups: without bootstrap peers and neighbors there is no way to others.
    fn on_unserved(&mut self, event: &GroupEvent) -> anyhow::Result<()> {
        self.out.group_event(event)?;
        let others = !self.group.spec().bootstrap_peers().is_empty();
        ensure!(
            others || self.group.neighbor_count() > 0,
            "this server keeps no groups: members cannot find each other through it (another server, \
             or bootstrap peers in the groupspec, could help)"
        );
        Ok(())
    }

    /// Answers a request, unless whoever asked is gone.
    async fn answer(&mut self, index: u64, request_id: u32) -> anyhow::Result<Option<MemberEvent>> {
        let outcome = match self.objects.object(index).await {
            Ok(object) => {
                let written = self.group.write_requested_object(request_id, &object).await;
                written.map_err(anyhow::Error::from)
            }
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(is_sent) => return Ok(is_sent.then_some(MemberEvent::Sent { index })),
            Err(error) => error,
        };
        screen::line(&format!("object {index} is no longer offered: {error:#}"));
        self.objects.forget(index);
        self.group.remove_have_objects(index, index).await?;
        let is_denied = self.group.deny_requested_object(request_id).await?;
        Ok(is_denied.then_some(MemberEvent::Denied { index }))
    }

    fn on_connection_event(&self, event: Result<ConnectionEvent, RecvError>) -> anyhow::Result<()> {
        match event {
            Ok(event) => self.out.connection_event(&event),
            Err(RecvError::Lagged(missed)) => self.out.emit(None, &MemberEvent::Lagged { missed }),
            Err(RecvError::Closed) => Ok(()),
        }
    }

    /// `3 neighbors, about 5 members, received 1.2 MB, sent 3.4 MB, 12 of 100 objects fetched`.
    async fn status(&mut self) -> anyhow::Result<String> {
        let stats = self.group.stats().await?;
        let (missing, wanted) = (self.objects.missing().len(), self.objects.wanted());
        self.waiting.note(missing > 0, wanted - missing, stats.neighbors);
        let members = self.group.estimated_member_count().await?;
        let mut text = format!(
            "{}, about {}, received {}, sent {}",
            format::neighbors(stats.neighbors),
            format::count(members.round() as u64, "member"),
            format::bytes(stats.replication.bytes_received),
            format::bytes(stats.replication.bytes_sent),
        );
        if wanted > 0 {
            text += &format!(", {} of {wanted} objects fetched", wanted - missing);
        }
        text += &limits::sentence(self.in_force.limits);
        if let ConnectionState::Connecting | ConnectionState::Closed =
            self.group.connection().state()
        {
            text += ", no connection to the server";
        }
        Ok(text)
    }

    /// True if the request was fulfilled.
    fn verdict(&self) -> anyhow::Result<()> {
        let (missing, wanted) = (self.objects.missing().len(), self.objects.wanted());
        ensure!(
            !self.exit_when_done || missing == 0,
            "ended before everything was fetched: {missing} of {wanted} objects are missing"
        );
        Ok(())
    }
}
