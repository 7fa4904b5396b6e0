//! `rtmfp groupspec`: make and explain groupspecs.

use super::format::printable;
use super::outcome::WrongUsage;
use super::screen;
use anyhow::Context;
use clap::{Args, Subcommand};
use rtmfp::Fingerprint;
use rtmfp::driver::os_random;
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder, GroupSpecError, IpMulticastAddress};

/// Make a groupspec, or explain one.
///
/// A groupspec is the string that Flash Player's GroupSpecifier makes. Whoever has it is a member
/// of the group: it is the group's secret.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  rtmfp groupspec new chat --posting --server-channel")]
pub(crate) enum GroupspecVerb {
    New(NewArgs),
    Show(ShowArgs),
}

/// Make a groupspec and print it.
///
/// The same settings give the same group as in Flash Player.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rtmfp groupspec new chat --posting --server-channel
  rtmfp groupspec new office --posting --lan
  rtmfp groupspec new live --multicast --server-channel --publish-password secret
  rtmfp groupspec new chat --posting-password secret --salt")]
pub(crate) struct NewArgs {
    /// Name of the group
    name: String,

    /// Allow messages to all members (postingEnabled)
    #[arg(long)]
    posting: bool,

    /// Allow streams (multicastEnabled)
    #[arg(long)]
    multicast: bool,

    /// Allow messages to single members (routingEnabled)
    #[arg(long)]
    routing: bool,

    /// Allow objects to be replicated (objectReplicationEnabled)
    #[arg(long)]
    replication: bool,

    /// Let members find each other through the server (serverChannelEnabled)
    #[arg(long)]
    server_channel: bool,

    /// Forbid connections among members (peerToPeerDisabled)
    #[arg(long)]
    no_peer_to_peer: bool,

    /// Let members on one network find each other without a server: --member-updates, and an IP
    /// multicast address if --ip-multicast gives none
    #[arg(long, conflicts_with = "no_peer_to_peer")]
    lan: bool,

    /// Let members announce themselves by IP multicast (ipMulticastMemberUpdatesEnabled)
    #[arg(long)]
    member_updates: bool,

    /// IP multicast address to listen on, ADDR:PORT; may be given several times
    #[arg(long, value_name = "ADDR")]
    ip_multicast: Vec<IpMulticastAddress>,

    /// A peer to connect to at once after joining (addBootstrapPeer), by its peer ID; may be given
    /// several times
    #[arg(long, value_name = "PEER_ID")]
    bootstrap_peer: Vec<Fingerprint>,

    /// Ask this password of those who publish streams (setPublishPassword)
    #[arg(long, value_name = "PASSWORD", group = "passwords")]
    publish_password: Option<String>,

    /// Ask this password of those who post (setPostingPassword)
    #[arg(long, value_name = "PASSWORD", group = "passwords")]
    posting_password: Option<String>,

    /// Salt the passwords, with this text or, without one, with a random one
    ///
    /// Who knows the groupspec finds a weak password more slowly then. Without this option the group
    /// is that of an application which calls setPostingPassword("…") with the password alone.
    #[arg(long, value_name = "TEXT", num_args = 0..=1, require_equals = true)]
    #[arg(requires = "passwords")]
    salt: Option<Option<String>>,

    /// Make the group distinct from every other of the same name (makeUnique)
    #[arg(long)]
    unique: bool,

    /// Version of the groupspec; Flash Player 10.3 knows only 1
    #[arg(long, value_name = "1|2", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=rtmfp::proto::group::groupspec::MAX_VERSION))]
    version: u64,
}

/// Explain a groupspec: which group it names, and what its members may do.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rtmfp groupspec show G:0103010c050e6368617400")]
pub(crate) struct ShowArgs {
    /// The groupspec, beginning with G:
    spec: GroupSpec,
}

pub(crate) fn run(verb: &GroupspecVerb) -> anyhow::Result<()> {
    let text = match verb {
        GroupspecVerb::New(args) => {
            let spec = new(args).map_err(|error| WrongUsage(error.to_string()))?;
            screen::result(spec.as_str()).context("cannot write to standard output")?;
            advise(&spec);
            return Ok(());
        }
        GroupspecVerb::Show(args) => explanation(&args.spec),
    };
    screen::result(&text).context("cannot write to standard output")
}

/// Tells whoever has forgotten an option what the group cannot do.
fn advise(spec: &GroupSpec) {
    let finds = spec.server_channel_enabled()
        || spec.meets_on_lan()
        || !spec.bootstrap_peers().is_empty()
        || spec.peer_to_peer_disabled();
    if !finds {
        screen::line(
            "note: members of this group find each other only by their peer IDs; --server-channel lets \
             them meet at a server, and --lan on one network",
        );
    }
    let has_use = spec.posting_enabled()
        || spec.multicast_enabled()
        || spec.routing_enabled()
        || spec.object_replication_enabled();
    if !has_use {
        screen::line(
            "note: members of this group cannot exchange anything; --posting, --routing, \
             --multicast and --replication allow it",
        );
    }
}

fn new(args: &NewArgs) -> Result<GroupSpec, GroupSpecError> {
    let mut builder = GroupSpecBuilder::new(&args.name)?
        .version(args.version)
        .posting(args.posting || args.posting_password.is_some())
        .multicast(args.multicast || args.publish_password.is_some())
        .routing(args.routing)
        .object_replication(args.replication)
        .server_channel(args.server_channel)
        .peer_to_peer_disabled(args.no_peer_to_peer)
        .ip_multicast_member_updates(args.member_updates || args.lan);
    let salt = match &args.salt {
        None => String::new(),
        Some(None) => random_salt(),
        Some(Some(text)) => text.clone(),
    };
    if let Some(password) = &args.publish_password {
        builder = builder.publish_password(password, &salt);
    }
    if let Some(password) = &args.posting_password {
        builder = builder.posting_password(password, &salt);
    }
    if args.unique {
        let mut tag = [0; 32];
        os_random().fill_bytes(&mut tag);
        builder = builder.make_unique(tag);
    }
    for &address in &args.ip_multicast {
        builder = builder.ip_multicast_address(address);
    }
    for &peer in &args.bootstrap_peer {
        builder = builder.bootstrap_peer(peer);
    }
    if args.lan && args.ip_multicast.is_empty() {
        builder = builder.ip_multicast_address(IpMulticastAddress::LAN);
    }
    builder.build()
}

fn random_salt() -> String {
    format!("{:016x}", os_random().next_u64())
}

fn explanation(spec: &GroupSpec) -> String {
    let allowed = [
        ("posting", spec.posting_enabled()),
        ("multicast streams", spec.multicast_enabled()),
        ("directed routing", spec.routing_enabled()),
        ("object replication", spec.object_replication_enabled()),
        ("server channel", spec.server_channel_enabled()),
        ("connections among members", !spec.peer_to_peer_disabled()),
        ("member updates by IP multicast", spec.ip_multicast_member_updates_enabled()),
    ];
    let names = |wanted: bool| {
        let found = allowed.iter().filter(|(_, is_allowed)| *is_allowed == wanted);
        let names: Vec<&str> = found.map(|(name, _)| *name).collect();
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    };
    let mut lines = vec![
        format!("name           {}", printable(&spec.name())),
        format!("group ID       {}", spec.group_id()),
        format!("version        {}", spec.version()),
        format!("enabled        {}", names(true)),
        format!("not enabled    {}", names(false)),
        format!("may post       {}", yes_no(spec.posting_enabled(), spec.may_post())),
        format!("may publish    {}", yes_no(spec.multicast_enabled(), spec.may_publish())),
    ];
    for address in spec.ip_multicast_addresses() {
        lines.push(format!("IP multicast   {address}"));
    }
    for peer in spec.bootstrap_peers() {
        lines.push(format!("bootstrap peer {peer}"));
    }
    lines.push(format!("canonical text {}   (the group's secret)", spec.canonical_text()));
    if spec.without_authorizations() != spec.as_str() {
        lines.push(format!("for guests     {}", spec.without_authorizations()));
    }
    lines.join("\n")
}

fn yes_no(is_enabled: bool, is_authorized: bool) -> &'static str {
    match (is_enabled, is_authorized) {
        (false, _) => "no: nobody may in this group",
        (true, true) => "yes",
        (true, false) => "no: that needs a password",
    }
}
