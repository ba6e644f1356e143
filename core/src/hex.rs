//! Hashes and keys as text: lower-case hex digits, and no other spelling of them.

use alloc::string::String;

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// What a byte is worth as a digit; [`NO_DIGIT`] for one that is none.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 1 << 4;

/// 32 bytes from 64 lower-case hex digits.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    // Every request does this: no branch for each digit.
    let mut seen = 0;
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = [digits[0], digits[1]].map(|digit| VALUES[usize::from(digit)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < NO_DIGIT).then_some(bytes)
}

/// Two lower-case hex digits for each byte.
pub fn to_hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let bytes: [u8; 32] = core::array::from_fn(|index| (index * 37) as u8);
        let text = to_hex(&bytes);
        assert!(text.starts_with("00254a6f"), "{text}");
        assert_eq!(from_hex(&text), Some(bytes));
        for other in [&text[1..], "", &text.replace('a', "A"), &text.replace('4', "g"), &alloc::format!("{text}0")] {
            assert_eq!(from_hex(other), None, "{other}");
        }
    }
}
