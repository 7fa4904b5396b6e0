//! [`safe_file_name`]: a name from the network, made safe for the local directory.

use super::hash::Digest256;

/// The longest file name produced, in bytes: the limit of common file systems.
pub const MAX_FILE_NAME: usize = 255;

/// The name used if nothing usable remains.
pub const FALLBACK_NAME: &str = "download";

/// Makes a file name of any text. It can only name a file *in* the directory it is joined to, and
/// is safe to type and to list.
///
/// Path separators, control and direction-changing characters and those that Windows forbids become
/// `_`; dots and spaces at either end are dropped (no `..`, no hidden files); a leading `-` becomes
/// `_` (no option); Windows device names get a leading `_`; the result is at most [`MAX_FILE_NAME`]
/// bytes long. A longer one is cut and ends in a hash of the whole name, so that no two names
/// become equal; a short extension is kept.
pub fn safe_file_name(name: &str) -> String {
    let given = name;
    let replaced: String = given.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    let mut name = replaced.trim_matches(|c: char| c == '.' || c.is_whitespace()).to_owned();
    if name.starts_with('-') {
        name.replace_range(..1, "_");
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    let name = shortened(&name, given);
    if name.is_empty() { FALLBACK_NAME.to_owned() } else { name }
}

fn is_allowed(c: char) -> bool {
    let steers_text = matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}');
    !c.is_control() && !steers_text && !r#"/\:*?"<>|"#.contains(c)
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|n| {
            matches!(n.chars().next(), Some('0'..='9' | '¹' | '²' | '³')) && n.chars().count() == 1
        })
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
}

/// Shortens a name that is too long; a hash of the name as `given` replaces the part cut off.
fn shortened(name: &str, given: &str) -> String {
    const MAX_EXTENSION: usize = 16;
    const HASH_DIGITS: usize = 16;
    if name.len() <= MAX_FILE_NAME {
        return name.to_owned();
    }
    let hash = Digest256::of(given.as_bytes()).to_string();
    let extension = match name.rfind('.') {
        Some(dot) if name.len() - dot <= MAX_EXTENSION => &name[dot..],
        _ => "",
    };
    let mut end = MAX_FILE_NAME - extension.len() - HASH_DIGITS - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{}{extension}", &name[..end], &hash[..HASH_DIGITS])
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn assert_harmless(name: &str) {
        let mut components = Path::new(name).components();
        assert!(matches!(components.next(), Some(Component::Normal(_))), "{name:?}");
        assert_eq!(components.next(), None, "{name:?}");
        assert!(name.len() <= MAX_FILE_NAME, "{name:?}");
        assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with(['.', '-']), "{name:?}");
    }

    #[test]
    fn ordinary_names_stay() {
        for name in
            ["film.mp4", "Über den Wolken (1974).flv", "a b_c-d", "archive.tar.gz", "電影.mp4"]
        {
            assert_eq!(safe_file_name(name), name);
        }
    }

    #[test]
    fn no_name_leaves_the_directory() {
        for (hostile, safe) in [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            (r"..\..\boot.ini", "_.._boot.ini"),
            (r"C:\x", "C__x"),
            ("..", "download"),
            (".", "download"),
            ("", "download"),
            ("   ", "download"),
            (". . .", "download"),
            (".bashrc", "bashrc"),
            ("-rf", "_rf"),
            ("a\0b\nc\u{1b}[2J", "a_b_c_[2J"),
            ("gpj.\u{202e}exe", "gpj._exe"),
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("Com1.mp4", "_Com1.mp4"),
            ("console.mp4", "console.mp4"),
            ("x.", "x"),
        ] {
            assert_eq!(safe_file_name(hostile), safe, "{hostile:?}");
            assert_harmless(&safe_file_name(hostile));
        }
    }

    #[test]
    fn a_long_name_is_cut_before_its_extension() {
        let name = safe_file_name(&format!("{}.mp4", "é".repeat(500)));
        assert!(name.len() <= MAX_FILE_NAME && name.ends_with(".mp4"), "{name}");
        assert_harmless(&safe_file_name(&"x".repeat(100_000)));
    }

    #[test]
    fn names_that_fit_stay_and_no_two_are_cut_to_one() {
        let name = format!("{}.mp4", "x".repeat(251));
        assert_eq!(safe_file_name(&name), name);
        let long = |end: &str| safe_file_name(&format!("{}{end}.mp4", "x".repeat(2000)));
        assert_ne!(long("1"), long("2"));
        assert_eq!(long("1"), long("1"));
        assert_eq!(long("1").len(), MAX_FILE_NAME);
        // Also where the difference is in replaced characters.
        assert_ne!(long("/"), long(":"));
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_harmless_name(text in ".*") {
            let name = safe_file_name(&text);
            assert_harmless(&name);
            prop_assert_eq!(safe_file_name(&name), name);
        }

        #[test]
        fn any_dots_and_separators_become_a_harmless_name(text in "[-./\\\\ a:]{0,300}") {
            assert_harmless(&safe_file_name(&text));
        }
    }
}
