//! Times in the words of the console page. A delay is never shown smaller than it is.

use headwater_core::api::rfc3339;

/// A span of time in ms, rounded up: `840 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(ms: u64) -> String {
    let s = ms.div_ceil(1_000);
    let min = s.div_ceil(60);
    let h = min.div_ceil(60);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => {
            let tenths = ms.div_ceil(100);
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        _ if s < 60 => format!("{s} s"),
        _ if s < 3_600 => format!("{} min {} s", s / 60, s % 60),
        _ if min < 1_440 => format!("{} h {} min", min / 60, min % 60),
        _ => format!("{} d {} h", h / 24, h % 24),
    }
}

/// How long ago `then` was at `now`, both Unix ms, coarsely: `now`, `12 s ago`, `3 h ago`.
pub(super) fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) / 1_000 {
        0..2 => "now".into(),
        s @ 2..60 => format!("{s} s ago"),
        s @ 60..3_600 => format!("{} min ago", s / 60),
        s @ 3_600..86_400 => format!("{} h ago", s / 3_600),
        s => format!("{} d ago", s / 86_400),
    }
}

/// Reads what the API writes as `updatedAt`, `2025-11-20T14:46:40.000Z`, as Unix ms; `None` for anything else.
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn rounds_a_lag_up() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (3_101, "3.2 s"),
            (9_901, "10.0 s"),
            (59_001, "1 min 0 s"),
            (250_000, "4 min 10 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(span(ms), text, "{ms}");
        }
    }

    #[test]
    fn tells_the_past_coarsely() {
        let now = 1_000_000_000_000;
        for (before_ms, text) in
            [(0, "now"), (12_345, "12 s ago"), (61_000, "1 min ago"), (7_200_000, "2 h ago"), (864_000_000, "10 d ago")]
        {
            assert_eq!(ago(now, now - before_ms), text);
        }
        assert_eq!(ago(now, now + 5_000), "now", "another machine's clock may be ahead");
    }
}
