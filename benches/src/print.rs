//! Reports as tables, for a terminal and for docs/performance.md.

use crate::report::{Comparison, Figure, Report, Run, Side, Spread};

const COMPARISON_HEADS: [&str; 9] =
    ["case", "contender", "per s", "p50 us", "p99 us", "CPU us/op", "core used", "ours by it", "required"];
const FIGURE_HEADS: [&str; 4] = ["figure", "median", "least - most", "required"];

/// A report with aligned columns.
pub(crate) fn terminal(report: &Report) -> String {
    let mut out = format!("{} ({})\n", report.title, report.bench);
    for (heads, rows) in tables(report) {
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| rows.iter().map(|row| &row[column][..]).chain([heads[column]]).map(width).max().unwrap_or(0))
            .collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            for (column, (cell, full)) in cells.zip(&widths).enumerate() {
                let space = " ".repeat(full - width(cell));
                let text = if column < 2 && heads.len() > 4 || column < 1 {
                    format!("  {cell}{space}")
                } else {
                    format!("  {space}{cell}")
                };
                out.push_str(&text);
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        };
        line(&mut heads.iter().copied());
        for row in &rows {
            line(&mut row.iter().map(String::as_str));
        }
    }
    for note in &report.notes {
        out.push_str(&format!("  {note}\n"));
    }
    out
}

/// All of a run as Markdown.
pub(crate) fn markdown(run: &Run) -> String {
    let mut out = format!("Machine: {}\n", run.machine);
    for report in &run.benches {
        out.push_str(&format!("\n### {}\n", report.title));
        for (heads, rows) in tables(report) {
            out.push_str(&format!("\n| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len())));
            for row in rows {
                out.push_str(&format!("| {} |\n", row.join(" | ")));
            }
        }
        for note in &report.notes {
            out.push_str(&format!("\n{note}\n"));
        }
    }
    out
}

type Table = (&'static [&'static str], Vec<Vec<String>>);

fn tables(report: &Report) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    if !report.comparisons.is_empty() {
        tables.push((&COMPARISON_HEADS, comparison_rows(&report.comparisons)));
    }
    if !report.figures.is_empty() {
        tables.push((&FIGURE_HEADS, report.figures.iter().map(figure_row).collect()));
    }
    tables
}

/// Ours once for each case, then each reference with the ratio.
fn comparison_rows(comparisons: &[Comparison]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut case = "";
    for comparison in comparisons {
        if case != comparison.case {
            case = &comparison.case;
            rows.push(side_row(case, &comparison.ours, String::new(), String::new()));
        }
        let ratio = spread(&comparison.ratio, 2);
        let required =
            comparison.required.map_or(String::new(), |least| format!(">= {least}{}", mark(comparison.reached())));
        rows.push(side_row("", &comparison.reference, ratio, required));
    }
    rows
}

fn side_row(case: &str, side: &Side, ratio: String, required: String) -> Vec<String> {
    let median = |spread: &Option<Spread>, digits| spread.map_or(String::new(), |spread| number(spread.median, digits));
    let busy = side.busy.map_or(String::new(), |busy| format!("{:.0} %", busy.median * 100.0));
    let per_second = number(side.per_second.median, 0);
    let (p50, p99, cpu) = (median(&side.p50_us, 0), median(&side.p99_us, 0), median(&side.cpu_us, 1));
    vec![case.into(), side.name.clone(), per_second, p50, p99, cpu, busy, ratio, required]
}

fn figure_row(figure: &Figure) -> Vec<String> {
    let digits = if figure.value.median.abs() < 10.0 { 2 } else { 0 };
    let required = figure
        .required_at_most
        .map_or(String::new(), |most| format!("<= {}{}", number(most, 0), mark(figure.reached())));
    let median = format!("{} {}", number(figure.value.median, digits), figure.unit);
    let range = format!("{} - {}", number(figure.value.least, digits), number(figure.value.most, digits));
    vec![figure.name.clone(), median.trim_end().into(), range, required]
}

fn mark(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => " yes",
        Some(false) => " NO",
        None => "",
    }
}

fn spread(spread: &Spread, digits: usize) -> String {
    let of = |value| number(value, digits);
    format!("{} ({} - {})", of(spread.median), of(spread.least), of(spread.most))
}

/// With blanks between thousands.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((&text[..], None), |(whole, rest)| (whole, Some(rest)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(number(1_234_567.0, 0), "1 234 567");
        assert_eq!(number(-123.456, 1), "-123.5");
        assert_eq!(number(0.834, 2), "0.83");
    }

    #[test]
    fn a_missed_requirement_is_seen() {
        let side = Side::of_rates("x", &[1.0]);
        let comparison = Comparison::new("64", (side.clone(), &[1.0]), (side, &[2.0]), Some(0.8));
        let report =
            Report { bench: "get", title: "GET", comparisons: vec![comparison], figures: vec![], notes: vec![] };
        assert!(terminal(&report).contains(">= 0.8 NO"));
    }
}
