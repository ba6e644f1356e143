//! A rate as it is set: so many in a second or a minute, and how many at once.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// Highest number in a rate.
const MOST: u32 = 1_000_000;

/// So many in a time, of which so many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per_minute: bool,
    pub(super) burst: NonZeroU32,
}

impl Rate {
    /// Time until one more is allowed.
    pub(super) fn every(self) -> Duration {
        Duration::from_secs(if self.per_minute { 60 } else { 1 }) / self.count.get()
    }
}

impl FromStr for Rate {
    type Err = String;

    /// Reads `100/s`, `30/m` or, with another burst than one second's or minute's worth, `100/s:500`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("expected a rate: 100/s, 30/m, 100/s:500 (up to 500 at once), each number from 1 to {MOST}");
        let number = |text: &str| {
            let number: u32 = text.parse().ok().filter(|&number| number <= MOST)?;
            NonZeroU32::new(number)
        };
        let (rate, burst) = text.split_once(':').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let (count, unit) = rate.split_once('/').ok_or_else(expected)?;
        let per_minute = match unit {
            "s" => false,
            "m" => true,
            _ => return Err(expected()),
        };
        let count = number(count).ok_or_else(expected)?;
        let burst = burst.map_or(Some(count), number).ok_or_else(expected)?;
        Ok(Self { count, per_minute, burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.count, if self.per_minute { "m" } else { "s" }, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_and_is_shown() {
        for (text, shown, every_ms) in
            [("100/s", "100/s:100", 10), ("30/m", "30/m:30", 2_000), ("5/s:20", "5/s:20", 200)]
        {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string(), rate.every()), (shown.into(), Duration::from_millis(every_ms)));
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        for text in ["", "5", "5/h", "0/s", "5/s:0", "5/s:", "-1/s", "1.5/s", "1000001/s", "5/s:x"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
