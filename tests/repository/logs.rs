//! Logs and screens show no more of strangers' text than fits a line: every value that is logged is
//! of a kind that is short by itself, or goes through `Shown`.

use std::fs;
use std::path::{Path, PathBuf};

/// What may be logged as it is: numbers, addresses, hashes, names of ours, and errors, whose text
/// from elsewhere is shown by `Shown` where the error is made.
const SHORT: &[&str] = &[
    "family",
    "fingerprint",
    "grace",
    "source",
    "actual",
    "address",
    "addresses",
    "addresses_refused",
    "bound",
    "bytes",
    "taken",
    "changed",
    "clients",
    "closed",
    "connected",
    "effect",
    "error",
    "fault",
    "flow",
    "flows_rejected",
    "forwarded",
    "forwards_limited",
    "fragments_refused",
    "from",
    "group",
    "groups",
    "interface",
    "index",
    "introductions",
    "introductions_limited",
    "applications_refused",
    "tokens_refused",
    "rights_refused",
    "hook_refused",
    "hook_queries",
    "hook_queries_dropped",
    "hook_queries_failed",
    "joins_refused",
    "relays_limited",
    "connects_timed_out",
    "laggards_closed",
    "messages_too_long",
    "net_streams_refused",
    "streams_refused",
    "objects_refused",
    "object_changes_undone",
    "flows_refused",
    "answers_limited",
    "answers_dropped",
    "keyings_ignored",
    "unconfirmed_evicted",
    "limit",
    "local",
    "members",
    "most",
    "of",
    "peer",
    "players",
    "reason",
    "remote",
    "role",
    "server",
    "session",
    "setting",
    "sessions_evicted",
    "shared_objects",
    "commands_lost",
    "strays_dropped",
    "workers",
    "stream_messages_dropped",
    "streams",
    "streams_published",
    "times",
    "to",
    "unknown_peers",
    "why",
    "one_in",
];
/// Modules whose output is what a capture contains.
const DECODERS: &[&str] = &["src/trace", "src/cli/decode", "src/cli/wireshark.rs"];

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if DECODERS.iter().any(|decoder| path.starts_with(decoder)) {
            continue;
        }
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// The arguments of every call of a logging macro.
fn calls(source: &str) -> Vec<&str> {
    let mut calls = Vec::new();
    for level in ["trace!(", "debug!(", "info!(", "warn!(", "error!("] {
        for (at, _) in source.match_indices(level) {
            let before = source[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &source[at + level.len()..];
            let end = rest.find(");\n").or_else(|| rest.find("),\n")).unwrap_or(rest.len());
            calls.push(&rest[..end]);
        }
    }
    calls
}

/// The names of the fields of a call, and those that its message prints.
fn fields(call: &str) -> Vec<String> {
    let mut names = Vec::new();
    let message = call.find('"').unwrap_or(call.len());
    for field in call[..message].split(',').map(str::trim).filter(|f| !f.is_empty()) {
        let name = field.split('=').next().unwrap_or("").trim().trim_start_matches(['%', '?']);
        names.push(name.to_owned());
    }
    for part in call[message..].split('{').skip(1) {
        let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        names.push(name);
    }
    names
}

#[test]
fn what_strangers_say_is_cut_wherever_it_is_logged() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut seen = 0;
    let mut wrong = Vec::new();
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        for call in calls(&source) {
            seen += 1;
            for name in fields(call) {
                let shown = source.contains(&format!("{name} = Shown::new("))
                    || source.contains(&format!("{name} = {name}.as_deref().map(Shown::new)"));
                // Constants, and fields of this end's own.
                let ours = name.is_empty() || name.chars().all(|c| c.is_uppercase() || c == '_');
                if !(SHORT.contains(&name.as_str()) || shown || ours) {
                    wrong.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(seen > 30, "only {seen} calls were found");
    assert!(wrong.is_empty(), "neither short nor shown by Shown: {wrong:#?}");
}

/// Lines of the command that contain what others have sent go through `printable`.
#[test]
fn hostile_errors_are_one_line_of_bounded_length() {
    use rtmfp::amf;
    let mut bytes = vec![0x11, 0x0a, 0x07];
    let class = "\u{1b}[2J\n\u{202e}".repeat(1000);
    let header = (class.len() as u32) << 1 | 1;
    bytes.extend([(header >> 14) as u8 | 0x80, (header >> 7) as u8 | 0x80, header as u8 & 0x7f]);
    bytes.extend(class.as_bytes());
    let error = amf::from_bytes(bytes).unwrap_err().to_string();
    assert!(error.contains("externalizable"), "{error}");
    assert!(error.len() < 700 && !error.contains(char::is_control), "{error}");
}
