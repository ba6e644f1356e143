//! Time as the shell hands it in.

/// One instant on the two clocks a node needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Unix time in ms: may jump, is compared with other nodes' times.
    pub wall_ms: u64,
    /// Ms since any fixed moment on a clock that never jumps and, where the platform has one, counts sleep.
    pub mono_ms: u64,
}
