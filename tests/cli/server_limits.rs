//! The limits of `rtmfp serve` as an operator sees them: the table in `docs/server.md` against the
//! settings and the metrics, and what a limit that is reached leaves in the log and in the metrics.

use crate::admin::{GROUP, Served, metric};
use crate::support::{rtmfp, succeed};
use std::collections::{BTreeMap, BTreeSet};

const MANUAL: &str = include_str!("../../docs/server.md");

/// Settings in the sections of limits that bound nothing.
const NO_LIMITS: [&str; 9] = [
    "streams.enabled",
    "shared_objects.enabled",
    "shared_objects.folder",
    "connectivity.enabled",
    "connectivity.port",
    "connectivity.other_addresses",
    "hooks.url",
    "hooks.events",
    "hooks.allow_on_failure",
];

/// Sections whose settings are limits.
const SECTIONS: [&str; 7] =
    ["limits", "introductions", "relay", "streams", "shared_objects", "connectivity", "hooks"];

/// Reasons of `rtmfp_refused_total` that are no limits.
const NO_REASONS: [&str; 3] = ["reported_address", "datagram_by_system", "datagram_without_socket"];

/// A row of the table.
#[derive(Debug)]
struct Row {
    setting: &'static str,
    default: &'static str,
    metric: &'static str,
}

fn rows() -> Vec<Row> {
    let (_, section) = MANUAL.split_once("\n## Limits\n").unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, setting, default, metric, _] = cells[..] else { panic!("{line}") };
        let bare = |cell: &'static str| cell.trim_matches('`');
        Row { setting: bare(setting), default: bare(default), metric: bare(metric) }
    });
    rows.collect()
}

/// Settings and their defaults.
fn printed() -> BTreeMap<String, String> {
    let (sample, _) = succeed(&mut rtmfp(["serve", "--print-config"]));
    let (mut section, mut settings) = (String::new(), BTreeMap::new());
    for line in sample.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, value)) = line.split_once(" = ") {
            settings.insert(format!("{section}{key}"), value.to_owned());
        }
    }
    settings
}

#[test]
fn the_table_has_every_limit_with_its_default() {
    let (rows, settings) = (rows(), printed());
    for row in rows.iter().filter(|row| row.setting != "–") {
        assert_eq!(settings.get(row.setting).map(String::as_str), Some(row.default), "{row:?}");
    }
    let listed: BTreeSet<_> = rows.iter().map(|row| row.setting).collect();
    let is_limit = |name: &str| {
        let (section, _) = name.split_once('.').unwrap_or_default();
        SECTIONS.contains(&section) && !NO_LIMITS.contains(&name)
    };
    let limits: Vec<_> = settings.keys().filter(|name| is_limit(name)).collect();
    assert!(limits.len() > 40, "{limits:?}");
    for name in limits {
        assert!(listed.contains(name.as_str()), "{name} is not in the table");
    }
    for name in NO_LIMITS {
        assert!(settings.contains_key(name), "there is no setting {name}");
    }
}

#[test]
fn the_table_names_every_metric_of_refusals_and_no_other() {
    let served = Served::start(&[]);
    let text = served.text("metrics");
    served.stop();
    let names = text.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<_> =
        names.filter_map(|line| line.rsplit_once(' ')).map(|it| it.0).collect();
    let whole = |metric: &str| match metric.starts_with("rtmfp_") {
        true => metric.to_owned(),
        false => format!("rtmfp_refused_total{{reason=\"{metric}\"}}"),
    };
    let mut listed = BTreeSet::new();
    for row in rows().into_iter().filter(|row| row.metric != "–") {
        let metric = whole(row.metric);
        assert!(names.contains(metric.as_str()), "/metrics has no {metric}: {row:?}");
        listed.insert(metric);
    }
    let no_limits: BTreeSet<_> = NO_REASONS.into_iter().map(whole).collect();
    let is_refusal = |name: &&&str| {
        let refused = name.starts_with("rtmfp_refused_total");
        refused || name.contains("\"limited\"") || name.contains("_dropped_total")
    };
    let refusals: Vec<_> = names.iter().filter(is_refusal).collect();
    assert!(refusals.len() > 20, "{refusals:?}");
    for name in refusals {
        let name = (*name).to_owned();
        assert!(listed.contains(&name) || no_limits.contains(&name), "{name} is in no row");
    }
}

/// Over real sockets: of two members of a group for one, the second is refused.
#[test]
fn a_limit_that_is_reached_is_in_the_log_and_in_the_metrics() {
    let served = Served::start_in(&[("RTMFP_LIMITS_MEMBERS_PER_GROUP", "1")], &[]);
    let first = served.member("chat", GROUP);
    served.until("joined");
    let second = served.member("chat", GROUP);
    let reached = served.until("limit_reached");
    assert_eq!(reached["effect"], "joins refused");
    let metrics = served.text("metrics");
    assert!(metric(&metrics, "rtmfp_refused_total{reason=\"join\"}") >= 1.0, "{metrics}");
    drop((first, second));
    let log = served.stop_with_log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("limit reached")).collect();
    assert!(matches!(lines[..], [line] if line.contains("limits.members_per_group")), "{log}");
}
