//! Files and environment variables of settings.

use super::table::{SECTIONS, SETTINGS};
use super::{LogFormat, ServerConfig, Settings, VARIABLES};
use std::collections::BTreeSet;
use tracing::Level;

fn read(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    settings.apply(text).map_err(|error| error.to_string())?;
    Ok(settings)
}

/// Every value, as in a file.
fn values(settings: &Settings) -> Vec<String> {
    SETTINGS.iter().map(|setting| (setting.write)(settings)).collect()
}

#[test]
fn the_sample_says_the_defaults() {
    let sample = Settings::default().to_toml();
    // Starts from other values, so that none is right because it was not read.
    let mut settings = read(OTHERS).unwrap();
    settings.apply(&sample).unwrap();
    assert_eq!(values(&settings), values(&Settings::default()));
    for line in sample.lines() {
        assert!(line.len() <= 88, "{line}");
    }
}

/// Another value for every setting.
const OTHERS: &str = r#"
listen = ["127.0.0.1:1936", 7]
workers = 7
public_address = "example.org"
identity = "/tmp/identity"
applications = ["chat", "/tv/"]
key_log = "/tmp/keys"
[auth]
secret_file = "/7"
[admin]
listen = 7
hosts = ["status.example"]
[hooks]
url = "http://7/"
events = ["call"]
timeout = "7s"
allow_on_failure = true
per_client = 7
pending = 7
[log]
level = "debug"
format = "json"
[clients]
keepalive = "off"
pings_per_second = 7
ping_after = "7s"
dead_after = "7s"
connect_within = "7s"
linger_refused = "7s"
[limits]
sessions = 7
sessions_per_address = 7
unused_sessions = 7
unused_sessions_per_address = 7
keyings_per_address = { burst = 7, per_second = 7 }
pending_keyings = 7
reply_factor = 2
flows_per_session = 7
groups_per_client = 0
members_per_group = 7
memory = "7 MiB"
memory_per_address = "7 MiB"
memory_per_session = "7 MiB"
message = 7
receive_buffer = 7
send_queue = 7
[introductions]
members = 0
from_host = { burst = 7, per_second = 7 }
from_address = { burst = 7, per_second = 7 }
to_client = { burst = 7, per_second = 7 }
from_host_to_client = { burst = 7, per_second = 7 }
beyond_factor = { burst = 7, per_second = 7 }
[streams]
enabled = false
per_client = 7
streams = 7
players = 7
cache = 7
cache_in_all = 7
queue = 7
[shared_objects]
enabled = false
folder = "/7"
objects = 7
per_client = 7
users = 7
slots = 7
bytes = 7
bytes_in_all = 7
queue = 7
[connectivity]
enabled = false
port = 7
other_addresses = ["192.0.2.7", "2001:db8::7"]
from_host = { burst = 7, per_second = 7 }
at_once = 7
[relay]
message = 7
from_client = { burst = 7, per_second = 7 }
to_client = { burst = 7, per_second = 7 }
queue = 7
[member]
groups = ["G:0103010c050e6368617400"]
seed = "/7"
descriptor = "number"
ingest = ["live/cam=7@G:0103010c050e6368617400"]
port = 7
up_limit = "7 MB/s"
[cluster]
nats = ["nats://ann:7@bus.example"]
name = "7"
servers = ["b.example", "c.example:7"]
enough = 7
"#;

#[test]
fn every_setting_has_its_own_field() {
    let (default, others) = (values(&Settings::default()), values(&read(OTHERS).unwrap()));
    for ((setting, default), other) in SETTINGS.iter().zip(default).zip(others) {
        assert_ne!(default, other, "{}: OTHERS has to have another value", setting.name);
    }
    let fields: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.field).collect();
    let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!((fields.len(), names.len()), (SETTINGS.len(), SETTINGS.len()));
    let sections: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.place().0).collect();
    let known: BTreeSet<_> = [""].into_iter().chain(SECTIONS.map(|(name, _)| name)).collect();
    assert_eq!(sections, known);
}

/// Fields that no file sets: properties of the protocol, and what belongs to programs.
const WITHOUT_SETTING: [&str; 32] = [
    "server.rendezvous.hooks",
    "server.hooks",
    "server.rendezvous.tokens",
    "server.identity",
    "server.rendezvous.own_addresses",
    // Made at each start.
    "server.rendezvous.own_token",
    "server.rendezvous.transport.negotiation",
    "server.rendezvous.transport.accept",
    "server.rendezvous.transport.introduce",
    "server.rendezvous.transport.max_datagram",
    "server.rendezvous.transport.max_probed_datagram",
    "server.rendezvous.transport.max_reassembly",
    "server.rendezvous.transport.max_startup_reassemblies",
    "server.rendezvous.transport.ecn",
    "server.rendezvous.transport.dscp",
    "server.rendezvous.transport.time_critical_dscp",
    "server.rendezvous.transport.passwords",
    "server.rendezvous.transport.open_timeout",
    "server.rendezvous.transport.controller",
    "server.rendezvous.transport.burst_packets",
    "server.rendezvous.transport.bitmap_acks",
    "server.rendezvous.transport.keep_secrets",
    "server.rendezvous.transport.answer_forwarded",
    "server.rendezvous.transport.forwarded_hellos_per_second",
    "server.rendezvous.transport.report_answers",
    // `Settings::server_config` fills them in.
    "server.rendezvous.streams",
    "server.rendezvous.shared_objects",
    "server.rendezvous.connectivity",
    // The server sets it where it has a folder for them.
    "server.rendezvous.takes_shared_objects",
    // The sockets of the server's own checks, which it opens itself.
    "server.rendezvous.probe_sockets",
    // The addresses of `public_address`.
    "server.cluster.addresses",
    // The file of `key_log` is opened by the command.
    "server.key_log",
];

/// The paths of all fields in the output of `{:#?}`.
fn fields(debug: &str) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in debug.lines() {
        let depth = line.len() - line.trim_start().len();
        let Some((name, _)) = line.trim_start().split_once(": ") else { continue };
        path.truncate(depth / 4 - 1);
        path.push(name);
        found.push(path.join("."));
    }
    found
}

#[test]
fn every_field_has_a_setting() {
    let fields = fields(&format!("{:#?}", Settings::default()));
    assert!(fields.len() > 60, "{fields:?}");
    let is_within = |field: &str, whole: &str| {
        field.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for field in &fields {
        let known = SETTINGS.iter().map(|setting| setting.field).chain(WITHOUT_SETTING);
        let is_whole_of = known.clone().any(|known| is_within(known, field));
        let has_setting = known.clone().any(|known| is_within(field, known));
        assert!(
            is_whole_of || has_setting,
            "{field} has no setting: add it to src/server/config/table.rs, or to the list here"
        );
    }
    for known in WITHOUT_SETTING {
        assert!(fields.iter().any(|field| field == known), "there is no field {known}");
    }
}

#[test]
fn mistakes_have_a_line_and_the_nearest_name() {
    for (text, expected) in [
        (
            "\n[limits]\nsesions = 7",
            "line 3: there is no setting limits.sesions; did you mean limits.sessions?",
        ),
        ("[relay]\nmemory = 7", "line 2: there is no setting relay.memory; did you mean "),
        ("lisen = 7", "line 1: there is no setting lisen; did you mean listen?"),
        (
            "[limit]\nsessions = 7",
            "line 1: there is no setting limit.sessions; did you mean limits.sessions?",
        ),
        (
            "groups_per_client = 7",
            "line 1: there is no setting groups_per_client; did you mean limits.groups_per_client?",
        ),
        ("workers = \"many\"", "line 1: workers must be \"auto\", or a whole number from 0 to 256"),
        ("listen.x = 7", "line 1: listen must be "),
        ("limits = 7", "line 1: there is no setting limits; did you mean "),
        ("[log]\n\nlevel = \"loud\"", "line 3: log.level must be one of \"error\", \"warn\", "),
        (
            "[limits]\nmemory = \"lots\"",
            "line 2: limits.memory must be a number of bytes such as \"64 KiB\"",
        ),
        ("[limits]\nmessage = \"2 MiB\"", "limits.memory_per_session must be more than twice"),
        ("[admin]\nlisten = \"here\"", "line 2: admin.listen must be a port of this host (8936)"),
        ("[admin]\nhosts = [\"a:80\"]", "line 2: admin.hosts must be names of hosts such as "),
        ("[limits\n", "line 1: "),
        ("listen = 1\nlisten = 2", "line 2: duplicate key"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn names_from_a_file_cannot_steer_a_terminal() {
    let error = read(&format!("\"\\u001b[2J{}\" = 7", "x".repeat(10_000))).unwrap_err();
    assert!(error.len() < 500 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn workers_for_all_processors() {
    let all = ServerConfig::workers_for_all_processors();
    for text in ["workers = 0", "workers = \"auto\""] {
        assert_eq!(read(text).unwrap().server.workers, all, "{text}");
    }
    assert_eq!(
        (Settings::default().server.workers, read("workers = 3").unwrap().server.workers),
        (1, 3)
    );
}

#[test]
fn variables_overrule_the_file() {
    let mut settings = read("[limits]\nsessions = 7\nmemory = \"7 MiB\"").unwrap();
    let variables = [
        ("RTMFP_LIMITS_MEMORY", "64 MiB"),
        ("RTMFP_LISTEN", "1936"),
        ("RTMFP_IDENTITY", "/var/lib/7"),
        ("RTMFP_PUBLIC_ADDRESS", "7"),
        ("RTMFP_LOG_FORMAT", "human"),
        ("RTMFP_LOG_LEVEL", "\"info\""),
        ("RTMFP_RELAY_TO_CLIENT", "{ burst = 1, per_second = 2 }"),
        ("RTMFP_SEEDS", "is none of them"),
        ("PATH", "/bin"),
    ];
    let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
    settings.apply_variables(variables).unwrap();
    let transport = &settings.server.rendezvous.transport;
    assert_eq!((transport.max_sessions, transport.max_memory), (7, 64 << 20));
    assert_eq!(settings.server.listen, ["0.0.0.0:1936", "[::]:1936"].map(|a| a.parse().unwrap()));
    assert_eq!(settings.server.identity_file, Some("/var/lib/7".into()));
    assert_eq!(settings.public_address.as_deref(), Some("7"));
    assert_eq!((settings.log.format, settings.log.level), (LogFormat::Human, Level::INFO));
    assert_eq!(settings.server.rendezvous.relay.to_client.per_second, 2);
    let wrong = [(format!("{VARIABLES}LIMITS_MEMORY"), "lots".to_owned())];
    let error = settings.apply_variables(wrong).unwrap_err().to_string();
    assert!(error.starts_with("the environment variable RTMFP_LIMITS_MEMORY must be"), "{error}");
}

#[test]
fn errors_do_not_show_groupspecs() {
    for text in [
        "groups = [\"G:0103010c050e63686174x\"]",
        "groups = { x = \"G:0103010c050e6368617400\" }",
        "ingest = [\"G:0103010c050e6368617400\"]",
        "ingest = [7, \"cam=G:0103010c050e6368617400\"]",
    ] {
        let error = read(&format!("[member]\n{text}")).unwrap_err();
        assert!(error.starts_with("line 2: member."), "{error}");
        assert!(!error.contains("6368"), "{error}");
    }
    let one = read("[member]\ngroups = \"G:0103010c050e6368617400\"").unwrap();
    assert!(one.member.groups.len() == 1 && !format!("{one:?}").contains("6368617400"));
}

#[test]
fn a_reload_changes_what_it_can() {
    let mut running = Settings::default();
    let new = read("listen = 7\n[limits]\nsessions = 7\n[log]\nlevel = \"info\"").unwrap();
    let reloaded = running.reload(&new);
    assert_eq!(reloaded.changed, ["log.level", "limits.sessions"]);
    assert_eq!(reloaded.needs_restart, ["listen"]);
    assert_eq!(running.server.rendezvous.transport.max_sessions, 7);
    assert_eq!(running.server_config().listen, ServerConfig::default_listen());
    // It is named again, as it still differs.
    let reloaded = running.reload(&new);
    assert_eq!((reloaded.changed.len(), reloaded.needs_restart.len()), (0, 1));
}

#[test]
fn mistaken_variables_are_recognized() {
    let names = ["RTMFP_LIMITS_SESIONS", "RTMFP_LISTN", "RTMFP_SEEDS", "RTMFP_LISTEN", "PATH"];
    let found = Settings::mistaken_variables(names.map(str::to_owned));
    let expected =
        [("RTMFP_LIMITS_SESIONS", "RTMFP_LIMITS_SESSIONS"), ("RTMFP_LISTN", "RTMFP_LISTEN")];
    assert_eq!(found, expected.map(|(name, meant)| (name.to_owned(), meant.to_owned())));
}

#[test]
fn services_can_be_left_out() {
    let config = read("[streams]\nenabled = false\n[shared_objects]\nslots = 7").unwrap();
    let rendezvous = config.server_config().rendezvous;
    assert_eq!(rendezvous.streams, None);
    assert_eq!(rendezvous.shared_objects.unwrap().slots, 7);
    let applications = read("applications = [\"chat\", \"/tv/\"]").unwrap();
    let expected = ["chat", "tv"].map(str::to_owned);
    assert_eq!(applications.server_config().rendezvous.applications, Some(expected.into()));
}
