//! serde_json and the standard library as references: what is accepted here they accept with the same meaning, what
//! they accept is refused here only by a rule of ours.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::json::*;

/// White space, usually none.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// One character of a string in one of its spellings.
fn spelled_character() -> impl Strategy<Value = String> {
    let plain = any::<char>().prop_map(|c| if c < ' ' || c == '"' || c == '\\' { '\u{2028}' } else { c });
    prop_oneof![
        6 => "[a-c /]",
        2 => plain.prop_map(String::from),
        2 => any::<char>().prop_map(|c| {
            c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
        }),
        1 => (0u32..0x80).prop_map(|code| format!("\\u{code:04X}")),
        1 => proptest::sample::select(&["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"][..]).prop_map(String::from),
    ]
}

fn spelled_string(length_max: usize) -> impl Strategy<Value = String> {
    vec(spelled_character(), 0..=length_max).prop_map(|content| format!("\"{}\"", content.concat()))
}

fn spelled_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        any::<i64>().prop_map(|n| n.to_string())
    ]
}

/// A JSON value in any spelling. Keys are short, so that equal ones occur.
fn spelled_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        proptest::sample::select(&["null", "true", "false"][..]).prop_map(String::from),
        spelled_number(),
        spelled_string(12),
    ];
    let value = scalar.prop_recursive(4, 40, 6, |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, value, b)| [a, value, b].concat());
        let member = (space(), spelled_string(2), space(), space(), inner, space())
            .prop_map(|(a, key, b, c, value, d)| [a, key, b, ":".into(), c, value, d].concat());
        prop_oneof![
            (vec(element, 0..6), space()).prop_map(|(elements, space)| match elements.is_empty() {
                true => format!("[{space}]"),
                false => format!("[{}]", elements.join(",")),
            }),
            (vec(member, 0..20), space()).prop_map(|(members, space)| match members.is_empty() {
                true => format!("{{{space}}}"),
                false => format!("{{{}}}", members.join(",")),
            }),
        ]
    });
    (space(), value, space()).prop_map(|(a, value, b)| [a, value, b].concat())
}

/// Bytes near JSON: a value with some bytes removed, replaced or put in.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => proptest::sample::select(&b"[]{}\",:\\u0123456789.-+eEdDtrfn \n\x00\x1f\x7f\x80\xc3\xed\xef\xff"[..]),
        1 => any::<u8>(),
    ];
    (spelled_value(), vec((any::<prop::sample::Index>(), 0..3, byte), 1..4)).prop_map(|(text, edits)| {
        let mut text = text.into_bytes();
        for (index, edit, byte) in edits {
            let at = index.index(text.len() + 1);
            match edit {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        text
    })
}

/// Whether some object of the valid text holds equal keys: then there are more members than serde_json's map kept.
fn repeats_a_key(text: &str, value: &Value) -> bool {
    fn kept(value: &Value) -> usize {
        match value {
            Value::Array(elements) => elements.iter().map(kept).sum(),
            Value::Object(members) => members.len() + members.values().map(kept).sum::<usize>(),
            _ => 0,
        }
    }
    let (mut colons, mut within, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => within = !within,
            b':' if !within => colons += 1,
            _ => {}
        }
    }
    colons > kept(value)
}

/// The value built by taking the text apart with this module alone; numbers are left to serde_json.
fn rebuilt(raw: &str) -> Value {
    match raw.as_bytes()[0] {
        b'{' => members(raw).unwrap().into_iter().map(|(key, raw)| (key.into_owned(), rebuilt(raw))).collect(),
        b'[' => elements(raw).unwrap().into_iter().map(rebuilt).collect(),
        b'"' => Value::String(string(raw).unwrap().into_owned()),
        b't' | b'f' => Value::Bool(boolean(raw).unwrap()),
        b'n' => Value::Null,
        _ => serde_json::from_str(raw).unwrap(),
    }
}

fn agrees_with_serde_json(text: &[u8]) -> Result<(), TestCaseError> {
    let reference = serde_json::from_slice::<Value>(text);
    match (compact(text), reference) {
        (Ok(compacted), Ok(value)) => {
            prop_assert_eq!(&rebuilt(&compacted), &value);
            prop_assert_eq!(&serde_json::from_str::<Value>(&compacted).unwrap(), &value);
            prop_assert!(!repeats_a_key(&compacted, &value), "{}", compacted);
            prop_assert_eq!(validate(text).map(str::as_bytes), Ok(text));
            prop_assert_eq!(value_end(&compacted, 0), Ok(compacted.len()));
            // Nothing is left that could be dropped, and nothing was dropped but white space.
            prop_assert_eq!(compact(compacted.as_bytes()).unwrap(), &*compacted);
            let solid = |text: &[u8]| text.iter().filter(|byte| !b" \t\r\n".contains(byte)).count();
            prop_assert_eq!(solid(text), solid(compacted.as_bytes()));
        }
        (Ok(compacted), Err(error)) => prop_assert!(false, "only accepted here: {compacted}: {error}"),
        (Err(error), Ok(value)) => {
            let text = core::str::from_utf8(text).unwrap();
            prop_assert_eq!(error.kind, ErrorKind::DuplicateKey, "{}", text);
            prop_assert!(repeats_a_key(text, &value), "{}: {}", text, error);
        }
        (Err(error), Err(_)) => prop_assert!(error.offset <= text.len()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_spelling_of_a_value_reads_as_serde_json_reads_it(text in spelled_value()) {
        agrees_with_serde_json(text.as_bytes())?;
    }

    #[test]
    fn bytes_near_json_are_judged_as_serde_json_judges_them(text in nearly_json()) {
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn arbitrary_bytes_are_judged_as_serde_json_judges_them(text in vec(any::<u8>(), 0..40)) {
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn arbitrary_tokens_are_judged_as_serde_json_judges_them(
        text in "([\\[\\]{}:, ]|\"a\"|\"\\\\u0061\"|\"b\"|0|-1|1\\.5|true|null){0,24}"
    ) {
        agrees_with_serde_json(text.as_bytes())?;
    }

    #[test]
    fn strings_are_written_as_serde_json_writes_them_and_read_back(s in any::<String>(), low in "[\\x00-\\x7f]{0,40}") {
        for s in [s, low] {
            let mut out = Vec::new();
            write_string(&mut out, &s);
            prop_assert_eq!(core::str::from_utf8(&out).unwrap(), serde_json::to_string(&s).unwrap());
            prop_assert_eq!(string(core::str::from_utf8(&out).unwrap()).unwrap(), s);
        }
    }

    #[test]
    fn numbers_are_refused_exactly_when_a_double_overflows(
        text in "-?(0|[1-9][0-9]{0,3}|[1-9][0-9]{300,312})(\\.0{0,2}[0-9]{1,20}|\\.0{298,310}[0-9]{1,8})?([eE][+-]?0{0,2}[0-9]{1,3})?",
    ) {
        let finite = text.parse::<f64>().unwrap().is_finite();
        let expected = if finite { Ok(text.len()) } else { Err(ErrorKind::NumberOverflow.at(0)) };
        prop_assert_eq!(value_end(&text, 0), expected);
    }

    #[test]
    fn numbers_near_the_largest_double_are_judged_as_the_standard_library_judges_them(
        digits in "17976931348623158[0-9]{0,3}|179769313486231580793728971405303415079934132710037826936[0-9]{0,3}",
        places in 1usize..20,
        shift in 0i32..3,
    ) {
        let (whole, rest) = digits.split_at(places.min(digits.len() - 1));
        let text = format!("{whole}.{rest}e{}", 309 - whole.len() as i32 + shift - 1);
        let finite = text.parse::<f64>().unwrap().is_finite();
        prop_assert_eq!(value_end(&text, 0).is_ok(), finite, "{}", text);
    }

    #[test]
    fn integers_are_written_in_decimal_and_read_back_up_to_two_to_the_53(n in any::<u64>(), bits in 0u32..64) {
        for n in [n >> bits, u64::MAX, 0, (1 << 53) - 1, 1 << 53] {
            let mut out = b"x".to_vec();
            write_u64(&mut out, n);
            let raw = core::str::from_utf8(&out[1..]).unwrap();
            prop_assert_eq!(raw, n.to_string());
            prop_assert_eq!(unsigned(raw), (n < 1 << 53).then_some(n));
        }
    }

    #[test]
    fn nothing_panics_whatever_text_and_start(text in any::<String>(), near in nearly_json(), start in 0usize..60) {
        for text in [&*text, &*String::from_utf8_lossy(&near)] {
            if let Ok(end) = value_end(text, start) {
                prop_assert!(text.is_char_boundary(start) && text.is_char_boundary(end) && end > start);
                prop_assert!(validate(&text.as_bytes()[start..end]).is_ok());
            }
            if let Ok((_, end)) = string_at(text, start) {
                prop_assert_eq!(value_end(text, start), Ok(end));
            }
            prop_assert_eq!(members(text).is_ok(), validate(text.as_bytes()).is_ok() && text.trim_start().starts_with('{'));
            prop_assert_eq!(elements(text).is_ok(), validate(text.as_bytes()).is_ok() && text.trim_start().starts_with('['));
            prop_assert!(unsigned(text).is_none_or(|number| number.to_string() == text));
            prop_assert_eq!(string(text).is_some(), text.starts_with('"') && value_end(text, 0) == Ok(text.len()));
        }
    }
}
