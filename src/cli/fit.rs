//! Text that fits a terminal.

use rtmfp::vod::session::ChunkMap;
use terminal_size::{Height, Width, terminal_size_of};

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The size assumed without a terminal.
const DEFAULT: Size = Size { columns: 80, rows: 24 };
/// The smallest size of a terminal; a smaller report is not a real size.
const SMALLEST: Size = Size { columns: 20, rows: 3 };

impl Size {
    /// The size of the terminal at standard error.
    pub(crate) fn of_screen() -> Self {
        match terminal_size_of(std::io::stderr()) {
            Some((Width(columns), Height(rows))) => Self {
                columns: usize::from(columns).max(SMALLEST.columns),
                rows: usize::from(rows).max(SMALLEST.rows),
            },
            None => DEFAULT,
        }
    }
}

/// `text` in lines of at most `size.columns`, broken between words, and in fewer lines than the
/// screen has rows: what is redrawn must not scroll.
pub(crate) fn fit(text: &str, size: Size) -> String {
    let lines: Vec<String> = text.lines().flat_map(|line| wrap(line, size.columns)).collect();
    let space = size.rows - 1;
    match lines.len() {
        count if count <= space => lines.join("\n"),
        _ => [&lines[..space - 1], &["…".to_owned()]].concat().join("\n"),
    }
}

/// A line in pieces, each of at most `columns` characters. Further pieces are indented.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    const INDENT: &str = "  ";
    let mut pieces = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = pieces.len() - 1;
        let used = pieces[last].chars().count();
        let is_new = pieces[last].trim().is_empty();
        if !is_new && used + word.trim_end().chars().count() > columns {
            pieces.push(INDENT.into());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(word);
        }
    }
    let cut = |piece: &String| piece.trim_end().chars().take(columns).collect();
    pieces.iter().map(cut).collect()
}

/// `▕██▅ ▂█▏`, of at most `columns` characters: a bar for each part of the file, as high as there is
/// of it.
pub(crate) fn map(map: &ChunkMap, columns: usize) -> String {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let level = |held: f32| match held {
        held if held <= 0.0 => LEVELS[0],
        held if held >= 1.0 => LEVELS[8],
        // Something is not nothing, and not all is not all.
        held => LEVELS[((held * 8.0) as usize).clamp(1, 7)],
    };
    let bars = condensed(map.columns(), columns.saturating_sub(2).max(1));
    format!("▕{}▏", bars.into_iter().map(level).collect::<String>())
}

/// `parts` as at most `count` numbers, each the mean of its share.
fn condensed(parts: &[f32], count: usize) -> Vec<f32> {
    let count = count.min(parts.len());
    let start = |bar: usize| bar * parts.len() / count.max(1);
    let mean = |bar: usize| {
        let share = &parts[start(bar)..start(bar + 1)];
        share.iter().sum::<f32>() / share.len() as f32
    };
    (0..count).map(mean).collect()
}

/// `▕████    ▏`, of `columns` characters: how much of a whole is done, from 0 to 1.
pub(crate) fn bar(part: f64, columns: usize) -> String {
    let width = columns.saturating_sub(2).max(1);
    let done = ((part * width as f64) as usize).min(width);
    format!("▕{}{}▏", "█".repeat(done), " ".repeat(width - done))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "45 % of 12.3 MB, 1.2 MB/s, 3 neighbors, 20 % from peers, 0:12 left";

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        for columns in [20, 40, 80, 120] {
            for rows in [3, 5, 16, 24] {
                let text = [STATUS; 10].join("\n") + "\n" + &"x".repeat(200);
                let text = fit(&text, Size { columns, rows });
                assert!(text.lines().count() < rows, "{text}");
                assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            }
        }
    }

    #[test]
    fn words_stay_whole() {
        let text = fit(STATUS, Size { columns: 40, rows: 16 });
        assert_eq!(text, "45 % of 12.3 MB, 1.2 MB/s, 3 neighbors,\n  20 % from peers, 0:12 left");
        assert_eq!(fit(STATUS, Size { columns: 80, rows: 24 }), STATUS);
    }

    #[test]
    fn a_map_is_condensed_to_the_width() {
        assert_eq!(condensed(&[0.0, 1.0, 1.0, 1.0], 2), [0.5, 1.0]);
        assert_eq!(condensed(&[0.0, 1.0], 40), [0.0, 1.0]);
        assert_eq!(condensed(&[1.0; 64], 38), [1.0; 38]);
        assert!(condensed(&[], 5).is_empty());
        assert_eq!(map(&ChunkMap::default(), 40), "▕▏");
        assert_eq!(bar(0.5, 12), "▕█████     ▏");
        assert_eq!(bar(1.0, 12), "▕██████████▏");
    }
}
