//! Instants as the API writes them.

use alloc::string::{String, ToString as _};

/// Unix ms as RFC 3339 in UTC with three decimals: `2025-11-20T14:46:40.000Z`.
///
/// The calendar is the proleptic Gregorian one; days are split by the method of Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
///
/// # Examples
/// ```
/// assert_eq!(headwater_core::api::rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
/// ```
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days since 0000-03-01, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let mut text = String::with_capacity(24);
    push_digits::<4>(&mut text, year, '-');
    push_digits::<2>(&mut text, month, '-');
    push_digits::<2>(&mut text, day, 'T');
    push_digits::<2>(&mut text, hour, ':');
    push_digits::<2>(&mut text, minute, ':');
    push_digits::<2>(&mut text, second, '.');
    push_digits::<3>(&mut text, ms % 1_000, 'Z');
    text
}

/// Reads what [`rfc3339`] writes, `2025-11-20T14:46:40.000Z`, as Unix ms; `None` for anything else, a day or hour that there
/// is not included.
pub fn unix_ms(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "."), (23, "Z")];
    if text.len() != 24 || marks.iter().any(|&(at, mark)| text.get(at..at + 1) != Some(mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from 0000-03-01, so that the leap day is the last one of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    // A day that its month does not have, or an hour that no day has, would be another time.
    Some(seconds * 1_000 + number(20, 23)?).filter(|&ms| rfc3339(ms) == text)
}

/// Appends a number of at least `DIGITS` digits, and what is behind it. Every entry of every read has these, so they are
/// spared the formatter.
fn push_digits<const DIGITS: usize>(text: &mut String, number: u64, behind: char) {
    let (mut digits, mut left) = ([0; DIGITS], number);
    for digit in digits.iter_mut().rev() {
        (*digit, left) = (b'0' + (left % 10) as u8, left / 10);
    }
    if left > 0 {
        text.push_str(&left.to_string());
    }
    text.extend(digits.map(char::from));
    text.push(behind);
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, unix_ms};

    #[test]
    fn writes_known_instants() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_763_650_000_000, "2025-11-20T14:46:40.000Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "10000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn reads_back_what_the_api_writes() {
        for ms in [0, 951_827_696_789, 1_709_164_800_001, 1_763_650_000_000, 4_102_444_799_999] {
            assert_eq!(unix_ms(&rfc3339(ms)), Some(ms));
        }
        let mut ms = 7;
        while ms < 4_102_444_800_000 {
            assert_eq!(unix_ms(&rfc3339(ms)), Some(ms));
            ms += 86_399_999 * 3;
        }
        for text in ["2026-02-30T00:00:00.000Z", "2026-02-01T25:00:00.000Z", "2026-02-01T23:60:00.000Z"] {
            assert_eq!(unix_ms(text), None, "{text}");
        }
        for text in ["", "2025-11-20", "2025-11-20T14:46:40Z", "2025-13-20T14:46:40.000Z", "+025-11-20T14:46:40.000Z"] {
            assert_eq!(unix_ms(text), None, "{text}");
        }
    }
}
