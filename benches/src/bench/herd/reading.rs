//! A stream that is counted and not decoded, up to the line that ends its baseline.

use anyhow::bail;
use headwater_core::command::{Line, Steer, Trust, decode};
use memchr::{memchr, memrchr};
use std::time::Duration;

/// More than READY and the PING behind it take.
const END_BYTES: usize = 4 << 10;

/// Counts the bytes of a stream behind its first line, and holds its end.
#[derive(Default)]
pub(super) struct Reading {
    behind_hello: bool,
    bytes: u64,
    end: Vec<u8>,
}

/// What a stream ends with so far.
pub(super) enum End {
    None,
    /// READY came: its seq, and so many bytes with it.
    Ready {
        seq: u64,
        bytes: u64,
    },
    /// END came, which says how long to wait.
    Told(Duration),
}

impl Reading {
    pub(super) fn push(&mut self, mut body: &[u8]) {
        if !self.behind_hello {
            let Some(at) = memchr(b'\n', body) else { return };
            self.behind_hello = true;
            body = &body[at + 1..];
        }
        self.bytes += body.len() as u64;
        let kept = END_BYTES.saturating_sub(body.len()).min(self.end.len());
        self.end.drain(..self.end.len() - kept);
        self.end.extend_from_slice(&body[body.len().saturating_sub(END_BYTES)..]);
    }

    /// Looks through the last lines that are whole.
    pub(super) fn end(&self) -> anyhow::Result<End> {
        let whole = memrchr(b'\n', &self.end).map_or(0, |at| at + 1);
        // The first may have lost its beginning, but for a stream's very first.
        let lost =
            if self.bytes > self.end.len() as u64 { memchr(b'\n', &self.end).map_or(whole, |at| at + 1) } else { 0 };
        let mut at = lost;
        while at < whole {
            let length = memchr(b'\n', &self.end[at..whole]).expect("what is whole ends a line");
            let line = &self.end[at..at + length];
            at += length + 1;
            if line.starts_with(b"{\"type\":\"READY\"") || line.starts_with(b"{\"type\":\"END\"") {
                let behind = (self.end.len() - at) as u64;
                return match decode(line, Trust::Checked)? {
                    Line::Steer(Steer::Ready(ready)) => Ok(End::Ready { seq: ready.seq, bytes: self.bytes - behind }),
                    Line::Steer(Steer::End(end)) => Ok(End::Told(Duration::from_millis(end.retry_ms))),
                    line => bail!("neither READY nor END: {line:?}"),
                };
            }
        }
        Ok(End::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "{\"type\":\"HELLO\"}\n";

    fn read(pieces: &[&str]) -> anyhow::Result<End> {
        let mut reading = Reading::default();
        for piece in pieces {
            reading.push(piece.as_bytes());
        }
        reading.end()
    }

    #[test]
    fn ready_is_found_in_any_split_and_what_is_behind_it_does_not_count() {
        let zero = headwater_core::digest::Digest::EMPTY;
        let entries = format!("{{\"type\":\"ENTRY\",\"value\":\"{}\"}}\n", "v".repeat(100)).repeat(100);
        let ready = format!(
            "{{\"type\":\"READY\",\"seq\":7,\"collections\":1,\"digest\":\"xxh3:{zero}\",\"epochs\":[{{\"epoch\":5,\"first\":1}}]}}\n"
        );
        let text = format!("{HELLO}{entries}{ready}{{\"type\":\"PING\"");
        let expected = (entries.len() + ready.len()) as u64;
        for at in (0..text.len()).step_by(7) {
            let End::Ready { seq, bytes } = read(&[&text[..at], &text[at..]]).unwrap() else { panic!("split at {at}") };
            assert_eq!((seq, bytes), (7, expected), "split at {at}");
        }
        assert!(matches!(read(&[HELLO, &entries]).unwrap(), End::None));
    }

    #[test]
    fn end_says_when_to_come_back() {
        let end = "{\"type\":\"END\",\"reason\":\"retry\",\"detail\":\"\",\"retryMs\":500,\"parents\":[]}\n";
        let End::Told(wait) = read(&[HELLO, end]).unwrap() else { panic!("{end}") };
        assert_eq!(wait, Duration::from_millis(500));
    }
}
