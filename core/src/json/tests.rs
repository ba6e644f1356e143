//! One table per rule of the reader and the writer. How the reader compares with serde_json is in `reference_tests.rs`.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::scan::Scanner;
use super::*;

use ErrorKind::*;

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
fn refuses_bytes_that_are_not_utf8_and_a_byte_order_mark() {
    refused(b"\"\xff\"", InvalidUtf8, 1);
    refused(b"[\"\xed\xa0\x80\"]", InvalidUtf8, 2);
    refused(b"\"\xc0\xaf\"", InvalidUtf8, 1);
    refused(b"\"abc\xe2\x82", InvalidUtf8, 4);
    refused("\u{feff}{}", ByteOrderMark, 0);
    refused(" \u{feff}{}", UnexpectedByte(0xef), 1);
    kept("\"\u{feff}\"");
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
        ("tru", b'x', 3),
        ("nul1", b'1', 3),
        ("True", b'T', 0),
        ("// c\n1", b'/', 0),
        ("]", b']', 0),
        (":", b':', 0),
        ("[\u{b}1]", 0x0b, 1),
        ("[\u{a0}1]", 0xc2, 1),
    ] {
        if byte == b'x' {
            refused(text, UnexpectedEnd, offset);
        } else {
            refused(text, UnexpectedByte(byte), offset);
        }
    }
    for (text, offset) in [("1 1", 2), ("{}}", 2), ("[] []", 3), ("\"\"\"", 2), ("nullx", 4), ("1\0", 1)] {
        refused(text, TrailingBytes, offset);
    }
    for text in ["", " ", "\n\t\r "] {
        refused(text, UnexpectedEnd, text.len());
    }
}

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
fn refuses_equal_keys_after_unescaping_at_any_depth() {
    for (text, offset) in [
        (r#"{"a":1,"a":2}"#, 7),
        (r#"{"":1,"":2}"#, 6),
        (r#"{"a":1,"b":2,"\u0061":3}"#, 13),
        (r#"{"\u0061":1,"\u0061":2}"#, 12),
        (r#"{"/":1,"\/":2}"#, 7),
        (r#"{"\ud83d\ude00":1,"😀":2}"#, 18),
        (r#"{"\u0000":1,"\u0000":2}"#, 12),
        (r#"[{"x":[{"a":{"b":1,"c":{},"b":2}}]}]"#, 26),
        (r#"{"a":{"b":{"a":1}},"b":{},"a":0}"#, 26),
        (r#"{"a":1,"b":1,"b":1,"a":1}"#, 13),
    ] {
        refused(text, DuplicateKey, offset);
        assert_eq!(value_end(text, 0), Err(DuplicateKey.at(offset)));
    }
    assert_eq!(members(r#"{"a":1,"\u0061":{}}"#).map(drop), Err(DuplicateKey.at(7)));
    assert_eq!(elements(r#"[{"a":1,"a":2}]"#).map(drop), Err(DuplicateKey.at(8)));
}

#[test]
fn equal_keys_of_different_objects_are_no_duplicates() {
    kept(r#"[{"a":{"a":[{"a":1},{"a":2}]}},{"a":1}]"#);
    kept(r#"{"a":{"b":1},"b":{"a":1}}"#);
    // Not normalised, not case folded, not cut at a NUL.
    kept("{\"\u{e9}\":1,\"e\u{301}\":2,\"E\":3,\"e\":4,\"e\\u0000\":5,\"e\\u0000f\":6,\" e\":7}");
}

#[test]
fn finds_a_duplicate_wherever_the_key_store_keeps_it() {
    // Around the sizes where the keys leave their fixed array and where sorting takes over, under some open objects.
    for open in [0, 3, 20] {
        for count in 2..40 {
            let unique: Vec<String> =
                (0..count).map(|n| if n % 3 == 1 { format!("\\u006b{n}") } else { format!("k{n}") }).collect();
            let object = |keys: &[String]| {
                let body: Vec<String> =
                    keys.iter().map(|key| format!("\"{key}\":{{\"k0\":0,\"\\u006b1\":1}}")).collect();
                nested("{\"k0\":0,\"o\":", &format!("{{{}}}", body.join(",")), "}", open)
            };
            kept(&object(&unique));
            for (first, second) in [(0, count - 1), ((count - 1) / 2, count / 2 + 1), (0, 1)] {
                if second == count {
                    continue;
                }
                let mut keys = unique.clone();
                keys[second] = keys[first].replace('k', "\\u006B");
                let text = object(&keys);
                let error = validate(text.as_bytes()).unwrap_err();
                assert_eq!(error.kind, DuplicateKey, "{text}");
                assert!(text[error.offset..].starts_with(&format!("\"{}\"", keys[second])), "{text}: {error}");
            }
        }
    }
}

#[track_caller]
fn comparisons(text: &str) -> usize {
    let mut scanner = Scanner::new(text, 0).unwrap();
    let result = scanner.value();
    assert!(result.is_ok() || result.is_err_and(|error| error.kind == DuplicateKey), "{result:?}");
    scanner.comparisons()
}

#[test]
fn comparing_keys_costs_n_log_n_at_most() {
    const COUNT: usize = 100_000;
    // Twice n log2 n for the sort, n for the neighbours.
    let bound = COUNT * (2 * 17 + 1);
    let shuffled = |n: usize| n * 7_919 % COUNT;
    let same_prefix = |n: usize| format!("{}{n:06}", "p".repeat(40));
    let spellings: [&dyn Fn(usize) -> String; 6] = [
        &|n| n.to_string(),
        &|n| same_prefix(n),
        &|n| same_prefix(COUNT - n),
        &|n| same_prefix(shuffled(n)),
        &|n| format!("\\u0070{}", same_prefix(shuffled(n))),
        &|n| (shuffled(n) / 2).to_string(),
    ];
    for spelling in spellings {
        let body: Vec<String> = (0..COUNT).map(|n| format!("\"{}\":0", spelling(n))).collect();
        let made = comparisons(&format!("{{{}}}", body.join(",")));
        assert!(made <= bound, "{made} comparisons, {}", body[0]);
    }
}

#[test]
fn comparing_keys_of_many_small_objects_costs_a_constant_each() {
    let object = r#"{"a":0,"b":0,"c":{"a":0,"b":0}},"#;
    let deep = nested("{\"a\":0,\"b\":", "0", "}", DEPTH_MAX - 1);
    let wide = format!("[{}{}{{}}]", object.repeat(50_000), format!("{deep},").repeat(500));
    assert_eq!(comparisons(&wide), 50_000 * (3 + 1) + 500 * (DEPTH_MAX - 1));
    assert_eq!(comparisons(&format!("[{}0]", "{\"only\":{}},".repeat(50_000))), 0);
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

#[test]
fn refuses_text_longer_than_its_offsets_reach() {
    // Zero pages that are never touched: the length alone decides.
    let long = vec![0; TEXT_BYTES_MAX + 1];
    assert_eq!(validate(&long).map(drop), Err(TooLong.at(TEXT_BYTES_MAX)));
    assert_eq!(compact(&long).map(drop), Err(TooLong.at(TEXT_BYTES_MAX)));
}

#[test]
fn an_error_says_rule_limit_and_place() {
    for (text, message) in [
        ("[1e400]", "a number is beyond the range of a double (1.7976931348623157e308) at byte 1"),
        ("[}", "unexpected character '}' at byte 1"),
        ("[\u{b}", "unexpected byte 0x0b at byte 1"),
        ("{\"a\":1,\"a\":2}", "an object has the same key twice at byte 7"),
    ] {
        assert_eq!(validate(text.as_bytes()).unwrap_err().to_string(), message);
    }
    let deep = validate("[".repeat(200).as_bytes()).unwrap_err();
    assert_eq!(deep.to_string(), "arrays and objects are nested more than 128 deep at byte 128");
}
