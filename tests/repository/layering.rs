//! Modules import only from lower levels, and what lies below the sockets names no socket, clock,
//! random source or async runtime.
//!
//! The levels are those of the table at the top of `src/lib.rs`. Every `crate::` path under `src/`
//! counts, in whatever form: groups, re-exports, `super::` chains that leave their module, test
//! modules.

use crate::source::{Levels, Target, module_of, rust_files, source_dir, table, targets, tokens};
use std::fs;

/// Those of the binary, which the library lacks.
const OF_THE_BINARY: [(&str, u32); 1] = [("cli", 9)];

/// Below this level everything is deterministic, and these modules of that level too.
const FIRST_WITH_SOCKETS: u32 = 5;
const DETERMINISTIC: [&str; 3] = ["node", "sim", "trace"];

/// What deterministic modules must not name.
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
fn modules_import_only_from_lower_levels() {
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
    assert!(paths > 50, "only {paths} paths between modules were found: is the reader blind?");
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn levels() -> Levels {
    let mut levels = table(&fs::read_to_string(source_dir().join("lib.rs")).unwrap());
    levels.extend(OF_THE_BINARY.map(|(top, level)| (top.to_owned(), level)));
    levels
}

/// What [`check`] found in one file.
#[derive(Default)]
struct Report {
    /// Paths that lead into a top-level module, the file's own included.
    paths: usize,
    /// `line: what is wrong`.
    violations: Vec<String>,
}

fn check(levels: &Levels, module: &[String], source: &str) -> Report {
    let mut report = Report::default();
    // The roots of library and binary only put the modules together.
    let Some(top) = module.first() else { return report };
    let Some(&level) = levels.get(top) else {
        report.violations.push(format!("1: {top} is not in the table of src/lib.rs"));
        return report;
    };
    let tokens = tokens(source);
    for target in targets(&tokens, module) {
        report.paths += 1;
        let Target { line, path } = target;
        let other = path.first().copied().unwrap_or_default();
        let problem = match levels.get(other) {
            _ if other == top => continue,
            Some(&lower) if lower < level => continue,
            Some(other_level) => {
                format!("{top} (level {level}) imports {other} (level {other_level})")
            }
            None => format!("{top} imports crate::{other}, which is not in a module"),
        };
        report.violations.push(format!("{line}: {problem}"));
    }
    // Several names out of one module are one import.
    report.violations.dedup();
    if level < FIRST_WITH_SOCKETS || DETERMINISTIC.contains(&top.as_str()) {
        for names in FORBIDDEN {
            let hits = tokens
                .windows(names.len())
                .filter(|window| window.iter().map(|t| t.text).eq(names.iter().copied()));
            report.violations.extend(hits.map(|hit| {
                format!("{}: {top} is deterministic and names {}", hit[0].line, names.concat())
            }));
        }
    }
    report
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
        let levels = table.map(|(top, level)| (top.to_owned(), level)).into();
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
    fn lower_levels_and_the_own_module_are_fine() {
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
    fn what_is_in_no_module_is_found() {
        assert_found(
            "wire",
            "use crate::*;",
            &["1: wire imports crate::*, which is not in a module"],
        );
        assert_found(
            "wire",
            "use crate as root;",
            &["1: wire imports crate::, which is not in a module"],
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
