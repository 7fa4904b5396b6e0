//! The tables of limits in `SECURITY.md` name only settings and tests that exist.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The text of every source file below a folder.
fn read(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push_str(path.file_name().unwrap().to_str().unwrap());
            all.push('\n');
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn words(text: &str) -> HashSet<&str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).collect()
}

#[test]
fn every_limit_and_every_test_in_the_tables_exists() {
    let (mut src, mut tests) = (String::new(), String::new());
    read(Path::new("src"), &mut src);
    read(Path::new("tests"), &mut tests);
    let names = words(&src);
    let text = fs::read_to_string("SECURITY.md").unwrap();
    let (mut rows, mut missing) = (0, Vec::new());
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if cells.first().is_some_and(|c| c.starts_with("---") || c.starts_with("what a")) {
            continue;
        }
        rows += 1;
        assert_eq!(cells.len(), 5, "{line}");
        let named = quoted(cells[2]).filter(|name| {
            let declared = [format!("{name}:"), format!("struct {name} "), format!("fn {name}")];
            !(names.contains(name)
                && (name.contains('.') || declared.iter().any(|d| src.contains(d))))
        });
        missing.extend(named.map(|name| format!("no limit {name}")));
        let mut count = 0;
        for name in quoted(cells[4]) {
            count += 1;
            let function = format!("fn {name}()");
            let is_test = [&src, &tests].iter().any(|text| {
                text.match_indices(&function).any(|(at, _)| {
                    let before = text[..at].trim_end();
                    before.ends_with("#[test]")
                        || before.ends_with(']')
                        || before.ends_with("async")
                }) || text.contains(&format!("        fn {name}("))
            });
            if !is_test {
                missing.push(format!("no test {name}"));
            }
        }
        assert!(count > 0, "no test: {line}");
    }
    assert!(rows > 40, "{rows} rows");
    assert!(missing.is_empty(), "{missing:#?}");
}
