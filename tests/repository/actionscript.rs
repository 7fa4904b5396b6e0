//! `docs/actionscript.md` names only what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("../../docs/actionscript.md");

/// Adds the text of all files of a folder.
fn sources(directory: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => sources(&path, into),
            Some(extension) if extension == "rs" => {
                into.push(std::fs::read_to_string(&path).unwrap());
            }
            _ => {}
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The cells of each row: two columns, or four.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|cells| !["Flash", "---"].contains(&cells[0]))
        .inspect(|cells| assert!([2, 4].contains(&cells.len()), "{cells:?}"))
}

/// The bodies of `impl NAME`, `struct NAME`, `enum NAME`, by name. Names of modules stand for their files.
fn bodies(sources: &[String]) -> BTreeMap<&str, String> {
    let mut bodies: BTreeMap<&str, String> = BTreeMap::new();
    for source in sources {
        let mut name = None;
        for line in source.lines() {
            let words: Vec<&str> = line.split([' ', '<', '(', ';', '{']).collect();
            if line.starts_with(['p', 'i']) {
                name = match words[..] {
                    ["impl", .., "for", name, _] | ["impl", .., "for", name, _, _] => Some(name),
                    ["impl", name, ..] | ["pub", "struct" | "enum", name, ..] => Some(name),
                    _ => None,
                };
            }
            if let Some(name) = name {
                let body = bodies.entry(name).or_default();
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    bodies
}

#[test]
fn every_name_in_the_table_exists() {
    let mut texts = Vec::new();
    sources(&root().join("src"), &mut texts);
    let bodies = bodies(&texts);
    let module = std::fs::read_to_string(root().join("src/group/groupspec/mod.rs")).unwrap();
    let mut names = 0;
    for cells in rows() {
        let rust = cells[1];
        let words: Vec<_> = quoted(rust).collect();
        assert!(rust == "none" || !words.is_empty(), "{cells:?}");
        for word in words {
            let (owner, name) = word.split_once("::").unwrap_or_else(|| panic!("{word}"));
            let body = match owner {
                "groupspec" => &module,
                owner => bodies.get(owner).unwrap_or_else(|| panic!("no {owner}")),
            };
            let forms = [
                format!("fn {name}("),
                format!("pub {name}:"),
                format!("    {name},"),
                format!("    {name}("),
                format!("    {name} {{"),
                format!("pub const {name}:"),
            ];
            assert!(forms.iter().any(|form| body.contains(form)), "no {word}: {cells:?}");
            names += 1;
        }
    }
    assert!(names > 120, "{names} names");
}

/// Every event of a group is in the table, with its code.
#[test]
fn every_code_of_an_event_is_in_the_table() {
    let flash: BTreeSet<&str> = rows().flat_map(|cells| quoted(cells[0])).collect();
    let event = std::fs::read_to_string(root().join("src/group/event.rs")).unwrap();
    let (_, codes) = event.split_once("fn code(").unwrap();
    let codes = codes.split('"').filter(|text| text.starts_with("Net"));
    let missing: Vec<_> = codes.filter(|code| !flash.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Commands of `join` and options are those of the program.
#[test]
fn every_command_in_the_table_exists() {
    let commands = std::fs::read_to_string(root().join("src/cli/join/commands.rs")).unwrap();
    let mut options = Vec::new();
    sources(&root().join("src/cli"), &mut options);
    let mut found = 0;
    for cells in rows().filter(|cells| cells.len() == 4) {
        for word in quoted(cells[2]).flat_map(|word| word.split(' ')) {
            if let Some(command) = word.strip_prefix('/') {
                assert!(commands.contains(&format!("name: \"{command}\"")), "no {word}: {cells:?}");
                found += 1;
            } else if let Some(option) = word.strip_prefix("--") {
                let field = format!("    {}: ", option.replace('-', "_"));
                let long = format!("long = \"{option}\"");
                let is_there = |text: &String| text.contains(&field) || text.contains(&long);
                assert!(options.iter().any(is_there), "no {word}: {cells:?}");
                found += 1;
            }
        }
    }
    assert!(found > 30, "{found} commands and options");
}
