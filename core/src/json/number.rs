//! Numbers: where one ends, and whether a double can hold its magnitude.
//!
//! The check compares decimal digits, so no float is parsed: the answer is the same on every target, and the tables
//! that parsing floats needs (some 10 KB that do not compress) stay out of the browser build.

use core::cmp::Ordering;

use super::{Error, ErrorKind};

/// The digits of 2^1024 - 2^970, the least magnitude that rounds to infinity: it lies half way between the largest
/// double and 2^1024, and ties go to the even one, which is 2^1024.
pub(super) const OVERFLOW_DIGITS: &[u8; OVERFLOW_PLACES as usize] = b"\
    1797693134862315807937289714053034150799341327100378269361737789804449682927647509466490179775872070963\
    3028641669288791094655554785194040263065748867150582068190890200070838367627385484581771153176447573027\
    0069855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904174497792";

/// Number of its digits. A number with fewer before its point is smaller, one with more is larger.
const OVERFLOW_PLACES: i64 = 309;

/// Returns the index after the number that starts at `start` with `-` or a digit.
pub(super) fn end(bytes: &[u8], start: usize) -> Result<usize, Error> {
    let integer = start + usize::from(bytes[start] == b'-');
    let integer_end = digits_end(bytes, integer)?;
    if bytes[integer] == b'0' && integer_end > integer + 1 {
        return Err(ErrorKind::InvalidNumber.at(integer));
    }

    let mut at = integer_end;
    let mut fraction = at;
    if bytes.get(at) == Some(&b'.') {
        fraction = at + 1;
        at = digits_end(bytes, fraction)?;
    }
    let fraction_end = at;

    let mut negative = false;
    let mut exponent = at;
    if let Some(b'e' | b'E') = bytes.get(at) {
        exponent = at + 1;
        if let Some(sign @ (b'+' | b'-')) = bytes.get(exponent) {
            negative = *sign == b'-';
            exponent += 1;
        }
        at = digits_end(bytes, exponent)?;
    }

    // Nearly every number is small enough by its shape alone: 208 digits and an exponent up to 99 make at most 1e307.
    if (at - exponent <= 2 || negative) && integer_end - integer <= 208 {
        return Ok(at);
    }
    let (integer, fraction) = (&bytes[integer..integer_end], &bytes[fraction..fraction_end]);
    if overflows(integer, fraction, power(&bytes[exponent..at], negative)) {
        return Err(ErrorKind::NumberOverflow.at(start));
    }
    Ok(at)
}

/// Index after the digits at `start`, of which there must be one.
fn digits_end(bytes: &[u8], start: usize) -> Result<usize, Error> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at > start {
        Ok(at)
    } else if at == bytes.len() {
        Err(ErrorKind::UnexpectedEnd.at(at))
    } else {
        Err(ErrorKind::InvalidNumber.at(at))
    }
}

/// The exponent, held where more makes no difference: no text has that many digits to set against it.
fn power(digits: &[u8], negative: bool) -> i64 {
    const HELD: i64 = i64::MAX / 100;
    let magnitude = digits.iter().fold(0, |power: i64, digit| (power * 10 + i64::from(digit - b'0')).min(HELD));
    if negative { -magnitude } else { magnitude }
}

/// Whether `integer.fraction` times ten to the `power` is at least the number of [`OVERFLOW_DIGITS`].
fn overflows(integer: &[u8], fraction: &[u8], power: i64) -> bool {
    let digits = integer.iter().chain(fraction);
    let zeros = digits.clone().take_while(|&&digit| digit == b'0').count();
    if zeros == integer.len() + fraction.len() {
        return false;
    }
    // Places before the point once the point is moved by the exponent and the leading zeros are gone.
    let places = integer.len() as i64 - zeros as i64 + power;
    match places.cmp(&OVERFLOW_PLACES) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => {
            let padded = digits.skip(zeros).chain(core::iter::repeat(&b'0'));
            padded.take(OVERFLOW_DIGITS.len()).ge(OVERFLOW_DIGITS)
        }
    }
}
