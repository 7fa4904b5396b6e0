//! The result of a run, and its figures.

use crate::report::{Report, median};

/// A start-up that takes longer counts as a stall, in seconds.
const PATIENCE: f64 = 10.0;
const GIB: f64 = (1 << 30) as f64;

/// The result of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) receivers: Vec<Receiver>,
    /// Bytes that the provider has sent as objects.
    pub(super) provider_bytes: u64,
    /// Bytes that all members have sent, with all headers.
    pub(super) wire_bytes: u64,
    /// CPU time of all members.
    pub(super) cpu_seconds: f64,
}

/// What happened at one receiver, in seconds since it was started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receiver {
    /// When each chunk was there; infinite if it never was.
    pub(crate) held_at: Vec<f64>,
    /// When the file was complete.
    pub(crate) complete: Option<f64>,
    /// Its file is that of the provider.
    pub(crate) is_identical: bool,
}

impl Receiver {
    /// The least delay after which playing at `chunks_per_second` never waits for a chunk: each is
    /// needed when those before it have been played.
    pub(super) fn startup(&self, chunks_per_second: f64) -> f64 {
        let needed = |index: usize| index as f64 / chunks_per_second;
        let late = self.held_at.iter().enumerate().map(|(index, at)| at - needed(index));
        late.fold(0.0, f64::max)
    }
}

impl Outcome {
    /// Adds the figures of this run. `least` is the time that no distribution can beat; `interval`
    /// the seconds between two arrivals.
    pub(super) fn report(
        &self,
        report: &mut Report,
        size: u64,
        least: f64,
        (interval, rates): (f64, &[u32]),
    ) {
        let n = self.receivers.len();
        let payload = size as f64 * n as f64;
        let mut times: Vec<f64> =
            self.receivers.iter().map(|r| r.complete.unwrap_or(f64::INFINITY)).collect();
        times.sort_by(f64::total_cmp);
        let (first, last) = (times[0], times[n - 1]);
        report.add("n", "receivers", n as f64);
        report.add("lb_s", "least possible seconds", least);
        report.add("first_s", "seconds of the first receiver", first);
        report.add("median_s", "seconds of half of the receivers", median(&times));
        report.add("last_s", "seconds of the last receiver", last);
        let ends = self.receivers.iter().enumerate().map(|(number, receiver)| {
            interval * number as f64 + receiver.complete.unwrap_or(f64::INFINITY)
        });
        report.add("end_s", "seconds until all are complete", ends.fold(0.0, f64::max));
        report.add("last_over_lb", "the last ÷ the least possible", last / least);
        report.add(
            "copies",
            "uploads of the provider ÷ file",
            self.provider_bytes as f64 / size as f64,
        );
        let wire = self.wire_bytes as f64 / payload;
        report.add("wire_over_payload", "bytes on the wire ÷ payload", wire);
        self.report_playing(report, size, rates);
        report.add("cpu_s_per_gib", "CPU s per GiB delivered", self.cpu_seconds / (payload / GIB));
        let identical = self.receivers.iter().filter(|receiver| receiver.is_identical).count();
        report.add("identical", "identical copies", identical as f64);
    }

    /// Of a run in which every second receiver has a narrow uplink: how long the others take, and
    /// these.
    pub(super) fn report_halves(&self, report: &mut Report) {
        for (of, name, skip) in [("strong", "wide", 0), ("weak", "narrow", 1)] {
            let receivers = self.receivers.iter().skip(skip).step_by(2);
            let mut times: Vec<f64> =
                receivers.map(|r| r.complete.unwrap_or(f64::INFINITY)).collect();
            times.sort_by(f64::total_cmp);
            let last = times.last().copied().unwrap_or_default();
            let half = format!("seconds of half of those with a {name} uplink");
            report.add(&format!("{of}_p50"), &half, median(&times));
            report.add(&format!("{of}_last"), &format!("the last with a {name} uplink"), last);
        }
    }

    /// Fields of several rates have the rate in their names.
    fn report_playing(&self, report: &mut Report, size: u64, rates: &[u32]) {
        for &rate in rates {
            let suffix = if rates.len() > 1 { format!("_{rate}") } else { String::new() };
            let chunks = self.receivers[0].held_at.len();
            let per_second = f64::from(rate) * 1000.0 / 8.0 / (size as f64 / chunks as f64);
            let startups: Vec<f64> = self.receivers.iter().map(|r| r.startup(per_second)).collect();
            let longest = startups.iter().copied().fold(0.0, f64::max);
            let stalls = startups.iter().filter(|&&startup| startup > PATIENCE).count();
            let mut add = |field: &str, name: &str, value| {
                report.add(&format!("{field}{suffix}"), &format!("{name} at {rate} kbit/s"), value);
            };
            add("startup_s_p50", "start-up, half of the receivers,", median(&startups));
            add("startup_s_max", "start-up, the longest,", longest);
            add("stalls", "start-ups of more than 10 s", stalls as f64);
        }
    }
}
