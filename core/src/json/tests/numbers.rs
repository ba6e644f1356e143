//! Which spellings of numbers are kept and which refused, and which scalars are read.

use alloc::format;

use super::{kept, refused};
use crate::json::ErrorKind::*;
use crate::json::{boolean, number, string, unsigned};

#[test]
fn keeps_number_spellings_that_a_double_can_hold() {
    for text in [
        "18446744073709551616",
        "-9223372036854775809",
        "9007199254740993",
        "1.0",
        "-0.0",
        "1E5",
        "1e+05",
        "5e-324",
        "1e-400",
        "0e400",
        "-0.000e999999999999999999999",
        "123e-99999999999999999999999",
        "1.7976931348623157e308",
        // The largest double is ...157; the tail of ...158 still rounds down to it.
        "1.7976931348623158e308",
        "17976931348623157e292",
        "0.0017976931348623157e+311",
    ] {
        kept(text);
        kept(&format!("[{text},{{\"n\":{text}}}]"));
    }
    kept(&"9".repeat(308));
    kept(&format!("{}e-1000", "9".repeat(1000)));
    kept(&format!("0.{}1e1300", "0".repeat(1000)));
}

#[test]
fn refuses_numbers_beyond_a_double() {
    for text in ["665e700", "1e400", "-1e400", "1.7976931348623159e308", "2e308", "1e309", "1e99999999999999999999999"]
    {
        refused(text, NumberOverflow, 0);
        refused(format!("[0,{text}]"), NumberOverflow, 3);
    }
    refused("9".repeat(400), NumberOverflow, 0);
    refused(format!("-{}.5", "9".repeat(309)), NumberOverflow, 0);
    refused(format!("0.{}1e1310", "0".repeat(1000)), NumberOverflow, 0);
    kept("665e70");
}

#[test]
fn the_least_number_that_overflows_is_half_way_to_the_next_power_of_two() {
    let least = core::str::from_utf8(number::OVERFLOW_DIGITS).unwrap();
    let below = format!("{}1", &least[..least.len() - 1]);
    refused(least, NumberOverflow, 0);
    refused(format!("{least}.0"), NumberOverflow, 0);
    refused(format!("{}.{}e308", &least[..1], &least[1..]), NumberOverflow, 0);
    refused(format!("0.{least}00001e309"), NumberOverflow, 0);
    kept(&below);
    kept(&format!("{below}.{}", "9".repeat(500)));
}

#[test]
fn refuses_number_spellings_that_json_lacks() {
    for (text, offset) in
        [("01", 0), ("-01", 1), ("00", 0), ("1.e5", 2), ("-x", 1), ("1.-1", 2), ("1ex", 2), ("1e+-1", 3)]
    {
        refused(text, InvalidNumber, offset);
    }
    for text in ["-", "1.", "1e", "1e+", "0."] {
        refused(text, UnexpectedEnd, text.len());
    }
    for (text, byte) in [("+1", b'+'), (".5", b'.'), ("NaN", b'N'), ("Infinity", b'I')] {
        refused(text, UnexpectedByte(byte), 0);
    }
    refused("-Infinity", InvalidNumber, 1);
    refused("0x10", TrailingBytes, 1);
    refused("1.5.5", TrailingBytes, 3);
}

#[test]
fn scalars_are_read_only_from_their_own_type_and_plain_spelling() {
    for (raw, number) in [("0", 0), ("7", 7), ("9007199254740991", (1 << 53) - 1)] {
        assert_eq!(unsigned(raw), Some(number));
    }
    for raw in [
        "",
        "-0",
        "-1",
        "01",
        "1.0",
        "1e3",
        "9007199254740992",
        "18446744073709551617",
        "\"1\"",
        "null",
        "[1]",
        "+1",
        "1 ",
    ] {
        assert_eq!(unsigned(raw), None, "{raw}");
    }
    assert_eq!(
        (boolean("true"), boolean("false"), boolean("1"), boolean("\"true\"")),
        (Some(true), Some(false), None, None)
    );
    for raw in ["null", "1", "[]", "{}", "true", "", "\"", "\"a", "\"a\" ", "\"a\"\"b\""] {
        assert_eq!(string(raw), None, "{raw}");
    }
}
