//! The curve of each receiver: which part of the file it held when.

use super::outcome::Outcome;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Room for the labels: left, top, right and bottom.
const MARGIN: (f64, f64, f64, f64) = (52.0, 30.0, 16.0, 40.0);
/// Points of a curve, which is then still smooth.
const POINTS: usize = 200;
/// Labels of the axis of time.
const LABELS: f64 = 8.0;

/// The picture of a run; `least` is the time that no distribution can beat.
pub(super) fn picture(outcome: &Outcome, least: f64, title: &str) -> String {
    let ends = outcome.receivers.iter().flat_map(|receiver| &receiver.held_at);
    let end = ends.copied().filter(|at| at.is_finite()).fold(least, f64::max);
    let plot = Plot { end };
    let mut svg = String::new();
    plot.frame(&mut svg, title);
    let (bottom, top) = (plot.y(0.0), plot.y(1.0));
    let bound = plot.x(least);
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        svg,
        r##"<path d="M{bound:.1} {bottom:.1}V{top:.1}" stroke="#888" stroke-dasharray="4 3"/>
<text x="{bound:.1}" y="{:.1}" text-anchor="middle">least possible</text>"##,
        top - 4.0
    );
    let count = outcome.receivers.len();
    for (number, receiver) in outcome.receivers.iter().enumerate() {
        let hue = number * 360 / count;
        let points = plot.curve(&receiver.held_at);
        let _ = writeln!(
            svg,
            r#"<polyline points="{points}" fill="none" stroke="hsl({hue},65%,42%)"><title>receiver {}</title></polyline>"#,
            number + 1
        );
    }
    svg.push_str("</svg>\n");
    svg
}

struct Plot {
    /// The end of the axis of time, in seconds.
    end: f64,
}

impl Plot {
    fn x(&self, seconds: f64) -> f64 {
        MARGIN.0 + seconds / self.end * (WIDTH - MARGIN.0 - MARGIN.2)
    }

    fn y(&self, share: f64) -> f64 {
        HEIGHT - MARGIN.3 - share * (HEIGHT - MARGIN.1 - MARGIN.3)
    }

    fn frame(&self, svg: &mut String, title: &str) {
        let _ = writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{:.1}" y="14">{title}</text>"##,
            MARGIN.0
        );
        for percent in [0, 25, 50, 75, 100] {
            let y = self.y(f64::from(percent) / 100.0);
            let (left, right) = (self.x(0.0), self.x(self.end));
            let _ = writeln!(
                svg,
                r##"<path d="M{left:.1} {y:.1}H{right:.1}" stroke="#ddd"/>
<text x="{:.1}" y="{:.1}" text-anchor="end">{percent} %</text>"##,
                left - 5.0,
                y + 4.0
            );
        }
        let step = step(self.end / LABELS);
        let mut at = 0.0;
        while at <= self.end {
            let (x, y) = (self.x(at), self.y(0.0) + 16.0);
            let _ =
                writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{at} s</text>"#);
            at += step;
        }
        let (x, y) = (self.x(self.end), HEIGHT - 8.0);
        let _ = writeln!(
            svg,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="end">since each receiver's start</text>"#
        );
    }

    fn curve(&self, held_at: &[f64]) -> String {
        let mut times: Vec<f64> = held_at.iter().copied().filter(|at| at.is_finite()).collect();
        times.sort_by(f64::total_cmp);
        let all = held_at.len().max(1) as f64;
        let every = times.len().div_ceil(POINTS).max(1);
        let mut points = format!("{:.1},{:.1}", self.x(0.0), self.y(0.0));
        for (index, at) in times.iter().enumerate() {
            if index % every == 0 || index + 1 == times.len() {
                let share = (index + 1) as f64 / all;
                let _ = write!(points, " {:.1},{:.1}", self.x(*at), self.y(share));
            }
        }
        points
    }
}

/// A round number not less than `least`: 1, 2 or 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(0.001).log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    factors.map(|factor| factor * power).find(|step| *step >= least).unwrap_or(least)
}
