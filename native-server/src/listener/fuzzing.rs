//! What the fuzz target `framing` calls. Only with the feature `fuzzing`.

use super::framing::{Framing, HeadLimits, Step, Violation};

/// Small enough for a fuzzer to go beyond each.
const LIMITS: HeadLimits = HeadLimits { line_bytes_max: 64, bytes_max: 256, fields_max: 8 };

/// What was seen of a connection's bytes.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Where each head begins and ends.
    heads: Vec<(usize, usize)>,
    /// What was wrong behind them; `None` where nothing was.
    refused: Option<Violation>,
}

/// Reads `data` in pieces of `piece` bytes.
fn seen(data: &[u8], piece: usize) -> Seen {
    let mut framing = Framing::new(LIMITS);
    let (mut at, mut there) = (0, 0);
    let mut heads = Vec::new();
    loop {
        let step = match framing.next(&data[at..there]) {
            Ok(step) => step,
            Err(violation) => return Seen { heads, refused: Some(violation) },
        };
        at += match step {
            Step::Head(count) => {
                heads.push((at, at + count));
                count
            }
            Step::Body(count) | Step::Skip(count) => count,
            Step::More if there == data.len() => return Seen { heads, refused: None },
            Step::More => {
                there = (there + piece).min(data.len());
                0
            }
        };
        assert!(at <= there, "no more is handed on than there is");
    }
}

fn is_length(violation: Violation) -> bool {
    matches!(violation, Violation::LineTooLong(_) | Violation::HeadTooLong(_) | Violation::TooManyFields(_))
}

/// Reads any bytes as a connection's. They must be read alike in whatever pieces they come, and what is taken for a head
/// another reader of HTTP must take for the same. The first byte says in what pieces.
///
/// # Panics
/// When something does not hold.
pub fn framing(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let whole = seen(data, data.len().max(1));
    let pieces = seen(data, usize::from(first).max(1));
    assert_eq!(pieces.heads, whole.heads);
    match (pieces.refused, whole.refused) {
        // Of a head that is too long and wrong in another way too, what is there first decides.
        (Some(one), Some(other)) if is_length(one) || is_length(other) => {}
        (one, other) => assert_eq!(one, other),
    }
    for (start, end) in whole.heads {
        let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields_max];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&data[start..end]);
        assert_eq!(parsed, Ok(httparse::Status::Complete(end - start)), "another reader sees another head");
        let named = |name: &str| request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
        // Only since 1.1 a request has to have one; the service wants one of 1.0 too.
        assert!(named("host") == 1 || (named("host") == 0 && request.version == Some(0)));
        assert!(named("content-length") + named("transfer-encoding") <= 1);
    }
}
