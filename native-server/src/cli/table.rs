//! Aligned tables, written as the rows come.

use super::paint::{Paint, visible};
use std::borrow::Cow;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows that are waited for to find the columns' widths; later ones take these.
const MEASURED_ROWS: usize = 200;
/// A column is not made wider than this for the sake of one cell, which then stands out.
const WIDTH_MAX: usize = 40;
/// The last column is not cut shorter than this.
const LAST_WIDTH_MIN: usize = 20;
const GAP: &str = "  ";

/// A table whose last column is cut to the width of the terminal.
pub(super) struct Table {
    titles: &'static [&'static str],
    /// Which columns hold numbers, to stand at the right.
    numbers: &'static [usize],
    paint: Paint,
    width: usize,
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
    begun: bool,
}

impl Table {
    pub(super) fn new(titles: &'static [&'static str], numbers: &'static [usize], paint: Paint, width: usize) -> Self {
        let widths = titles.iter().map(|title| title.width()).collect();
        Self { titles, numbers, paint, width, widths, waiting: Vec::new(), begun: false }
    }

    /// Adds a row of as many cells as there are titles.
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N], out: &mut impl Write) -> io::Result<()> {
        let cells = cells.map(|cell| visible(cell).into_owned());
        if self.begun {
            return self.write_row(&cells, out);
        }
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.width().min(WIDTH_MAX));
        }
        self.waiting.push(cells.into());
        if self.waiting.len() < MEASURED_ROWS { Ok(()) } else { self.finish(out) }
    }

    /// Writes what is still waiting; the titles too, unless there was no row at all.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if !self.begun && !waiting.is_empty() {
            self.begun = true;
            let titles: Vec<_> = self.titles.iter().map(|&title| String::from(title)).collect();
            let line = self.line(&titles);
            writeln!(out, "{}", self.paint.dim(line.trim_end()))?;
        }
        waiting.iter().try_for_each(|cells| self.write_row(cells, out))
    }

    fn write_row(&self, cells: &[String], out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.line(cells).trim_end())
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                line.push_str(GAP);
            }
            let gap = self.widths[index].saturating_sub(cell.width());
            if self.numbers.contains(&index) {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(cell);
            } else if index + 1 == cells.len() {
                let left = self.width.saturating_sub(line.width()).max(LAST_WIDTH_MIN);
                line.push_str(&cut(cell, left));
            } else {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', gap));
            }
        }
        line
    }
}

/// The beginning of `text` that fits into `width` columns, with `…` where something is left out.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    // Every column takes at least one byte of UTF-8, so a short text needs no measuring.
    if text.len() <= width || text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let fits = |&(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used < width
    };
    let end = text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[[&str; 3]], width: usize) -> String {
        let mut table = Table::new(&["KEY", "SEQ", "VALUE"], &[1], Paint::of(false), width);
        let mut out = Vec::new();
        rows.iter().try_for_each(|row| table.row(*row, &mut out)).unwrap();
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_also_for_wide_letters() {
        let rows = [["a", "1", "true"], ["日本", "1000", "{}"]];
        assert_eq!(shown(&rows, 80), "KEY    SEQ  VALUE\na        1  true\n日本  1000  {}\n");
    }

    #[test]
    fn the_last_column_ends_with_the_terminal() {
        let value = "x".repeat(100);
        let text = shown(&[["a", "1", &value]], 40);
        assert!(text.lines().all(|line| line.width() <= 40) && text.contains("x…"), "{text}");
    }

    #[test]
    fn no_rows_write_nothing() {
        assert_eq!(shown(&[], 80), "");
    }

    #[test]
    fn rows_are_written_before_the_last_has_come() {
        let mut table = Table::new(&["A"], &[], Paint::of(false), 80);
        let mut out = Vec::new();
        for _ in 0..MEASURED_ROWS {
            table.row(["x"], &mut out).unwrap();
        }
        assert_eq!(out.len(), 2 * (MEASURED_ROWS + 1));
        table.row(["y"], &mut out).unwrap();
        assert!(out.ends_with(b"y\n"));
    }

    #[test]
    fn cuts_between_letters() {
        for (text, width, cut_to) in [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 4, "日…"), ("é☃é", 2, "é…")]
        {
            assert_eq!(cut(text, width), cut_to);
        }
    }
}
