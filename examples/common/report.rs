//! Medians of runs.

use serde_json::{Map, Value};

/// The measurements of one workload.
#[derive(Debug)]
pub(crate) struct Report {
    workload: &'static str,
    title: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// One number of a workload, in every run.
#[derive(Debug)]
struct Figure {
    /// Its description for people.
    name: String,
    /// Its field in the JSON line; the others are for people only.
    field: Option<String>,
    runs: Vec<f64>,
}

impl Report {
    pub(crate) fn new(workload: &'static str, title: String) -> Self {
        Self { workload, title, figures: Vec::new(), notes: Vec::new() }
    }

    /// Adds a run of a figure that is a field of the JSON line.
    pub(crate) fn add(&mut self, field: &str, name: &str, value: f64) {
        self.push(Some(field), name, value);
    }

    /// Adds a run of a figure that explains the others.
    pub(crate) fn explain(&mut self, name: &str, value: f64) {
        self.push(None, name, value);
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn push(&mut self, field: Option<&str>, name: &str, value: f64) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.runs.push(value),
            None => {
                let (name, field) = (name.to_owned(), field.map(str::to_owned));
                self.figures.push(Figure { name, field, runs: vec![value] });
            }
        }
    }

    /// Median, least and greatest of each figure.
    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        println!("  {:<44} {:>12} {:>25} {:>5}", "", "median", "min – max", "runs");
        for Figure { name, runs, .. } in &self.figures {
            let least = runs.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let range = format!("{} – {}", number(least), number(greatest));
            println!("  {name:<44} {:>12} {range:>25} {:>5}", number(median(runs)), runs.len());
        }
        self.notes.iter().for_each(|note| println!("  {note}"));
    }

    /// The workload and the medians of its fields.
    pub(crate) fn json(&self) -> Value {
        self.object(median)
    }

    /// The workload and its fields in the last run.
    pub(crate) fn last_json(&self) -> Value {
        self.object(|runs| runs.last().copied().unwrap_or(f64::NAN))
    }

    fn object(&self, choose: impl Fn(&[f64]) -> f64) -> Value {
        let fields = self
            .figures
            .iter()
            .filter_map(|figure| Some((figure.field.clone()?, Value::from(choose(&figure.runs)))));
        let workload = ("work".to_owned(), Value::from(self.workload));
        Value::Object(std::iter::once(workload).chain(fields).collect::<Map<_, _>>())
    }
}

/// The value in the middle; of an even number the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

/// The value that `part` of `sorted` do not exceed (0.99 for the 99th percentile).
pub(crate) fn percentile(sorted: &[u64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).map_or(f64::NAN, |value| *value as f64)
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
