//! The tables of rules in `protocol-notes/` name only what exists.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A file that a cell names: below the root or below `src`.
fn file(name: &str) -> Option<PathBuf> {
    let looks_like_one = Path::new(name).extension().is_some() || name.ends_with('/');
    if !looks_like_one || name.contains("::") {
        return None;
    }
    let below = if name.starts_with("tests/") || name.starts_with("src/") {
        root()
    } else {
        root().join("src")
    };
    Some(below.join(name))
}

struct Sources(HashMap<PathBuf, String>);

impl Sources {
    fn text(&mut self, path: &Path) -> &str {
        self.0.entry(path.to_owned()).or_insert_with(|| {
            std::fs::read_to_string(path).unwrap_or_else(|_| panic!("no file {}", path.display()))
        })
    }
}

#[test]
fn every_file_function_and_test_in_the_table_exists() {
    let table = std::fs::read_to_string(root().join("protocol-notes/conformance.md")).unwrap();
    let mut sources = Sources(HashMap::new());
    let (mut rows, mut tests) = (0, 0);
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        if cells[3] == "test" {
            continue;
        }
        rows += 1;
        let mut current: Option<PathBuf> = None;
        for word in quoted(cells[2]) {
            if let Some(path) = file(word) {
                assert!(path.exists(), "no {word}: {line}");
                current = Some(path);
            } else if let Some((owner, name)) = word.split_once("::") {
                let path = match owner {
                    "Config" => root().join("src/transport/config.rs"),
                    "Endpoint" if name == "add_candidate" => {
                        root().join("src/transport/endpoint/candidate.rs")
                    }
                    _ => root().join("src/transport/endpoint/initiate.rs"),
                };
                assert!(
                    sources.text(&path).contains(&format!("pub {name}"))
                        || sources.text(&path).contains(&format!("fn {name}(")),
                    "no {word}: {line}"
                );
            } else {
                let path = current.clone().unwrap_or_else(|| panic!("{word} of what? {line}"));
                let text = sources.text(&path);
                let found = text.contains(&format!("fn {word}(")) || text.contains(word);
                assert!(found, "no {word} in {}: {line}", path.display());
            }
        }
        match quoted(cells[3])[..] {
            [] => assert_eq!(cells[3], "none", "{line}"),
            [path, name] => {
                let path = file(path).unwrap_or_else(|| panic!("{line}"));
                let text = sources.text(&path);
                let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{line}"));
                assert!(text[..at].trim_end().ends_with(']'), "{name} is no test: {line}");
                tests += 1;
            }
            _ => panic!("one test: {line}"),
        }
    }
    assert!(rows > 100 && tests > 100, "{rows} rows, {tests} tests");
}

/// The tables with the columns "rule" and "test" in the other notes.
#[test]
fn every_test_of_a_rule_exists() {
    let mut sources = Sources(HashMap::new());
    let mut tests = 0;
    let entries = std::fs::read_dir(root().join("protocol-notes")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|it| it == "md")) {
        let note = std::fs::read_to_string(path).unwrap();
        for line in rules(&note) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 2, "{line}");
            let before = tests;
            let mut current = None;
            for word in quoted(cells[1]) {
                if let Some(path) = file(word) {
                    current = Some(path);
                    continue;
                }
                let path = current.as_ref().unwrap_or_else(|| panic!("{word} of what? {line}"));
                let text = sources.text(path);
                let at = text.find(&format!("fn {word}(")).unwrap_or_else(|| panic!("{line}"));
                assert!(text[..at].trim_end().ends_with(']'), "{word} is no test: {line}");
                tests += 1;
            }
            assert!(tests > before, "no test: {line}");
        }
    }
    assert!(tests > 100, "{tests} tests");
}

/// The rows of all tables of rules in a note.
fn rules(note: &str) -> Vec<&str> {
    let mut rows = Vec::new();
    let mut lines = note.lines();
    while lines.by_ref().any(|line| line == "| rule | test |") {
        rows.extend(lines.by_ref().skip(1).take_while(|line| line.starts_with("| ")));
    }
    rows
}

/// What was recorded of players is replayed by a test, and described.
#[test]
fn every_recording_is_replayed() {
    let folder = root().join("fixtures/traces");
    let description = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let mut tests = String::new();
    for file in std::fs::read_dir(root().join("tests/group")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            tests += &std::fs::read_to_string(path).unwrap();
        }
    }
    let mut recordings = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "README" {
            continue;
        }
        recordings += 1;
        assert!(description.contains(&format!("`{name}`")), "{name} is not described");
        let is_read =
            tests.contains(&format!("\"{name}\"")) || tests.contains(&format!("/{name}."));
        assert!(is_read, "no test reads {name}");
    }
    assert!(recordings > 50, "{recordings}");
}
