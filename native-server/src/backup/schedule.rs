//! Times given as five cron fields: minute, hour, day of the month, month, day of the week, in UTC.
//!
//! A field is `*`, a number, a range `1-5`, either with a step `*/15`, or a list of these; months and days of the week also
//! go by their first three English letters, and Sunday is 0 or 7. As in crontab(5), a day counts when either of the two
//! day fields holds, unless one of them begins with `*`. No clock is read here.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;
/// Days that are looked through: 29 February comes within eight years, also over 2100.
const DAYS_MAX: u64 = 366 * 8 + 2;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields must hold, as one of them begins with `*`.
    both_days: bool,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = *fields else {
            return Err(
                "five fields are expected: minute, hour, day, month and day of the week, as in \"0 3 * * *\"".into()
            );
        };
        let weekdays = field(weekday, 0..=7, WEEKDAYS, 0)?;
        let schedule = Self {
            text: fields.join(" "),
            minutes: field(minute, 0..=59, &[], 0)?,
            hours: field(hour, 0..=23, &[], 0)?,
            days: field(day, 1..=31, &[], 0)?,
            months: field(month, 1..=12, MONTHS, 1)?,
            weekdays: weekdays | weekdays >> 7 & 1,
            both_days: day.starts_with('*') || weekday.starts_with('*'),
        };
        if schedule.next_after(0).is_none() {
            return Err("there is no such day".into());
        }
        Ok(schedule)
    }
}

impl Schedule {
    /// The first time later than `ms`, Unix ms; `None` where there is none within eight years.
    pub fn next_after(&self, ms: u64) -> Option<u64> {
        let first = ms / MINUTE_MS + 1;
        let first_day = first * MINUTE_MS / DAY_MS;
        (first_day..first_day + DAYS_MAX).filter(|&day| self.has_day(day)).find_map(|day| {
            let begin = day * DAY_MS / MINUTE_MS;
            let mut minutes = (0..24 * 60)
                .filter(|minute| self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1);
            let found = minutes.find(|minute| begin + minute >= first)?;
            Some((begin + found) * MINUTE_MS)
        })
    }

    /// Whether it has times on this day, counted from 1970-01-01, a Thursday.
    fn has_day(&self, day: u64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        let in_month = self.days >> day_of_month & 1 == 1;
        let in_week = self.weekdays >> ((day + 4) % 7) & 1 == 1;
        let is_day = if self.both_days { in_month && in_week } else { in_month || in_week };
        self.months >> month & 1 == 1 && is_day
    }
}

/// Month (from 1) and day of the month of a day counted from 1970-01-01. Years are counted from March, so that the leap
/// day is the last one of a year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn month_and_day(day: u64) -> (u64, u64) {
    let day = day + 719_468;
    let day_of_era = day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    (if month < 10 { month + 3 } else { month - 9 }, day_of_month)
}

/// The numbers of a field, one bit each.
fn field(text: &str, range: RangeInclusive<u64>, names: &[&str], first_name: u64) -> Result<u64, String> {
    let (least, most) = (*range.start(), *range.end());
    let wrong =
        |part: &str| format!("{part:?} is not within {least}-{most}: expected *, N, N-M, either with /STEP, or a list");
    let number = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = named
            .map(|at| at as u64 + first_name)
            .or_else(|| if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None });
        number.filter(|number| range.contains(number))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (span, step) = match part.split_once('/') {
            None => (part, None),
            Some((span, step)) => {
                let step = step.parse::<usize>().ok().filter(|step| (1..=60).contains(step));
                (span, Some(step.ok_or_else(|| wrong(part))?))
            }
        };
        let (from, to) = match span.split_once('-') {
            _ if span == "*" => (least, most),
            Some((from, to)) => number(from).zip(number(to)).ok_or_else(|| wrong(part))?,
            None => {
                let from = number(span).ok_or_else(|| wrong(part))?;
                // As in crontab(5) a step goes with a range; one number and a step is taken as "from there on".
                (from, if step.is_some() { most } else { from })
            }
        };
        if from > to {
            return Err(wrong(part));
        }
        bits = (from..=to).step_by(step.unwrap_or(1)).fold(bits, |bits, number| bits | 1 << number);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::api::rfc3339;

    fn next(text: &str, times: usize) -> Vec<String> {
        let schedule: Schedule = text.parse().unwrap();
        // 2025-11-20T14:46:40Z, a Thursday.
        let mut ms = 1_763_650_000_000;
        let times = (0..times).map(|_| {
            ms = schedule.next_after(ms).unwrap();
            rfc3339(ms).replace(":00.000Z", "")
        });
        times.collect()
    }

    #[test]
    fn times_follow_each_other_as_crontab_has_them() {
        for (text, expected) in [
            ("* * * * *", ["2025-11-20T14:47", "2025-11-20T14:48"]),
            ("0 3 * * *", ["2025-11-21T03:00", "2025-11-22T03:00"]),
            ("*/20 14-15 * * *", ["2025-11-20T15:00", "2025-11-20T15:20"]),
            ("5,50 14 * * *", ["2025-11-20T14:50", "2025-11-21T14:05"]),
            ("0 0 * * sun", ["2025-11-23T00:00", "2025-11-30T00:00"]),
            ("0 0 * * 7", ["2025-11-23T00:00", "2025-11-30T00:00"]),
            ("0 0 * * 1-5", ["2025-11-21T00:00", "2025-11-24T00:00"]),
            ("30 1 1 * *", ["2025-12-01T01:30", "2026-01-01T01:30"]),
            ("0 0 31 * *", ["2025-12-31T00:00", "2026-01-31T00:00"]),
            ("0 0 29 feb *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
            // Either of the two day fields, unless one is any.
            ("0 0 22 * mon", ["2025-11-22T00:00", "2025-11-24T00:00"]),
            ("0 0 */2 * mon", ["2025-12-01T00:00", "2025-12-15T00:00"]),
            ("15 10/6 * * *", ["2025-11-20T16:15", "2025-11-20T22:15"]),
        ] {
            assert_eq!(next(text, 2), expected, "{text}");
        }
        let schedule: Schedule = "0 * * * *".parse().unwrap();
        assert_eq!(schedule.next_after(3_600_000), Some(7_200_000), "later than the time given");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1, * * * *",
            "- * * * *",
            "@daily",
            "+1 * * * *",
            "0 0 30 2 *",
            "*/x * * * *",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
