//! Times in the words of the console page. A delay is never shown smaller than it is.

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

#[cfg(test)]
mod tests {
    use super::*;

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
