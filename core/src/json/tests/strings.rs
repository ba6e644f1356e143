//! What may stand in a string, and what its escapes mean.

use alloc::borrow::Cow;
use alloc::format;

use super::{kept, refused};
use crate::json::ErrorKind::*;
use crate::json::{string, string_at};

#[test]
fn refuses_raw_control_characters_wherever_they_stand_in_a_string() {
    for control in 0..0x20u8 {
        for before in 0..20 {
            let text = format!("\"{}{}and more text\"", "x".repeat(before), char::from(control));
            refused(&text, ControlCharacter, 1 + before);
            refused(format!("{{{text}:0}}"), ControlCharacter, 2 + before);
        }
    }
    kept("\"\u{7f}\u{80}\u{2028}\u{2029}\u{e0020} \"");
}

#[test]
fn refuses_surrogates_without_their_partner_in_values_and_keys() {
    for text in [
        r#""\ud800""#,
        r#""\uDFFF""#,
        r#""\udc00\ud800""#,
        r#""\ud800\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\n""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ue000""#,
        r#""\ud800 \udc00""#,
    ] {
        refused(text, LoneSurrogate, 1);
        refused(format!("{{{text}:0}}"), LoneSurrogate, 2);
        assert_eq!(string_at(text, 0).map(drop), Err(LoneSurrogate.at(1)));
        assert_eq!(string(text), None);
    }
    refused(r#""\ud83d\ude00\ude00""#, LoneSurrogate, 13);
    kept(r#""\ud83d\uDE00""#);
    kept(r#""\ud800\udc00\udbff\udfff""#);
}

#[test]
fn refuses_escapes_that_json_lacks() {
    for (text, offset) in [(r#""\a""#, 1), (r#""\'""#, 1), (r#""\x41""#, 1), (r#""\U0041""#, 1), ("\"\\\n\"", 1)] {
        refused(text, InvalidEscape, offset);
    }
    refused(r#""\u00g0""#, InvalidEscape, 5);
    refused(r#""\u+041""#, InvalidEscape, 3);
    refused(r#""\ud800\u00""#, InvalidEscape, 11);
    refused(r#""\"#, UnexpectedEnd, 2);
    refused(r#""\u00"#, UnexpectedEnd, 5);
}

#[test]
fn unescapes_every_escape() {
    let text = r#"x"\"\\\/\b\f\n\r\t\u0000\u00E9\u20ac\ud83d\ude00é€"y"#;
    let (content, end) = string_at(text, 1).unwrap();
    assert_eq!(content, "\"\\/\u{8}\u{c}\n\r\t\0é€\u{1f600}é€");
    assert_eq!(&text[end..], "y");
    assert!(matches!(string(r#""plain é""#), Some(Cow::Borrowed("plain é"))));
    for text in ["é", "{}", ""] {
        assert!(string_at(text, 0).is_err());
    }
    assert_eq!(string_at("é", 1).map(drop), Err(UnexpectedByte(0xa9).at(1)));
    assert_eq!(string_at("\"\"", 9).map(drop), Err(UnexpectedEnd.at(2)));
}
