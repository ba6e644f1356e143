//! How far a long reading is, on a terminal's last line.

use super::super::paint::Paint;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shorter work is not worth a bar.
const AFTER: Duration = Duration::from_millis(400);
/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: usize = 30;

/// A bar on stderr, if that is a terminal.
pub(super) struct Bar {
    total: u64,
    done: u64,
    begun: Instant,
    drawn: Option<Instant>,
    paint: Option<Paint>,
}

impl Bar {
    /// A bar of `total` bytes.
    pub(super) fn new(total: u64) -> Self {
        let paint = io::stderr().is_terminal().then(|| Paint::of(true));
        Self { total, done: 0, begun: Instant::now(), drawn: None, paint }
    }

    /// So many bytes more are read.
    pub(super) fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let Some(paint) = self.paint else { return };
        let now = Instant::now();
        let since = self.drawn.map_or(now.duration_since(self.begun) >= AFTER, |at| now.duration_since(at) >= EVERY);
        if since {
            self.drawn = Some(now);
            let text = drawn(self.done, self.total, now.duration_since(self.begun));
            // Nothing depends on its being seen.
            drop(write!(io::stderr(), "\r\x1b[2K{}", paint.dim(&text)));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            drop(write!(io::stderr(), "\r\x1b[2K"));
        }
    }
}

fn drawn(done: u64, total: u64, since: Duration) -> String {
    let part = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let full = (part * WIDTH as f64) as usize;
    let rate = done as f64 / since.as_secs_f64().max(0.001) / f64::from(1 << 20);
    let (bar, rest) = ("#".repeat(full), "·".repeat(WIDTH - full));
    format!("{bar}{rest} {:3.0} %  {rate:.0} MiB/s", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done_and_never_longer() {
        let second = Duration::from_secs(1);
        assert_eq!(drawn(1 << 20, 2 << 20, second), format!("{}{}  50 %  1 MiB/s", "#".repeat(15), "·".repeat(15)));
        assert!(drawn(3 << 20, 2 << 20, second).starts_with(&format!("{} 100 %", "#".repeat(30))));
        assert!(drawn(0, 0, second).contains("100 %"));
    }
}
