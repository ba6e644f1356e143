//! A reader of Prometheus's text format that is stricter than Prometheus: each family is told of once, before its numbers,
//! and no series comes twice.

use std::collections::{BTreeMap, BTreeSet};

/// A series: its name, and its labels in their order.
pub type Series = (String, Vec<(String, String)>);

/// What an exposition says.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Families by name, with their types.
    pub families: BTreeMap<String, String>,
    /// The number of each series.
    pub series: BTreeMap<Series, f64>,
}

impl Numbers {
    /// Reads a whole exposition.
    ///
    /// # Panics
    /// If it breaks the format.
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let (mut numbers, mut helped, mut family) = (Self::default(), BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no words: {line}"));
                assert!(help.len() > 5 && helped.insert(name.to_owned()), "{line}");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(name == family && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(numbers.families.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                let (series, value) = series(line);
                let is_histogram = numbers.families.get(&family).is_some_and(|kind| kind == "histogram");
                let parts = ["_bucket", "_sum", "_count"].map(|part| format!("{family}{part}"));
                let fits = if is_histogram { parts.contains(&series.0) } else { series.0 == family };
                assert!(fits && numbers.families.contains_key(&family), "out of its family: {line}");
                assert!(numbers.series.insert(series, value).is_none(), "twice: {line}");
            }
        }
        numbers.look_at_histograms();
        numbers
    }

    /// The number of this name and these labels.
    pub fn number(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// The names under which a number is found, buckets and sums among them.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(|(name, _)| &**name).collect()
    }

    /// All series of a name.
    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = (&'n [(String, String)], f64)> {
        self.series.iter().filter(move |((found, _), _)| found == name).map(|((_, labels), value)| (&**labels, *value))
    }

    fn look_at_histograms(&self) {
        for (name, _) in self.families.iter().filter(|(_, kind)| *kind == "histogram") {
            let bound = |text: &str| if text == "+Inf" { f64::INFINITY } else { text.parse().expect("a bound") };
            let bucket = format!("{name}_bucket");
            let mut buckets: Vec<_> = self.all(&bucket).map(|(labels, count)| (bound(&labels[0].1), count)).collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name}: {buckets:?}");
            let count = self.number(&format!("{name}_count"), &[]);
            assert_eq!(buckets.last().map(|last| (last.0, Some(last.1))), Some((f64::INFINITY, count)), "{name}");
        }
    }
}

fn series(line: &str) -> (Series, f64) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !is_name(c)).unwrap_or_else(|| panic!("no number: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(name.starts_with(|c: char| c.is_ascii_alphabetic()), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            let (value, behind) = quoted(behind, line);
            labels.push((label.to_owned(), value));
            if let Some(behind) = behind.strip_prefix('}') {
                rest = behind;
                break;
            }
            rest = behind.strip_prefix(',').unwrap_or_else(|| panic!("no comma: {line}"));
        }
    }
    let value = rest.strip_prefix(' ').and_then(|value| value.parse().ok());
    ((name.to_owned(), labels), value.unwrap_or_else(|| panic!("no number: {line}")))
}

fn quoted<'t>(text: &'t str, line: &str) -> (String, &'t str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                _ => panic!("no escape: {line}"),
            },
            c => value.push(c),
        }
    }
    panic!("not closed: {line}")
}
