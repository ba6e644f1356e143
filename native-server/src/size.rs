//! Sizes in bytes on the command line and in variables: plain numbers, or with a unit of powers of 1,024.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Units by their exponent of 1,024.
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A number of bytes. Shown with the largest unit that it is a whole number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// The bytes, as many as memory can have at most.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut unit) = (self.0, 0);
        while number > 0 && number % 1024 == 0 && unit + 1 < UNITS.len() {
            (number, unit) = (number / 1024, unit + 1);
        }
        // A plain number is one of bytes wherever a size is read.
        if unit == 0 { write!(f, "{number}") } else { write!(f, "{number}{}", UNITS[unit]) }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let exponent = match unit {
            "" => Some(0),
            unit => (0..).zip(UNITS).find(|(_, known)| known.eq_ignore_ascii_case(unit)).map(|(exponent, _)| exponent),
        };
        let size = number.parse::<u64>().ok().zip(exponent);
        let size = size.and_then(|(number, exponent)| number.checked_mul(1 << (10 * exponent)));
        size.map(Size).ok_or_else(|| "expected bytes as a whole number, or with KiB, MiB, GiB or TiB".into())
    }
}

/// A parser of a size within `range` bytes, for clap.
///
/// # Errors
/// The parser's say what is expected and both limits; clap puts the flag and the text that was given in front.
pub(crate) fn size(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Size, String> + Clone + Send + Sync + 'static {
    move |text| {
        let size = text.parse::<Size>().ok().filter(|size| range.contains(&size.0));
        size.ok_or_else(|| {
            let (least, most) = (Size(*range.start()), Size(*range.end()));
            format!("expected bytes, from {least} to {most}, as a whole number or with a unit: 64KiB, 16MiB, 1GiB")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_its_unit_and_shown_with_the_largest_that_fits() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("4096", 4_096, "4KiB"),
            ("4097", 4_097, "4097"),
            ("64KiB", 65_536, "64KiB"),
            ("256MiB", 256 << 20, "256MiB"),
            ("1 GiB", 1 << 30, "1GiB"),
            ("1536mib", 1_536 << 20, "1536MiB"),
            ("12B", 12, "12"),
            ("1024TiB", 1 << 50, "1024TiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size, size.to_string().as_str()), (Size(bytes), shown), "{text}");
            assert_eq!(shown.parse(), Ok(size));
        }
        for text in ["", "KiB", "1.5GiB", "-1", "1MB", "1M", "1 KiB x", "99999999999999999999", "99999999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_out_of_its_range_is_refused_with_both_limits() {
        let parse = size(4_096..=1 << 30);
        assert_eq!((parse("4KiB"), parse("1GiB")), (Ok(Size(4_096)), Ok(Size(1 << 30))));
        for text in ["4095", "2GiB", "x"] {
            assert!(parse(text).unwrap_err().starts_with("expected bytes, from 4KiB to 1GiB, as"), "{text}");
        }
    }
}
