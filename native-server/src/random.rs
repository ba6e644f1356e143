//! Random bits from the operating system.

use headwater_core::id::Id;

/// Draws `N` bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random source works once the system is up");
    bytes
}

/// Draws 64 bits.
pub(crate) fn bits() -> u64 {
    u64::from_le_bytes(bytes())
}

/// Draws an id.
pub(crate) fn id() -> Id {
    Id::from_bytes(bytes())
}

/// Draws a secret of 256 bits, as text.
pub(crate) fn secret() -> String {
    bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}
