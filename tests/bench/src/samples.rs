//! Measurements and what is said of them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// What was measured: metric (its unit is its end), subject, parameter.
type Key = (String, String, String);

/// All measurements of a run, in the order in which they were begun.
#[derive(Debug, Default)]
pub struct Samples(Vec<(Key, Vec<f64>)>);

impl Samples {
    /// Adds one measurement.
    pub fn add(&mut self, metric: &str, subject: &str, parameter: &str, value: f64) {
        let key = (metric.to_owned(), subject.to_owned(), parameter.to_owned());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => self.0.push((key, vec![value])),
        }
    }

    /// Writes every measurement.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut text = String::from("metric,subject,parameter,round,value\n");
        for ((metric, subject, parameter), values) in &self.0 {
            for (round, value) in values.iter().enumerate() {
                writeln!(text, "{metric},{subject},{parameter},{round},{value:.4}")?;
            }
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Adds the measurements of a file that [`Samples::write_csv`] has written, or another program in its form.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is another one.
    pub fn read_csv(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            let [metric, subject, parameter, _, value] = fields[..] else {
                bail!(
                    "{} has a line that is no measurement: {line}",
                    path.display()
                );
            };
            let value = value.parse();
            let value = value.with_context(|| format!("{line} has no value"))?;
            self.add(metric, subject, parameter, value);
        }
        Ok(())
    }

    /// Writes medians and percentiles.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(&self.summary())?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// `{metric: {subject: {median, p95, p99, n}}}`; a measurement with parameters has one subject for each, named
    /// `subject parameter`, and the first that was measured under the subject's name alone.
    fn summary(&self) -> Map<String, Value> {
        let mut metrics: Map<String, Value> = Map::new();
        for ((metric, subject, parameter), values) in &self.0 {
            let summary = json!({
                "median": median(values), "p95": percentile(values, 0.95), "p99": percentile(values, 0.99), "n": values.len()
            });
            let subjects = metrics.entry(metric.clone()).or_insert_with(|| json!({}));
            if let Value::Object(subjects) = subjects {
                if parameter.is_empty() || !subjects.contains_key(subject) {
                    subjects.insert(subject.clone(), summary.clone());
                }
                if !parameter.is_empty() {
                    subjects.insert(format!("{subject} {parameter}"), summary);
                }
            }
        }
        metrics
    }

    /// What was measured of one subject with one parameter.
    #[must_use]
    pub fn values(&self, metric: &str, subject: &str, parameter: &str) -> &[f64] {
        let found = self.0.iter().find(|((m, s, p), _)| {
            (m.as_str(), s.as_str(), p.as_str()) == (metric, subject, parameter)
        });
        found.map_or(&[], |(_, values)| values)
    }

    /// Prints them as a table.
    pub fn print(&self) {
        println!(
            "{:34} {:12} {:14} {:>6} {:>10} {:>10} {:>10}",
            "METRIC", "SUBJECT", "", "N", "MEDIAN", "P95", "P99"
        );
        for ((metric, subject, parameter), values) in &self.0 {
            let (count, median) = (values.len(), median(values));
            let (p95, p99) = (percentile(values, 0.95), percentile(values, 0.99));
            println!(
                "{metric:34} {subject:12} {parameter:14} {count:6} {median:10.2} {p95:10.2} {p99:10.2}"
            );
        }
    }
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The smallest value that at least this share of the values does not exceed (nearest rank).
#[must_use]
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(percentile(&values, 0.95), 5.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn what_was_written_can_be_taken_in() {
        let mut samples = Samples::default();
        samples.add("request_us", "hearth", "h1", 1.5);
        samples.add("request_us", "hearth", "h1", 2.5);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw.csv");
        samples.write_csv(&path).unwrap();
        let mut others = Samples::default();
        others.add("request_us", "nginx", "h1", 3.0);
        others.read_csv(&path).unwrap();
        samples.add("request_us", "nginx", "h1", 3.0);
        assert_eq!(
            Value::Object(others.summary()),
            Value::Object(samples.summary())
        );
        fs::write(&path, "metric,subject\nx,y\n").unwrap();
        assert!(others.read_csv(&path).is_err());
    }

    #[test]
    fn the_first_parameter_stands_for_its_subject() {
        let mut samples = Samples::default();
        for value in [3.0, 1.0, 2.0] {
            samples.add("spawn_to_running_ms", "hearth", "256 MiB", value);
        }
        samples.add("spawn_to_running_ms", "hearth", "2048 MiB", 9.0);
        samples.add("spawn_to_running_ms", "qemu", "256 MiB", 7.0);
        let of = |median: f64, p95: f64, n: usize| json!({"median": median, "p95": p95, "p99": p95, "n": n});
        let expected = json!({"spawn_to_running_ms": {
            "hearth": of(2.0, 3.0, 3),
            "hearth 256 MiB": of(2.0, 3.0, 3),
            "hearth 2048 MiB": of(9.0, 9.0, 1),
            "qemu": of(7.0, 7.0, 1),
            "qemu 256 MiB": of(7.0, 7.0, 1),
        }});
        assert_eq!(Value::Object(samples.summary()), expected);
    }
}
