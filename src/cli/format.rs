//! Numbers and foreign text for people.

use rtmfp::wire::Shown;
use std::time::Duration;

/// `12.3 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// `12.3 MB/s`.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second as u64))
}

/// `45 %`; 100 only for all of it.
pub(crate) fn percent(part: f64) -> String {
    let percent = (part * 100.0).floor().clamp(0.0, 100.0);
    format!("{percent:.0} %")
}

/// `0.8 s`, `12 s`, `3:45`, `1:02:03`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// `1 neighbor`, `3 neighbors`.
pub(crate) fn count(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `1 neighbor`, `3 neighbors`.
pub(crate) fn neighbors(neighbors: usize) -> String {
    count(neighbors as u64, "neighbor")
}

/// Bytes of a line with foreign text, at most.
const MAX_LINE: usize = 2000;

/// A line with foreign text, which cannot steer the terminal and is not longer than a screen.
pub(crate) fn printable(text: &str) -> String {
    Shown::within(text, MAX_LINE).to_string()
}

/// Reads `90`, `90s`, `15m`, `2h` or `1d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is not a time: write 30s, 15m, 2h, or 0");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| problem())?;
    let unit = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(problem()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(problem)
}

/// Reads a time as [`parse_duration`] does, but not 0.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("a time of 0 leaves no time for anything: write 30s, 15m, 2h".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_at_most_four_digits() {
        let text = |n| bytes(n);
        assert_eq!(text(0), "0 B");
        assert_eq!(text(999), "999 B");
        assert_eq!(text(1_000), "1.0 kB");
        assert_eq!(text(999_949), "999.9 kB");
        assert_eq!(text(999_951), "1.0 MB");
        assert_eq!(text(12_345_678), "12.3 MB");
        assert_eq!(text(u64::MAX), "18.4 EB");
    }

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!(percent(0.999), "99 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn durations() {
        let text = |ms| duration(Duration::from_millis(ms));
        assert_eq!(text(840), "0.8 s");
        assert_eq!(text(12_900), "12 s");
        assert_eq!(text(225_000), "3:45");
        assert_eq!(text(3_723_000), "1:02:03");
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "h", "-1", "1.5h", "3x", "99999999999999999999", "999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
