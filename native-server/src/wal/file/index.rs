//! Where records are, roughly: one mark every 64 KiB, so that a stream's place is found by reading at most that much.

/// Distance between marks.
const MARK_BYTES: u64 = 64 * 1024;

/// Marks in the order of seq and offset. 16 bytes for each 64 KiB of log.
#[derive(Debug, Default)]
pub(super) struct Index {
    marks: Vec<(u64, u64)>,
}

impl Index {
    /// Notes that the frame of record `seq` begins at `offset`, if the last mark is far enough away. Both rise.
    pub(super) fn add(&mut self, seq: u64, offset: u64) {
        if self.marks.last().is_none_or(|&(_, last)| offset >= last + MARK_BYTES) {
            self.marks.push((seq, offset));
        }
    }

    /// Forgets what lies at `offset` and behind.
    pub(super) fn truncate(&mut self, offset: u64) {
        self.marks.truncate(self.marks.partition_point(|&(_, marked)| marked < offset));
    }

    /// Offset of a frame at or before the first record numbered `seq` or more; `None` when there are no records.
    pub(super) fn offset(&self, seq: u64) -> Option<u64> {
        let after = self.marks.partition_point(|&(marked, _)| marked <= seq);
        self.marks.get(after.saturating_sub(1)).map(|&(_, offset)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_mark_at_or_before_each_seq() {
        let mut index = Index::default();
        assert_eq!(index.offset(5), None);
        for seq in 10..1000 {
            index.add(seq, seq * 1000);
        }
        assert_eq!(index.offset(1), Some(10_000));
        for seq in 10..1000 {
            let offset = index.offset(seq).unwrap();
            assert!(offset <= seq * 1000 && seq * 1000 - offset <= MARK_BYTES + 1000, "{seq}: {offset}");
        }
        index.truncate(500_000);
        assert!(index.offset(900).is_some_and(|offset| (400_000..500_000).contains(&offset)));
        index.truncate(0);
        assert_eq!(index.offset(900), None);
    }
}
