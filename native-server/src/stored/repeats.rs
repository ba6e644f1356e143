//! Writes that may be sent again, as a baseline carries them: their records may be trimmed.

use super::Beside;
use crate::wal::ReplayRefused;
use headwater_core::position::Position;
use headwater_core::repeats::{Answered, Mark, Repeats};
use serde::{Deserialize, Serialize};

/// Bytes after which a piece is handed out: it is longer by one write at most.
const PIECE_BYTES: usize = 256 << 10;

/// One write and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repeatable {
    req: String,
    epoch: u64,
    seq: u64,
    timestamp: u64,
    versions: Vec<u64>,
}

impl Repeatable {
    fn of(mark: Mark, answered: &Answered) -> Self {
        let Answered { position: Position { epoch, seq }, timestamp, versions } = answered.clone();
        Self { req: mark.to_string(), epoch, seq, timestamp, versions }
    }

    pub(super) fn read(self) -> Result<(Mark, Answered), ReplayRefused> {
        let Self { req, epoch, seq, timestamp, versions } = self;
        Ok((req.parse()?, Answered { position: Position { epoch, seq }, timestamp, versions }))
    }
}

/// The next piece of what is remembered of writes behind `after` and up to `through`, a JSON object a line, and the seq of
/// the last one in it; `None` behind the last.
pub(crate) fn repeats_piece(repeats: &Repeats, after: u64, through: u64) -> Option<(Vec<u8>, u64)> {
    let (mut text, mut last) = (Vec::new(), after);
    for (mark, answered) in repeats.between(after, through) {
        let beside = Beside::Repeatable(Repeatable::of(mark, answered));
        serde_json::to_writer(&mut text, &beside).expect("texts and numbers serialise");
        text.push(b'\n');
        last = answered.position.seq;
        if text.len() >= PIECE_BYTES {
            break;
        }
    }
    (!text.is_empty()).then_some((text, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_carry_each_write_up_to_the_seq_once() {
        let mut repeats = Repeats::default();
        let answered = |seq: u64| Answered {
            position: Position { epoch: 5, seq },
            timestamp: seq * 10,
            versions: (0..seq % 3).collect(),
        };
        let mark = |seq: u64| Mark::new("a", &seq.to_string(), &[]);
        for seq in 1..=5_000 {
            repeats.note(mark(seq), answered(seq));
        }
        assert_eq!(repeats_piece(&repeats, 4_000, 4_000), None);
        let (mut found, mut after, mut pieces) = (Vec::new(), 0, 0);
        while let Some((text, last)) = repeats_piece(&repeats, after, 4_000) {
            assert!(text.len() < PIECE_BYTES + 1_000 && text.ends_with(b"\n"));
            for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let Beside::Repeatable(repeatable) = serde_json::from_slice(line).unwrap() else { panic!("another") };
                found.push(repeatable.read().unwrap());
            }
            (after, pieces) = (last, pieces + 1);
        }
        assert!(pieces > 1);
        assert_eq!(found, (1..=4_000).map(|seq| (mark(seq), answered(seq))).collect::<Vec<_>>());
    }
}
