//! What the server has used, and refused, in a window of time.

use crate::target::{Target, Usage};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The state of the server at a time.
pub(super) struct Gauge {
    at: Instant,
    usage: Option<Usage>,
    metrics: BTreeMap<String, f64>,
}

/// What has changed in a window.
pub(super) struct Change {
    pub(super) seconds: f64,
    /// CPU seconds.
    pub(super) cpu: f64,
    /// Resident bytes at its beginning, and at most.
    pub(super) resident: (f64, f64),
    /// Bytes that flows held at most.
    pub(super) held: f64,
    metrics: BTreeMap<String, f64>,
}

impl Gauge {
    pub(super) async fn start(target: &Target) -> anyhow::Result<Self> {
        let metrics = target.metrics().await?;
        Ok(Self { at: Instant::now(), usage: target.usage()?, metrics })
    }

    fn metric(&self, name: &str) -> f64 {
        self.metrics.get(name).copied().unwrap_or_default()
    }

    pub(super) fn sessions(&self) -> f64 {
        self.metric("rtmfp_sessions")
    }

    pub(super) fn held(&self) -> f64 {
        self.metric("rtmfp_memory_held_bytes")
    }

    pub(super) fn resident(&self) -> f64 {
        self.usage.as_ref().map_or(0.0, |usage| usage.resident as f64)
    }

    /// Watches the server for a while.
    pub(super) async fn watch(self, target: &Target, time: Duration) -> anyhow::Result<Change> {
        let (mut resident, mut held) = (self.resident(), self.held());
        let mut last;
        loop {
            tokio::time::sleep(LOOK).await;
            last = Self::start(target).await?;
            resident = resident.max(last.resident());
            held = held.max(last.held());
            if last.at.duration_since(self.at) >= time {
                break;
            }
        }
        let cpu = |gauge: &Self| gauge.usage.as_ref().map_or(0.0, |usage| usage.cpu);
        let metrics = last.metrics.iter();
        let metrics = metrics.map(|(name, value)| (name.clone(), value - self.metric(name)));
        Ok(Change {
            seconds: last.at.duration_since(self.at).as_secs_f64(),
            cpu: cpu(&last) - cpu(&self),
            resident: (self.resident(), resident),
            held,
            metrics: metrics.collect(),
        })
    }
}

impl Change {
    pub(super) fn of(&self, metric: &str) -> f64 {
        self.metrics.get(metric).copied().unwrap_or_default()
    }

    /// The metrics of what was refused, limited or dropped, with their growth.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (String, f64)> {
        let words = ["refused", "limited", "unknown", "dropped", "lost"];
        let all = self.metrics.iter().filter(move |(name, value)| {
            **value > 0.0 && words.iter().any(|word| name.contains(word))
        });
        all.map(|(name, value)| (name.trim_start_matches("rtmfp_").to_owned(), *value))
    }
}
