//! One table per rule of the reader. Numbers, strings and keys have files of their own; `reference` compares with
//! serde_json.

mod keys;
mod numbers;
mod reference;
mod strings;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use super::ErrorKind::*;
use super::*;

#[track_caller]
fn refused(text: impl AsRef<[u8]>, kind: ErrorKind, offset: usize) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
    assert_eq!(validate(text).map(drop), Err(Error { kind, offset }), "{shown}");
    assert_eq!(compact(text).map(drop), Err(Error { kind, offset }), "{shown}");
}

#[track_caller]
fn kept(text: &str) {
    assert_eq!(validate(text.as_bytes()), Ok(text));
    assert!(matches!(compact(text.as_bytes()), Ok(Cow::Borrowed(same)) if same == text), "{text}");
    assert_eq!(value_end(text, 0), Ok(text.len()), "{text}");
}

#[test]
fn keeps_every_kind_of_value_byte_for_byte() {
    for text in ["null", "true", "false", "0", "-0", r#""""#, "[]", "{}", "[[],{}]", r#"{"":{"":[]},"a":[{}]}"#] {
        kept(text);
    }
}

#[test]
fn refuses_bytes_that_are_not_utf8_and_a_byte_order_mark() {
    refused(b"\"\xff\"", InvalidUtf8, 1);
    refused(b"[\"\xed\xa0\x80\"]", InvalidUtf8, 2);
    refused(b"\"\xc0\xaf\"", InvalidUtf8, 1);
    refused(b"\"abc\xe2\x82", InvalidUtf8, 4);
    refused("\u{feff}{}", ByteOrderMark, 0);
    refused(" \u{feff}{}", UnexpectedByte(0xef), 1);
    kept("\"\u{feff}\"");
    assert_eq!(utf8("\u{feff}{}".as_bytes()), Err(ByteOrderMark.at(0)));
    assert_eq!(utf8("[é".as_bytes()), Ok("[é"));
    for text in ["\u{feff}{}", "\u{feff}[]"] {
        assert_eq!(members(text).map(drop), Err(ByteOrderMark.at(0)));
        assert_eq!(elements(text).map(drop), Err(ByteOrderMark.at(0)));
    }
}

#[test]
fn refuses_what_is_cut_short_at_every_byte() {
    let text = "{\"a\\u00e4\\ud83d\\ude00\":[true,false,null,-1.5e+3,{\"b\":\"\u{1f600}\"}]}";
    for cut in 0..text.len() {
        if !text.is_char_boundary(cut) {
            assert_eq!(validate(&text.as_bytes()[..cut]).unwrap_err().kind, InvalidUtf8);
            continue;
        }
        let error = validate(&text.as_bytes()[..cut]).unwrap_err();
        // Cut between the halves of a pair, the first one is alone.
        assert!(matches!(error.kind, UnexpectedEnd | LoneSurrogate), "{cut}: {error}");
        assert!(error.offset <= cut);
    }
    kept(text);
}

#[test]
fn refuses_tokens_out_of_place() {
    for (text, byte, offset) in [
        ("[1,]", b']', 3),
        ("[,1]", b',', 1),
        ("[1 2]", b'2', 3),
        ("[1}", b'}', 2),
        ("{]", b']', 1),
        ("{\"a\"}", b'}', 4),
        ("{\"a\":}", b'}', 5),
        ("{\"a\":1,}", b'}', 7),
        ("{\"a\":1]", b']', 6),
        ("{\"a\" 1}", b'1', 5),
        ("{a:1}", b'a', 1),
        ("{1:1}", b'1', 1),
        ("{,}", b',', 1),
        ("{\"a\":1,,\"b\":1}", b',', 7),
        ("['a']", b'\'', 1),
        ("nul1", b'1', 3),
        ("True", b'T', 0),
        ("// c\n1", b'/', 0),
        ("]", b']', 0),
        (":", b':', 0),
        ("[\u{b}1]", 0x0b, 1),
        ("[\u{a0}1]", 0xc2, 1),
    ] {
        refused(text, UnexpectedByte(byte), offset);
    }
    for (text, offset) in [("1 1", 2), ("{}}", 2), ("[] []", 3), ("\"\"\"", 2), ("nullx", 4), ("1\0", 1)] {
        refused(text, TrailingBytes, offset);
    }
    for text in ["", " ", "\n\t\r "] {
        refused(text, UnexpectedEnd, text.len());
    }
}

/// `depth` containers opened by `opening`, closed by `closing`, around `inner`.
fn nested(opening: &str, inner: &str, closing: &str, depth: usize) -> String {
    [opening.repeat(depth).as_str(), inner, closing.repeat(depth).as_str()].concat()
}

#[test]
fn takes_128_open_containers_and_refuses_the_129th() {
    for (opening, inner, closing) in [("[", "", "]"), ("[", "0", "]"), ("{\"a\":", "{}", "}"), ("[{\"a\":", "[]", "}]")]
    {
        let own = usize::from(inner.len() == 2);
        let step = closing.len();
        kept(&nested(opening, inner, closing, (DEPTH_MAX - own) / step));
        let bomb = nested(opening, inner, closing, 100_000);
        refused(&bomb, TooDeep, DEPTH_MAX / step * opening.len());
        // Never closed, and long past the limit: the 129th opening bracket decides.
        refused(&bomb[..bomb.len() / 2], TooDeep, DEPTH_MAX / step * opening.len());
    }
    // Siblings do not add up.
    kept(&format!("[{}0]", "[[[]]],{\"a\":{}},".repeat(1_000)));
}

#[test]
fn a_value_of_the_greatest_depth_can_be_read_out_of_the_object_or_array_around_it() {
    let deepest = nested("[", "", "]", DEPTH_MAX);
    let deeper = nested("[", "", "]", DEPTH_MAX + 1);
    assert_eq!(members(&format!("{{\"v\":{deepest}}}")).unwrap(), [("v".into(), &*deepest)]);
    assert_eq!(elements(&format!("[0,{deepest}]")).unwrap(), ["0", &*deepest]);
    assert_eq!(members(&format!("{{\"v\":{deeper}}}")).map(drop), Err(TooDeep.at(5 + DEPTH_MAX)));
    assert_eq!(elements(&format!("[{deeper}]")).map(drop), Err(TooDeep.at(1 + DEPTH_MAX)));
    assert_eq!(members(&nested("{\"a\":", "0", "}", 100_000)).unwrap_err().kind, TooDeep);
}

#[test]
fn compact_drops_white_space_between_tokens_and_nothing_else() {
    for (spaced, text) in [
        (" 1 ", "1"),
        ("\t\"a b\"\r\n", "\"a b\""),
        ("{ }", "{}"),
        ("[ ]", "[]"),
        (
            " { \"a b\" : [ 1.0 ,\t-0 , \"x \\\" y \\\\\" ] ,\n\"c\" : { \"d\\u0020\" :\r\nnull } } ",
            "{\"a b\":[1.0,-0,\"x \\\" y \\\\\"],\"c\":{\"d\\u0020\":null}}",
        ),
    ] {
        assert_eq!(compact(spaced.as_bytes()).unwrap(), text);
        assert_eq!(validate(spaced.as_bytes()), Ok(spaced));
        kept(text);
    }
    // White space only around the value leaves a borrowed slice.
    assert!(matches!(compact(b" \n[1]\r\n"), Ok(Cow::Borrowed("[1]"))));
}

#[test]
fn value_end_stops_after_the_value_whatever_follows() {
    for value in ["1", "-1.5e3", "true", "null", "\"a\\\"b\"", "[1, 2]", "{\"a\": {}}"] {
        for rest in ["", ",", "}", "]", " x", "\"", ":", "\u{e9}"] {
            let text = format!("é{value}{rest}");
            assert_eq!(value_end(&text, 2), Ok(2 + value.len()), "{text}");
        }
    }
    assert_eq!(value_end(" 1", 0), Err(UnexpectedByte(b' ').at(0)));
    assert_eq!(value_end("é", 1), Err(UnexpectedByte(0xa9).at(1)));
    assert_eq!(value_end("1", 1), Err(UnexpectedEnd.at(1)));
    assert_eq!(value_end("1", usize::MAX), Err(UnexpectedEnd.at(1)));
}

#[test]
fn members_come_in_order_with_raw_values_and_unescaped_keys() {
    let text = " { \"b\" : [1, 2] , \"\\u0061\\n\":\"x\\u0041\" ,\"\": 1.50 } \n";
    let members = members(text).unwrap();
    assert_eq!(members, [("b".into(), "[1, 2]"), ("a\n".into(), "\"x\\u0041\""), ("".into(), "1.50")]);
    assert!(matches!(members[0].0, Cow::Borrowed(_)));
    assert_eq!(super::members("{}"), Ok(vec![]));
    assert_eq!(super::members(" { } "), Ok(vec![]));
}

#[test]
fn elements_come_in_order_with_raw_values() {
    assert_eq!(elements(" [ 1 , {\"a\": 2},[ ],\"x\" ] ").unwrap(), ["1", "{\"a\": 2}", "[ ]", "\"x\""]);
    assert_eq!(elements("[ ]"), Ok(vec![]));
}

#[test]
fn members_and_elements_refuse_what_validate_refuses() {
    for (text, kind, offset) in [
        ("{\"a\":1,}", UnexpectedByte(b'}'), 7),
        ("{\"a\":01}", InvalidNumber, 5),
        ("{\"a\":1}x", TrailingBytes, 7),
        ("{\"a\":1]", UnexpectedByte(b']'), 6),
        ("{\"a\":1", UnexpectedEnd, 6),
        ("{\"a\":[{\"b\":1e999}]}", NumberOverflow, 11),
        ("{", UnexpectedEnd, 1),
    ] {
        assert_eq!(members(text).map(drop), Err(kind.at(offset)), "{text}");
        refused(text, kind, offset);
        let array = format!("[{text}]");
        assert!(elements(&array).is_err(), "{array}");
    }
    for (text, byte) in [("[]", b'['), ("1", b'1'), ("\"{}\"", b'"'), ("null", b'n')] {
        assert_eq!(members(text).map(drop), Err(UnexpectedByte(byte).at(0)));
    }
    assert_eq!(elements("{}").map(drop), Err(UnexpectedByte(b'{').at(0)));
    assert_eq!(elements("[1,]").map(drop), Err(UnexpectedByte(b']').at(3)));
    assert_eq!(elements("").map(drop), Err(UnexpectedEnd.at(0)));
}

// Where an address has 32 bits no text can be that long.
#[cfg(target_pointer_width = "64")]
#[test]
fn refuses_text_longer_than_its_offsets_reach() {
    // Zero pages that are never written, so they cost no memory.
    let long = vec![0; TEXT_BYTES_MAX + 1];
    assert_eq!(utf8(&long).map(drop), Err(TooLong.at(TEXT_BYTES_MAX)));
    let text = core::str::from_utf8(&long).unwrap();
    assert_eq!(value_end(text, 0), Err(TooLong.at(TEXT_BYTES_MAX)));
    assert_eq!(members(text).map(drop), Err(TooLong.at(TEXT_BYTES_MAX)));
}

#[test]
fn an_error_says_rule_limit_and_place() {
    for (text, message) in [
        ("[1e400]", "a number is beyond the range of a double (1.7976931348623157e308) at byte 1"),
        ("[}", "unexpected character '}' at byte 1"),
        ("[tr ", "unexpected character ' ' at byte 3"),
        ("[\u{b}", "unexpected byte 0x0b at byte 1"),
        ("{\"a\":1,\"a\":2}", "an object has the same key twice at byte 7"),
    ] {
        assert_eq!(validate(text.as_bytes()).unwrap_err().to_string(), message);
    }
    let deep = validate("[".repeat(200).as_bytes()).unwrap_err();
    assert_eq!(deep.to_string(), "arrays and objects are nested more than 128 deep at byte 128");
}
