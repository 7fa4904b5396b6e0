//! The rules that a player's far end keeps, counted.

use rtmfp::proto::transport::Time;
use std::collections::BTreeMap;

/// What a player saw of its far ends, judged by the rules.
#[derive(Debug, Default)]
pub struct Judge {
    /// How often each rule was looked at.
    pub checked: BTreeMap<&'static str, usize>,
    pub violations: Vec<String>,
    /// What was replayed, by kind.
    pub replayed: BTreeMap<&'static str, usize>,
    /// What was recorded but made no sense in this run, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

impl Judge {
    /// Looks at a rule; `seen` describes the observation if it was broken.
    pub fn rule(
        &mut self,
        now: Time,
        rule: &'static str,
        kept: bool,
        seen: impl FnOnce() -> String,
    ) {
        *self.checked.entry(rule).or_default() += 1;
        if !kept {
            self.violations.push(format!("{:.3} s: {rule}: {}", now.as_secs_f64(), seen()));
        }
    }

    pub fn replayed(&mut self, what: &'static str) {
        *self.replayed.entry(what).or_default() += 1;
    }

    pub fn left_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        let sum = |into: &mut BTreeMap<&'static str, usize>,
                   from: BTreeMap<&'static str, usize>| {
            from.into_iter().for_each(|(key, count)| *into.entry(key).or_default() += count);
        };
        sum(&mut self.checked, other.checked);
        sum(&mut self.replayed, other.replayed);
        sum(&mut self.left_out, other.left_out);
        self.violations.extend(other.violations);
    }

    /// How often something was replayed.
    pub fn count(&self, what: &str) -> usize {
        self.replayed.get(what).copied().unwrap_or_default()
    }

    /// Prints the table, and fails if a rule was broken or one of `wanted` was never looked at.
    pub fn verdict(&self, title: &str, wanted: &[&str]) {
        println!("{title}");
        for (head, table) in [
            ("replayed", &self.replayed),
            ("left out", &self.left_out),
            ("rule kept", &self.checked),
        ] {
            table.iter().for_each(|(what, count)| println!("  {head:<9} {count:>5} {what}"));
        }
        assert!(self.violations.is_empty(), "{title}: {:#?}", self.violations);
        for rule in wanted {
            assert!(self.checked.contains_key(rule), "{title}: never looked at: {rule}");
        }
    }
}
