//! Seeded randomness: every test that draws prints its seed, and `HEADWATER_SEED` replays it.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (xorshift64*), the same sequence for the same seed everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `HEADWATER_SEED`, else by the clock; says which on standard output, which cargo shows for a failed test.
    pub fn announced(what: &str) -> Self {
        let seed = match env::var("HEADWATER_SEED") {
            Ok(text) => text.parse().expect("HEADWATER_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
                now.as_micros() as u64
            }
        };
        println!("{what}: HEADWATER_SEED={seed}");
        Self::new(seed)
    }

    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that never leaves itself.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).max(1))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.bits() >> 16) % bound
    }

    /// A generator of its own for a task that runs beside this one.
    pub fn split(&mut self) -> Self {
        Self::new(self.bits())
    }
}
