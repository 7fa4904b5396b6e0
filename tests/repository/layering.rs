//! Rooms import only from lower levels, and what lies below the sockets names no socket, clock,
//! random source or async runtime.
//!
//! The levels are those of the table at the top of `src/lib.rs`. Every `crate::` path under `src/`
//! counts, in whatever form: groups, re-exports, `super::` chains that leave their room, test
//! modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their levels.
type Levels = BTreeMap<String, u32>;

/// Rooms of the binary, which are not modules of the library.
const BINARY_ROOMS: [(&str, u32); 1] = [("cli", 9)];

/// Below this level everything is deterministic, and these rooms of that level too.
const FIRST_WITH_SOCKETS: u32 = 5;
const DETERMINISTIC: [&str; 3] = ["node", "sim", "trace"];

/// What deterministic rooms must not name.
const FORBIDDEN: [&[&str]; 9] = [
    &["tokio"],
    &["UdpSocket"],
    &["socket2"],
    &["quinn_udp"],
    &["getrandom"],
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["thread", "::", "sleep"],
    &["thread", "::", "spawn"],
];

#[test]
fn rooms_import_only_from_lower_levels() {
    let levels = levels();
    let mut paths = 0;
    let mut found = Vec::new();
    for file in rust_files(&source_dir()) {
        let source = fs::read_to_string(&file).unwrap();
        let report = check(&levels, &module_of(&file), &source);
        paths += report.paths;
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        found.extend(report.violations.into_iter().map(|v| format!("{name}:{v}")));
    }
    assert!(paths > 50, "only {paths} paths between rooms were found: is the reader blind?");
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_table_lists_every_room() {
    let source = fs::read_to_string(source_dir().join("lib.rs")).unwrap();
    let tokens = tokens(&source);
    let modules: BTreeSet<String> = tokens
        .windows(3)
        .filter(|t| t[0].text == "mod" && t[2].text == ";")
        .map(|t| t[1].text.to_owned())
        .collect();
    let listed: BTreeSet<String> = table(&source).into_keys().collect();
    assert!(modules.len() > 5, "{modules:?}");
    assert_eq!(modules, listed, "modules of src/lib.rs against the table above them");
}

fn levels() -> Levels {
    let mut levels = table(&fs::read_to_string(source_dir().join("lib.rs")).unwrap());
    levels.extend(BINARY_ROOMS.map(|(room, level)| (room.to_owned(), level)));
    levels
}

/// The rows ``//! | level | [`room`] | what |``.
fn table(source: &str) -> Levels {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
        let level = cells.next()?.parse().ok()?;
        let room = cells.next()?.trim_matches(['[', ']', '`']);
        Some((room.to_owned(), level))
    };
    source.lines().filter_map(row).collect()
}

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The module path of a source file: `src/wire/chunk/ack.rs` is `wire`, `chunk`, `ack`.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(source_dir()).unwrap().with_extension("");
    let mut parts: Vec<String> =
        relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let is_root = parts == ["lib"] || parts == ["main"];
    if is_root || parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// What [`check`] found in one file.
#[derive(Default)]
struct Report {
    /// Paths that lead into a room, the file's own included.
    paths: usize,
    /// `line: what is wrong`.
    violations: Vec<String>,
}

fn check(levels: &Levels, module: &[String], source: &str) -> Report {
    let mut report = Report::default();
    // The roots of library and binary only put the rooms together.
    let Some(room) = module.first() else { return report };
    let Some(&level) = levels.get(room) else {
        report.violations.push(format!("1: {room} is not in the table of src/lib.rs"));
        return report;
    };
    let tokens = tokens(source);
    for target in targets(&tokens, module) {
        report.paths += 1;
        let Target { line, room: other } = target;
        let problem = match levels.get(other) {
            _ if other == room => continue,
            Some(&lower) if lower < level => continue,
            Some(other_level) => {
                format!("{room} (level {level}) imports {other} (level {other_level})")
            }
            None => format!("{room} imports crate::{other}, which is not in a room"),
        };
        report.violations.push(format!("{line}: {problem}"));
    }
    if level < FIRST_WITH_SOCKETS || DETERMINISTIC.contains(&room.as_str()) {
        for names in FORBIDDEN {
            let hits = tokens
                .windows(names.len())
                .filter(|window| window.iter().map(|t| t.text).eq(names.iter().copied()));
            report.violations.extend(hits.map(|hit| {
                format!("{}: {room} is deterministic and names {}", hit[0].line, names.concat())
            }));
        }
    }
    report
}

/// A path that starts at the root of the crate, by its first segment.
struct Target<'a> {
    line: usize,
    room: &'a str,
}

/// Every path that leads out of `module` by way of `crate` or `super`.
fn targets<'a>(tokens: &[Token<'a>], module: &'a [String]) -> Vec<Target<'a>> {
    let mut found = Vec::new();
    // One entry per open brace: the name of the inline module that it opens, if it does.
    let mut braces: Vec<Option<&str>> = Vec::new();
    let text = |at: usize| tokens.get(at).map_or("", |t| t.text);
    for (at, token) in tokens.iter().enumerate() {
        let starts_path = at == 0 || text(at - 1) != "::";
        match token.text {
            "{" => braces.push((at > 1 && text(at - 2) == "mod").then(|| text(at - 1))),
            "}" => drop(braces.pop()),
            "crate" if text(at + 1) == "::" => follow(tokens, at + 2, Vec::new(), &mut found),
            // `pub(crate)` is no import; a renamed root would hide what is.
            "crate" if text(at + 1) != ")" => found.push(Target { line: token.line, room: "" }),
            "super" if starts_path && text(at + 1) == "::" => {
                let inline = braces.iter().flatten().copied();
                let base = module.iter().map(String::as_str).chain(inline).collect();
                follow(tokens, at, base, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Reads on in a path whose segments so far lead to the module `base`.
fn follow<'a>(
    tokens: &[Token<'a>],
    at: usize,
    mut base: Vec<&'a str>,
    found: &mut Vec<Target<'a>>,
) {
    let Some(token) = tokens.get(at) else { return };
    match token.text {
        "super" => {
            base.pop();
            if tokens.get(at + 1).is_some_and(|t| t.text == "::") {
                follow(tokens, at + 2, base, found);
            }
        }
        "{" => {
            for element in group_elements(tokens, at) {
                follow(tokens, element, base.clone(), found);
            }
        }
        segment => {
            let room = base.first().copied().unwrap_or(segment);
            found.push(Target { line: token.line, room });
        }
    }
}

/// Where the elements of the group begin whose brace stands at `open`.
fn group_elements(tokens: &[Token<'_>], open: usize) -> Vec<usize> {
    let mut elements = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let begins = at == open || (depth == 1 && token.text == ",");
        let ends = tokens.get(at + 1).is_none_or(|next| next.text == "}");
        if begins && !ends {
            elements.push(at + 1);
        }
    }
    elements
}

/// A word, `::`, or another single character of code; literals and comments are left out.
struct Token<'a> {
    line: usize,
    text: &'a str,
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let len = match literal_or_comment(rest) {
            Some(len) => len,
            None if first.is_whitespace() => first.len_utf8(),
            None => {
                let len = token(rest);
                tokens.push(Token { line, text: &rest[..len] });
                len
            }
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// The length of the token with which `text` begins.
fn token(text: &str) -> usize {
    match text.find(|c: char| !is_word(c)).unwrap_or(text.len()) {
        0 if text.starts_with("::") => 2,
        0 => text.chars().next().map_or(0, char::len_utf8),
        word => word,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the literal or comment with which `text` begins, if it begins with one.
fn literal_or_comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let after_prefix = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - after_prefix.len();
    let hashes = after_prefix.len() - after_prefix.trim_start_matches('#').len();
    if prefix <= 2 && after_prefix[hashes..].starts_with('"') {
        let raw = text[..prefix].contains('r');
        if raw || hashes == 0 {
            return Some(prefix + string(after_prefix, hashes, raw));
        }
    }
    let quoted = text.strip_prefix('b').unwrap_or(text);
    let char_len = char_literal(quoted)?;
    Some(text.len() - quoted.len() + char_len)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string that begins with `hashes` hash signs and a quote.
fn string(text: &str, hashes: usize, raw: bool) -> usize {
    let body = hashes + 1;
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return text[body..].find(&end).map_or(text.len(), |at| body + at + end.len());
    }
    let mut escaped = false;
    for (at, c) in text[body..].char_indices() {
        match c {
            '"' if !escaped => return body + at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// The length of a character literal; `None` for a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        let escape = 1 + body[1..].chars().next()?.len_utf8();
        return body[escape..].find('\'').map(|at| 1 + escape + at + 1);
    }
    body[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

mod of_the_checker {
    use super::*;

    fn found_in(module: &str, source: &str) -> Vec<String> {
        let table = [
            ("wire", 0),
            ("amf", 0),
            ("transport", 2),
            ("group", 4),
            ("rendezvous", 4),
            ("node", 5),
            ("driver", 5),
            ("peer", 6),
        ];
        let levels = table.map(|(room, level)| (room.to_owned(), level)).into();
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        check(&levels, &module, source).violations
    }

    fn assert_clean(module: &str, source: &str) {
        assert_eq!(found_in(module, source), [""; 0], "{source}");
    }

    #[track_caller]
    fn assert_found(module: &str, source: &str, expected: &[&str]) {
        assert_eq!(found_in(module, source), expected, "{source}");
    }

    #[test]
    fn lower_levels_and_the_own_room_are_fine() {
        assert_clean("group", "use crate::wire::vlu; use crate::{amf, transport::{Time, id}};");
        assert_clean(
            "group::engine",
            "pub(in crate::group) use crate::group::x; pub(crate) fn f() {}",
        );
        assert_clean("peer", "use crate::driver::Socket; let now = std::time::Instant::now();");
    }

    #[test]
    fn upward_and_sideways_imports_are_found() {
        assert_found(
            "wire",
            "\nuse crate::group::X;",
            &["2: wire (level 0) imports group (level 4)"],
        );
        assert_found("wire", "use crate::amf;", &["1: wire (level 0) imports amf (level 0)"]);
        assert_found(
            "group",
            "let x = crate::rendezvous::f();",
            &["1: group (level 4) imports rendezvous (level 4)"],
        );
        assert_found(
            "node",
            "pub use crate::driver;",
            &["1: node (level 5) imports driver (level 5)"],
        );
    }

    #[test]
    fn groups_are_read_to_the_end() {
        assert_found(
            "transport",
            "use crate::{\n    amf::{self, Value},\n    group::{message::{A, B}, C},\n    wire,\n    peer,\n};",
            &[
                "3: transport (level 2) imports group (level 4)",
                "5: transport (level 2) imports peer (level 6)",
            ],
        );
    }

    #[test]
    fn chains_of_super_are_followed() {
        assert_clean(
            "group::engine",
            "use super::X; use super::super::wire; mod t { use super::*; }",
        );
        assert_found(
            "group::engine",
            "use super::super::peer::X;",
            &["1: group (level 4) imports peer (level 6)"],
        );
        assert_clean("group::engine", "mod tests { mod deep { use super::super::peer; } }");
        assert_found(
            "group",
            "mod tests { fn f() {} use super::super::{wire, peer::X}; }",
            &["1: group (level 4) imports peer (level 6)"],
        );
        assert_found(
            "group::engine",
            "use super::{Group, super::peer};",
            &["1: group (level 4) imports peer (level 6)"],
        );
    }

    #[test]
    fn what_is_in_no_room_is_found() {
        assert_found(
            "wire",
            "use crate::*;",
            &["1: wire imports crate::*, which is not in a room"],
        );
        assert_found(
            "wire",
            "use crate as root;",
            &["1: wire imports crate::, which is not in a room"],
        );
        assert_found("attic", "", &["1: attic is not in the table of src/lib.rs"]);
    }

    #[test]
    fn comments_and_literals_are_no_imports() {
        assert_clean(
            "wire",
            r###"
            //! [`crate::peer`] and tokio
            /* crate::peer /* nested */ tokio */
            const A: &str = "crate::peer \" tokio";
            const B: &str = r#"crate::peer " tokio"#;
            const C: &[u8] = b"tokio";
            fn f<'a>(c: &'a str) { let _ = ('"', '\'', b'"', '\u{22}', c); }
            "###,
        );
        assert_found(
            "wire",
            "const Q: char = '\"'; use crate::peer; // \"",
            &["1: wire (level 0) imports peer (level 6)"],
        );
    }

    #[test]
    fn sockets_clocks_and_runtimes_are_found_below_their_level() {
        assert_found("wire", "use tokio::net;", &["1: wire is deterministic and names tokio"]);
        assert_found(
            "transport",
            "use std::net::{IpAddr, UdpSocket};",
            &["1: transport is deterministic and names UdpSocket"],
        );
        assert_found(
            "node",
            "let a = std::time::Instant::now();\nlet b = SystemTime::now();",
            &[
                "1: node is deterministic and names Instant::now",
                "2: node is deterministic and names SystemTime::now",
            ],
        );
        assert_clean("node", "use std::time::SystemTime; fn tokio_free(now: SystemTime) {}");
        assert_clean("driver", "use tokio::net::UdpSocket; let now = Instant::now();");
    }
}
