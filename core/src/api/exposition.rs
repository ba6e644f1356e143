//! Numbers as Prometheus reads them: its text format 0.0.4, which every version of it takes.
//!
//! Written here rather than by a client library: the counts are atomics already, core has no `std`, and the whole format
//! is a name, labels and a number a line.

use super::histogram::Histogram;
use alloc::string::String;
use core::fmt::{Display, Write as _};

/// The media type of [`Exposition`].
pub const CONTENT_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the node starts again.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Families of numbers, written one behind the other.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family: what follows are its numbers.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, word, help);
        Family { text: &mut self.0, name: name.into() }
    }

    /// A family of one number without labels.
    pub fn number(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).number(&[], value);
    }

    /// A distribution of durations.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let (buckets, sum_ns) = histogram.read();
        let mut family = Family { text: &mut self.0, name: String::from(name) + "_bucket" };
        let mut count = 0;
        for (bound, within) in buckets {
            count += within;
            family.number(&[("le", bound)], count);
        }
        self.line(&(String::from(name) + "_sum"), &seconds(sum_ns));
        self.line(&(String::from(name) + "_count"), &count);
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', " ");
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a text takes everything");
    }

    fn line(&mut self, name: &str, value: &dyn Display) {
        writeln!(self.0, "{name} {value}").expect("a text takes everything");
    }
}

/// See [`Exposition::family`].
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: String,
}

impl Family<'_> {
    /// Adds a number with these labels, which no other of the family has.
    pub fn number(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(&self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in text.chars() {
                match c {
                    '"' | '\\' => self.text.extend(['\\', c]),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{close} {value}").expect("a text takes everything");
    }
}

/// Nanoseconds as a number of seconds.
fn seconds(ns: u64) -> String {
    decimal(ns, 1_000_000_000)
}

/// Milliseconds as a number of seconds.
pub fn seconds_of_ms(ms: u64) -> String {
    decimal(ms, 1_000)
}

fn decimal(number: u64, unit: u64) -> String {
    let (whole, rest) = (number / unit, number % unit);
    let mut text = String::new();
    let digits = unit.ilog10() as usize;
    write!(text, "{whole}.{rest:0digits$}").expect("a text takes everything");
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_its_head_and_its_numbers() {
        let mut text = Exposition::default();
        text.number("a_total", Kind::Counter, "What\na \\ is.", 7);
        let mut family = text.family("b", Kind::Gauge, "B.");
        family.number(&[("child", "x\"y\\z\nw"), ("n", "1")], 1.5);
        family.number(&[("child", "é")], 2);
        let expected = "# HELP a_total What a \\\\ is.\n# TYPE a_total counter\na_total 7\n\
                        # HELP b B.\n# TYPE b gauge\n\
                        b{child=\"x\\\"y\\\\z\\nw\",n=\"1\"} 1.5\nb{child=\"é\"} 2\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_time_is_in_seconds_and_exact() {
        for (ms, text) in [(0, "0"), (5, "0.005"), (1_500, "1.5"), (20_000, "20"), (u64::MAX, "18446744073709551.615")]
        {
            assert_eq!(seconds_of_ms(ms), text);
        }
        assert_eq!(seconds(1_000_000_001), "1.000000001");
    }

    #[test]
    fn a_histograms_buckets_hold_those_before_them() {
        let histogram = Histogram::new();
        for ns in [0, 499_999, 500_000, 500_001, 3_000_000_000, 60_000_000_000] {
            histogram.observe(core::time::Duration::from_nanos(ns));
        }
        let mut text = Exposition::default();
        text.histogram("h_seconds", "H.", &histogram);
        let text = text.finish();
        for line in [
            "# TYPE h_seconds histogram",
            "h_seconds_bucket{le=\"0.0005\"} 3",
            "h_seconds_bucket{le=\"0.001\"} 4",
            "h_seconds_bucket{le=\"2.5\"} 4",
            "h_seconds_bucket{le=\"10\"} 5",
            "h_seconds_bucket{le=\"+Inf\"} 6",
            "h_seconds_sum 63.0015",
            "h_seconds_count 6",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
