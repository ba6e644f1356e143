//! Whole numbers on the command line and in variables, refused in words that say what was expected.

use std::ops::RangeInclusive;

/// A parser of a whole number of `unit` within `range`, for clap.
///
/// # Errors
/// The parser's say the unit and both limits; clap puts the flag and the text that was given in front.
pub(crate) fn whole<T: TryFrom<u64>>(
    unit: &'static str,
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("expected a whole number of {unit}, from {least} to {most}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_is_refused_with_unit_and_limits() {
        let parse = whole::<u64>("milliseconds", 10..=600);
        assert_eq!((parse("10"), parse("600")), (Ok(10), Ok(600)));
        for text in ["", "abc", "1.5", "-1", "9", "601", "20ms", "99999999999999999999"] {
            assert_eq!(parse(text), Err("expected a whole number of milliseconds, from 10 to 600".into()), "{text}");
        }
    }
}
