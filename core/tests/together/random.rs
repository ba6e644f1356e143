//! Random choices that a seed repeats.

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): the same numbers on every platform for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// `true` once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, which are not empty.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// Cuts `bytes` into pieces; most often few, now and then single bytes.
pub(crate) fn pieces(bytes: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let longest = match random.below(8) {
        0 => 1,
        1 | 2 => 1 + random.below(60),
        _ => 1 + random.below(100_000),
    };
    // A long text byte by byte takes its time and shows nothing that a short one does not.
    let longest = longest.max(bytes.len() as u64 / 500);
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(longest) as usize));
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces
}
