//! The folders under `src/` have the shape that the documents promise.

use crate::source::{
    PROTO, module_of, rust_files, source_dir, table, targets, tokens, without_tests,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The module of the binary, which the table in `src/lib.rs` lacks.
const OF_THE_BINARY: &str = "cli";
/// Folders of `src/group` that are no capability.
const NO_CAPABILITY: [&str; 1] = ["groupspec"];

/// The names of the modules in a folder: of its files and of its folders.
fn modules_in(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn folders_in(folder: &Path) -> BTreeSet<String> {
    let mut names = modules_in(folder);
    names.retain(|name| folder.join(name).is_dir());
    names
}

/// True for a file that only tests are in.
fn is_of_tests(module: &[String]) -> bool {
    module.iter().any(|name| name == "tests")
}

/// The names of the modules that a file declares.
fn declared(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source);
    let declarations = tokens.windows(3).filter(|t| t[0].text == "mod" && t[2].text == ";");
    declarations.map(|t| t[1].text.to_owned()).collect()
}

#[test]
fn the_table_lists_every_module() {
    let source = fs::read_to_string(source_dir().join("lib.rs")).unwrap();
    let proto = fs::read_to_string(source_dir().join(PROTO).with_extension("rs")).unwrap();
    let mut declared = self::declared(&source);
    assert!(declared.remove(PROTO), "no {PROTO}");
    declared.extend(self::declared(&proto));
    let listed: BTreeSet<String> = table(&source).into_keys().collect();
    assert!(declared.len() > 5, "{declared:?}");
    assert_eq!(declared, listed, "modules of src/lib.rs against the table above them");
    let mut present = modules_in(&source_dir());
    for name in ["lib", "main", PROTO, OF_THE_BINARY] {
        assert!(present.remove(name), "no {name}");
    }
    assert_eq!(present, listed, "what is in src/ against the table in src/lib.rs");
}

#[test]
fn every_module_with_several_files_is_a_folder_with_a_description() {
    for name in folders_in(&source_dir()) {
        let source = fs::read_to_string(source_dir().join(&name).join("mod.rs")).unwrap();
        assert!(source.starts_with("//! "), "src/{name}/mod.rs does not say what it is for");
    }
}

#[test]
fn the_capabilities_of_a_group_have_one_shape() {
    let group = source_dir().join("group");
    let mut capabilities = folders_in(&group);
    capabilities.retain(|name| !NO_CAPABILITY.contains(&name.as_str()));
    assert!(capabilities.len() > 1, "{capabilities:?}");
    for capability in capabilities {
        let modules = modules_in(&group.join(&capability));
        for needed in ["mod", "message"] {
            assert!(modules.contains(needed), "src/group/{capability} has no {needed}");
        }
    }
}

#[test]
fn only_tests_import_everything_of_another_module() {
    let mut found = Vec::new();
    for file in rust_files(&source_dir()) {
        let module = module_of(&file);
        let source = fs::read_to_string(&file).unwrap();
        let tokens = without_tests(&tokens(&source));
        let globs = targets(&tokens, &module).into_iter().filter(|t| t.path.last() == Some(&"*"));
        if !is_of_tests(&module) {
            found.extend(globs.map(|t| format!("{}:{}", file.display(), t.line)));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The parts of a top-level module, each a file or a folder, and which of them each one imports. A
/// name that the module's `mod.rs` imports from a part leads to that part.
fn parts(top: &str) -> BTreeMap<String, BTreeSet<String>> {
    let folder = source_dir().join(top);
    let mut names = modules_in(&folder);
    names.retain(|name| name != "mod" && name != "tests");
    let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let root = fs::read_to_string(folder.join("mod.rs")).unwrap();
    let imported = imported(&root, &names);
    for file in rust_files(&folder) {
        let module = module_of(&file);
        let Some(part) = module.get(1).filter(|name| names.contains(*name)) else { continue };
        if is_of_tests(&module) {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let tokens = without_tests(&tokens(&source));
        let imports = parts.entry(part.clone()).or_default();
        for target in targets(&tokens, &module) {
            let [first, second, ..] = target.path[..] else { continue };
            let other = imported.get(second).map_or(second, String::as_str);
            if first == top && other != part && names.contains(other) {
                imports.insert(other.to_owned());
            }
        }
    }
    parts
}

/// The names in `use part::…` of a `mod.rs`, with the part.
fn imported(root: &str, parts: &BTreeSet<String>) -> BTreeMap<String, String> {
    let tokens = without_tests(&tokens(root));
    let mut names = BTreeMap::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let part = pair[1].text;
        if pair[0].text == "use" && parts.contains(part) {
            let rest = tokens[at + 2..].iter().take_while(|t| t.text != ";");
            names.extend(rest.map(|t| (t.text.to_owned(), part.to_owned())));
        }
    }
    names
}

#[test]
fn the_parts_of_a_module_do_not_import_each_other_in_circles() {
    let mut found = Vec::new();
    for top in folders_in(&source_dir()) {
        let parts = parts(&top);
        for (part, imports) in &parts {
            let mut reached = imports.clone();
            let mut open: Vec<&String> = imports.iter().collect();
            while let Some(next) = open.pop() {
                let further = parts.get(next).into_iter().flatten();
                open.extend(further.filter(|name| reached.insert((*name).clone())));
            }
            if reached.contains(part) {
                let imports: Vec<_> = imports.iter().map(String::as_str).collect();
                found.push(format!("{top}::{part} imports {}", imports.join(", ")));
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
