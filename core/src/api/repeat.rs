//! The header by which a write that is sent again is known.

use super::HEADER_IDEMPOTENCY_KEY;
use super::error::{ApiError, Code};
use alloc::format;
use alloc::string::String;

/// Longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Reads the `Idempotency-Key` out of all its lines; `None` without one.
///
/// # Errors
/// 400 `invalid_request` for a key that is not 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] visible ASCII characters, or that comes
/// more than once.
///
/// # Examples
/// ```
/// use headwater_core::api::idempotency_key;
/// assert_eq!(idempotency_key([&b"order-17"[..]]), Ok(Some("order-17")));
/// assert!(idempotency_key([&b"a b"[..]]).is_err());
/// ```
pub fn idempotency_key<'h>(lines: impl IntoIterator<Item = &'h [u8]>) -> Result<Option<&'h str>, ApiError> {
    let invalid = |why: String| Err(ApiError::new(Code::InvalidRequest, format!("{HEADER_IDEMPOTENCY_KEY} {why}")));
    let mut lines = lines.into_iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return invalid("is given twice".into());
    }
    let bytes = line.len();
    if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&bytes) {
        return invalid(format!("has {bytes} bytes, 1 to {IDEMPOTENCY_KEY_BYTES_MAX} are allowed"));
    }
    match core::str::from_utf8(line).ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(key) => Ok(Some(key)),
        None => invalid("has a character that is no visible ASCII".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_of_visible_ascii() {
        assert_eq!(idempotency_key([]), Ok(None));
        let longest = [b'k'; IDEMPOTENCY_KEY_BYTES_MAX];
        for key in [&b"a"[..], b"!~\"'\\", &longest] {
            assert_eq!(idempotency_key([key]).unwrap().map(str::as_bytes), Some(key));
        }
        let long = [b'k'; IDEMPOTENCY_KEY_BYTES_MAX + 1];
        for (lines, words) in [
            (&[&b""[..]][..], "0 bytes"),
            (&[&long], "256 bytes"),
            (&[b"a b"], "visible"),
            (&[b"a\tb"], "visible"),
            (&["é".as_bytes()], "visible"),
            (&[b"\xff"], "visible"),
            (&[b"a", b"a"], "twice"),
        ] {
            let error = idempotency_key(lines.iter().copied()).unwrap_err();
            assert!(
                error.code == Code::InvalidRequest && error.message.contains(words),
                "{lines:?}: {}",
                error.message
            );
        }
    }
}
