//! Text from strangers, as it may be shown.

use std::fmt::{self, Display, Write};

/// Bytes that [`Shown`] writes at most, but for the note that text was cut.
pub const MAX_SHOWN: usize = 200;

/// Text that came from the network, for a log or a screen: not longer than [`MAX_SHOWN`] bytes,
/// however much of it must be escaped, and without characters that steer a terminal, break a line
/// or change the direction of writing.
///
/// `Debug` writes it in quotes, as a field of a log line; `Display` writes it as part of a sentence.
///
/// ```
/// use rtmfp::wire::Shown;
///
/// assert_eq!(Shown::new("a\tb \"c\"").to_string(), "a\\tb \"c\"");
/// assert_eq!(format!("{:?}", Shown::new("a\tb \"c\"")), "\"a\\tb \\\"c\\\"\"");
/// assert!(Shown::new(&"\u{202e}".repeat(10_000)).to_string().len() < 300);
/// ```
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    text: &'a str,
    max: usize,
}

impl<'a> Shown<'a> {
    /// Shows `text`.
    pub const fn new(text: &'a str) -> Self {
        Self { text, max: MAX_SHOWN }
    }

    /// Shows a line of which `text` is more than what a stranger sent: up to `max` bytes.
    pub const fn within(text: &'a str, max: usize) -> Self {
        Self { text, max }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, quoted: bool) -> fmt::Result {
        let mut left = self.max;
        for c in self.text.chars() {
            let plain = c == '\'' || (!quoted && matches!(c, '"' | '\\'));
            let len = if plain { c.len_utf8() } else { c.escape_debug().map(char::len_utf8).sum() };
            left = match left.checked_sub(len) {
                Some(left) => left,
                None => return write!(f, "… ({} bytes)", self.text.len()),
            };
            if plain { f.write_char(c)? } else { write!(f, "{}", c.escape_debug())? }
        }
        Ok(())
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.write(f, true)?;
        f.write_char('"')
    }
}

/// The beginning of `text` that is worth keeping to be [`Shown`] later.
pub fn worth_keeping(text: &str) -> &str {
    let end = (0..=text.len().min(MAX_SHOWN + 4)).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_cut_and_cannot_steer() {
        for bad in ["\0", "\n", "\r", "\u{1b}[2J", "\u{202e}", "\u{2028}", "\u{7f}", "é", "𝄞", "\""]
        {
            let text = bad.repeat(60_000 / bad.len());
            for shown in [Shown::new(&text).to_string(), format!("{:?}", Shown::new(&text))] {
                assert!(shown.len() <= MAX_SHOWN + 30, "{} bytes of {bad:?}", shown.len());
                assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'));
                assert!(shown.contains(&format!("… ({} bytes)", text.len())), "{shown}");
            }
            let kept = worth_keeping(&text);
            assert!(kept.len() <= MAX_SHOWN + 4 && text.starts_with(kept));
            let cut = |text| Shown::new(text).to_string().split('…').next().map(str::to_owned);
            assert_eq!(cut(kept), cut(&text), "what was kept shows the same");
        }
    }

    #[test]
    fn ordinary_text_is_shown_as_it_is() {
        let text = "l'application « vidéo » of C:\\Users";
        assert_eq!(Shown::new(text).to_string(), text);
        assert_eq!(worth_keeping(text), text);
    }
}
