//! What the runs are made of: a small generator of numbers, and texts that stores get wrong.

use alloc::format;
use alloc::string::String;
use core::ops::Range;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): the same numbers on every platform for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, which is not empty.
    pub(super) fn among(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// `true` once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.among(0..times) == 0
    }

    /// One of `choices`, which are not empty.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.among(0..choices.len() as u64) as usize]
    }

    /// A key: now and then one that a store could cut, fold, quote or sort wrongly.
    pub(super) fn key(&mut self) -> String {
        match self.among(0..8) {
            0 | 1 => String::from(*self.pick(ODD_KEYS)),
            2 => format!("eu:{}", self.among(0..12)),
            3 if self.once_in(4) => "k".repeat(self.among(1020..1025) as usize),
            _ => format!("key:{:02}", self.among(0..40)),
        }
    }

    /// A value's JSON text without insignificant white space.
    pub(super) fn value(&mut self) -> String {
        match self.among(0..400) {
            0 => format!("\"{}\"", "x".repeat(70_000)),
            // Larger than a row may be where rows are limited to 2 MB.
            1 if self.once_in(4) => format!("\"{}\"", "é\\u0000".repeat(300_000)),
            2..20 => format!("[{}]", "1,".repeat(self.among(0..300) as usize) + "2"),
            _ => match self.pick(VALUES) {
                &"" => format!("{}", self.among(0..1 << 53)),
                text => String::from(*text),
            },
        }
    }

    /// Optional fields of a later release; mostly none.
    pub(super) fn extra(&mut self) -> String {
        match self.among(0..10) {
            0 => format!(r#","expiresAt":{}"#, self.among(0..1 << 53)),
            1 => String::from(r#","labels":["a","\u0000"],"note":"é\n""#),
            _ => String::new(),
        }
    }
}

/// Collections that come and go.
pub(super) const NAMES: &[&str] = &["a", "a.b", "flags", "prices", "_keys", "Z"];

/// In byte order U+FFFF comes before U+10000, in JavaScript's order behind; the two spellings of é are two keys.
const ODD_KEYS: &[&str] = &[
    "\0",
    "a",
    "a\0",
    "a\0b",
    "A",
    "b",
    "\u{7f}",
    "\u{80}",
    "é",
    "e\u{301}",
    "\u{ffff}",
    "\u{10000}",
    "😀",
    "\u{10ffff}",
    "\"\\\"",
    "'; DELETE FROM entries --",
    "%",
    "_",
    "a/../b",
    " ",
    "\n",
    "null",
    "1",
    "1.0",
    "[]",
    "{\"k\":1}",
];

/// `""` stands for a random integer.
const VALUES: &[&str] = &[
    "",
    "",
    "true",
    "null",
    "\"\"",
    "{}",
    "{\"on\":true,\"é\":[1.0e2,-0,665e70]}",
    "1E400",
    "0.1000",
    "\"\\u0000\\n\"",
    "\"\\ud83d\\ude00😀\"",
    "9007199254740993",
    "{\"b\":1,\"a\":2}",
    "\"'); --\"",
];
