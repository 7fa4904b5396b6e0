//! The source files as the other modules read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The module of `src/lib.rs` that only puts the modules without IO under one public name.
pub const PROTO: &str = "proto";

/// Top-level modules and their levels.
pub type Levels = BTreeMap<String, u32>;

/// The rows ``//! | level | [`module`] | what |``. A module without IO is listed as `proto::module`.
pub fn table(source: &str) -> Levels {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
        let level = cells.next()?.parse().ok()?;
        let path = cells.next()?.trim_matches(['[', ']', '`']);
        let top = path.rsplit("::").next()?;
        Some((top.to_owned(), level))
    };
    source.lines().filter_map(row).collect()
}

pub fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub fn rust_files(dir: &Path) -> Vec<PathBuf> {
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
pub fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(source_dir()).unwrap().with_extension("");
    let mut parts: Vec<String> =
        relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let is_root = parts == ["lib"] || parts == ["main"] || parts == [PROTO];
    if is_root || parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// A path from the root of the crate, as far as it goes.
pub struct Target<'a> {
    pub line: usize,
    pub path: Vec<&'a str>,
}

/// Every path in `module` that begins with `crate` or `super`. The name `proto`, under which the
/// modules without IO are public, is left out.
pub fn targets<'a>(tokens: &[Token<'a>], module: &'a [String]) -> Vec<Target<'a>> {
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
            "crate" if text(at + 1) != ")" => {
                found.push(Target { line: token.line, path: vec![""] });
            }
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
    let goes_on = tokens.get(at + 1).is_some_and(|t| t.text == "::");
    match token.text {
        "super" => {
            base.pop();
            if goes_on {
                follow(tokens, at + 2, base, found);
            }
        }
        "{" => {
            for element in group_elements(tokens, at) {
                follow(tokens, element, base.clone(), found);
            }
        }
        "self" if !base.is_empty() => found.push(Target { line: token.line, path: base }),
        PROTO if base.is_empty() && goes_on => follow(tokens, at + 2, base, found),
        segment => {
            base.push(segment);
            if goes_on {
                follow(tokens, at + 2, base, found);
            } else {
                found.push(Target { line: token.line, path: base });
            }
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

/// `tokens` without the items that only tests have.
pub fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(&token) = tokens.get(at) {
        match test_attribute(&tokens[at..]) {
            Some(len) => at = end_of_item(tokens, at + len),
            None => {
                kept.push(token);
                at += 1;
            }
        }
    }
    kept
}

/// The length of the `#[cfg(test)]`, or `#[cfg(all(test, …))]`, with which `tokens` begin.
fn test_attribute(tokens: &[Token<'_>]) -> Option<usize> {
    let texts = || tokens.iter().map(|t| t.text);
    if !texts().take(4).eq(["#", "[", "cfg", "("]) {
        return None;
    }
    let len = 1 + texts().position(|text| text == "]")?;
    let mut condition = texts().take(len);
    (condition.any(|text| text == "test") && !texts().take(len).any(|t| t == "not")).then_some(len)
}

/// Behind the item that begins at `at`: its semicolon, or the brace that closes its body.
fn end_of_item(tokens: &[Token<'_>], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            ";" if depth == 0 => break,
            _ => continue,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A word, `::`, or another single character of code; literals and comments are left out.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    pub line: usize,
    pub text: &'a str,
}

pub fn tokens(source: &str) -> Vec<Token<'_>> {
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
