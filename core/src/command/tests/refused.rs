//! Each rule of a line, and the offence that breaking it is.

use crate::command::{DecodeError, Line, Trust, decode};
use crate::json::{self, DEPTH_MAX, ErrorKind};
use alloc::format;
use alloc::string::String;

const SET: &str =
    r#"{"type":"SET","collection":"flags","seq":3,"prev":2,"key":"k","version":1,"timestamp":9,"value":{"a":1}}"#;
const EPOCH: &str = r#"{"type":"EPOCH","seq":1,"timestamp":9,"epoch":7,"cluster":"00000000000000000000000000000001","node":"n","requires":[]}"#;
const HELLO: &str = r#"{"type":"HELLO","protocol":1,"cluster":"00000000000000000000000000000001","epoch":7,"seq":8,"at":9,"node":"n","path":[],"resume":"baseline","reason":"new","scope":"*","pingMs":50,"requires":[],"timestamp":9}"#;
const BATCH: &str = r#"{"type":"BATCH","collection":"flags","seq":6,"prev":5,"timestamp":9,"commands":[{"op":"set","key":"a","version":1,"value":1}]}"#;
const DIGEST: &str = r#""digest":"xxh3:99aa06d3014798d86001c324468d497f""#;

#[track_caller]
fn error(line: &str) -> DecodeError {
    let found = decode(line.as_bytes(), Trust::Checked);
    // The reader of canonical heads is not given the line when it begins with a space.
    let generally = format!(" {line}");
    let generally = decode(generally.as_bytes(), Trust::Checked);
    match (found, generally) {
        (Err(DecodeError::Json(error)), Err(DecodeError::Json(generally))) => {
            assert_eq!((error.kind, error.offset + 1), (generally.kind, generally.offset));
            DecodeError::Json(error)
        }
        (Err(error), Err(generally)) => {
            assert_eq!(error, generally);
            error
        }
        (found, generally) => panic!("{line}: {found:?}, {generally:?}"),
    }
}

fn invalid(field: &'static str, text: &str) -> DecodeError {
    DecodeError::Invalid { field, text: text.into() }
}

#[test]
fn a_line_is_one_json_object_by_the_text_rules() {
    let kind = |line: &str| match error(line) {
        DecodeError::Json(error) => error.kind,
        other => panic!("{line}: {other:?}"),
    };
    for cut in 1..SET.len() {
        let kind = kind(&SET[..cut]);
        assert!(matches!(kind, ErrorKind::UnexpectedEnd), "{cut}: {kind}");
    }
    assert_eq!(kind("[1]"), ErrorKind::UnexpectedByte(b'['));
    assert_eq!(kind("42"), ErrorKind::UnexpectedByte(b'4'));
    assert_eq!(kind(&format!("{SET}{SET}")), ErrorKind::TrailingBytes);
    assert_eq!(kind(&format!("{SET},")), ErrorKind::TrailingBytes);
    let with = |value: &str| kind(&SET.replace(r#"{"a":1}"#, value));
    assert_eq!(with(r#"{"a":1,"\u0061":2}"#), ErrorKind::DuplicateKey);
    assert_eq!(with("-1e309"), ErrorKind::NumberOverflow);
    assert_eq!(with(r#""\ud800""#), ErrorKind::LoneSurrogate);
    assert_eq!(with("01"), ErrorKind::InvalidNumber);
    assert_eq!(with("\"\u{1}\""), ErrorKind::ControlCharacter);
    assert_eq!(kind(&SET.replace(r#""key":"k""#, r#""key":"\udc00""#)), ErrorKind::LoneSurrogate);
    assert_eq!(kind(&SET.replace(r#""prev":2"#, r#""seq":2"#)), ErrorKind::DuplicateKey);
    let bom = format!("\u{feff}{SET}");
    let found = decode(bom.as_bytes(), Trust::Checked);
    assert_eq!(found, Err(DecodeError::Json(json::Error { kind: ErrorKind::ByteOrderMark, offset: 0 })));
    let torn = &SET.replace("\"k\"", "\"é\"").into_bytes()[..52];
    assert!(matches!(
        decode(torn, Trust::Checked),
        Err(DecodeError::Json(json::Error { kind: ErrorKind::InvalidUtf8 | ErrorKind::UnexpectedEnd, .. }))
    ));
}

#[test]
fn invalid_utf8_is_named_with_its_place() {
    let mut line = String::from(SET).into_bytes();
    let at = SET.find("\"k\"").unwrap() + 1;
    line[at] = 0xff;
    let expected = json::Error { kind: ErrorKind::InvalidUtf8, offset: at };
    assert_eq!(decode(&line, Trust::Checked), Err(DecodeError::Json(expected)));
}

#[test]
fn every_field_a_type_needs_must_be_there() {
    let types: &[(&str, &[&str])] = &[
        (SET, &["type", "collection", "seq", "key", "version", "timestamp", "value"]),
        (
            r#"{"type":"DELETE","collection":"flags","seq":3,"prev":2,"key":"k","version":1,"timestamp":9}"#,
            &["collection", "seq", "prev", "key", "version", "timestamp"],
        ),
        (r#"{"type":"CREATE","collection":"flags","seq":3,"timestamp":9}"#, &["collection", "seq", "timestamp"]),
        (
            r#"{"type":"DROP","collection":"flags","seq":3,"prev":2,"timestamp":9}"#,
            &["collection", "seq", "prev", "timestamp"],
        ),
        (BATCH, &["collection", "seq", "prev", "timestamp", "commands"]),
        (EPOCH, &["seq", "timestamp", "epoch", "cluster", "node", "requires"]),
        (
            HELLO,
            &[
                "protocol",
                "cluster",
                "epoch",
                "seq",
                "at",
                "node",
                "path",
                "resume",
                "reason",
                "scope",
                "pingMs",
                "requires",
                "timestamp",
            ],
        ),
        (r#"{"type":"BASELINE_BEGIN","collection":"flags","created":2}"#, &["collection", "created"]),
        (
            &format!(r#"{{"type":"BASELINE_END","collection":"c","keys":0,{DIGEST}}}"#),
            &["collection", "keys", "digest"],
        ),
        (
            &format!(r#"{{"type":"READY","seq":1,"collections":0,{DIGEST},"epochs":[]}}"#),
            &["seq", "collections", "digest", "epochs"],
        ),
        (&format!(r#"{{"type":"PING","seq":1,"at":2,{DIGEST}}}"#), &["at"]),
        (r#"{"type":"END","reason":"retry"}"#, &["reason"]),
    ];
    for (line, fields) in types {
        assert!(decode(line.as_bytes(), Trust::Checked).is_ok(), "{line}");
        for field in *fields {
            let renamed = line.replacen(&format!("\"{field}\""), "\"x\"", 1);
            assert_eq!(error(&renamed), DecodeError::Missing(field), "{renamed}");
        }
    }
}

#[test]
fn numbers_are_plain_integers_within_their_range() {
    for (from, to, field, text) in [
        ("\"seq\":3", "\"seq\":0", "seq", "0"),
        ("\"seq\":3", "\"seq\":-3", "seq", "-3"),
        ("\"seq\":3", "\"seq\":3.0", "seq", "3.0"),
        ("\"seq\":3", "\"seq\":3e0", "seq", "3e0"),
        ("\"seq\":3", "\"seq\":\"3\"", "seq", "\"3\""),
        ("\"seq\":3", "\"seq\":9007199254740992", "seq", "9007199254740992"),
        ("\"prev\":2", "\"prev\":0", "prev", "0"),
        ("\"prev\":2", "\"prev\":null", "prev", "null"),
        ("\"prev\":2", "\"prev\":9007199254740992", "prev", "9007199254740992"),
        ("\"prev\":2", "\"prev\":9999999999999999", "prev", "9999999999999999"),
        ("\"version\":1", "\"version\":0", "version", "0"),
        ("\"version\":1", "\"version\":99999999999999999999", "version", "99999999999999999999"),
        ("\"timestamp\":9", "\"timestamp\":9007199254740992", "timestamp", "9007199254740992"),
        ("\"timestamp\":9", "\"timestamp\":true", "timestamp", "true"),
    ] {
        assert_eq!(error(&SET.replace(from, to)), invalid(field, text));
    }
    for largest in ["seq", "prev", "version", "timestamp"] {
        let line = SET.replace(r#""seq":3"#, r#""seq":9007199254740991"#);
        assert!(decode(line.as_bytes(), Trust::Checked).is_ok(), "{largest}");
    }
}

#[test]
fn keys_and_names_have_their_form() {
    for name in ["\"\"", "\"-a\"", "\"a/b\"", "\"__a\"", "\"é\"", "7"] {
        let line = SET.replace("\"flags\"", name);
        assert_eq!(error(&line), invalid("collection", name));
    }
    for key in ["\"\"", "7", "null", "{}"] {
        assert_eq!(error(&SET.replace("\"k\"", key)), invalid("key", key));
    }
    let nul = SET.replace("\"k\"", r#""\u0000""#);
    assert!(matches!(decode(nul.as_bytes(), Trust::Checked), Ok(Line::Log(_))));
}

#[test]
fn a_batch_has_commands_each_of_its_own_key() {
    let with = |commands: &str| BATCH.replace(r#"[{"op":"set","key":"a","version":1,"value":1}]"#, commands);
    assert_eq!(error(&with("[]")), DecodeError::EmptyBatch);
    assert_eq!(error(&with("{}")), invalid("commands", "{}"));
    assert_eq!(error(&with("[1]")), invalid("commands", "[1]"));
    assert_eq!(error(&with(r#"[{"op":"add","key":"a","version":1}]"#)), invalid("op", "\"add\""));
    assert_eq!(error(&with(r#"[{"op":"set","key":"a","version":1}]"#)), DecodeError::Missing("value"));
    assert_eq!(error(&with(r#"[{"op":"delete","key":"a"}]"#)), DecodeError::Missing("version"));
    assert_eq!(error(&with(r#"[{"op":"delete","key":"","version":1}]"#)), invalid("key", "\"\""));
    let twice = r#"[{"op":"delete","key":"a\n","version":1},{"op":"set","key":"\u0061\u000a","version":1,"value":2}]"#;
    assert_eq!(error(&with(twice)), DecodeError::RepeatedKey("a\n".into()));
}

#[test]
fn what_steers_a_stream_has_its_form() {
    for (from, to, field, text) in [
        (r#""resume":"baseline""#, r#""resume":"some""#, "resume", "\"some\""),
        (r#""reason":"new""#, r#""reason":"old""#, "reason", "\"old\""),
        (r#""scope":"*""#, r#""scope":{}"#, "scope", "{}"),
        (r#""path":[]"#, r#""path":["1"]"#, "path", "[\"1\"]"),
        (r#""pingMs":50"#, r#""pingMs":0"#, "pingMs", "0"),
        (r#""requires":[]"#, r#""requires":[1]"#, "requires", "[1]"),
        (r#""node":"n""#, r#""node":1"#, "node", "1"),
        (
            r#""cluster":"00000000000000000000000000000001""#,
            r#""cluster":"0000000000000000000000000000000A""#,
            "cluster",
            "\"0000000000000000000000000000000A\"",
        ),
    ] {
        assert_eq!(error(&HELLO.replace(from, to)), invalid(field, text));
    }
    let ready = format!(r#"{{"type":"READY","seq":1,"collections":0,{DIGEST},"epochs":[]}}"#);
    for epochs in ["{}", r#"[{"epoch":2,"first":1},{"epoch":2,"first":3}]"#, r#"[{"epoch":2}]"#, "[7]"] {
        assert_eq!(error(&ready.replace("[]", epochs)), invalid("epochs", epochs));
    }
    for digest in ["99aa06d3014798d86001c324468d497f", "xxh3:99AA06D3014798D86001C324468D497F", "xxh3:1", "sha:0"] {
        let line = ready.replace("xxh3:99aa06d3014798d86001c324468d497f", digest);
        assert_eq!(error(&line), invalid("digest", &format!("\"{digest}\"")));
    }
    assert_eq!(error(r#"{"type":"PING","seq":0,"at":1}"#), invalid("seq", "0"));
    assert_eq!(error(r#"{"type":"PING","seq":1,"at":1,"lines":-1}"#), invalid("lines", "-1"));
    assert_eq!(error(r#"{"type":"END","reason":"retry","retryMs":-1}"#), invalid("retryMs", "-1"));
    assert_eq!(error(r#"{"type":7}"#), invalid("type", "7"));
    assert_eq!(error(r#"{"type":"MERGE","seq":"4"}"#), invalid("seq", "\"4\""));
}

/// `depth` containers, one in the other.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn a_value_may_be_128_deep_wherever_it_stands() {
    let set = |value: &str| SET.replace(r#"{"a":1}"#, value);
    let batch = |value: &str| BATCH.replace(r#""value":1"#, &format!("\"value\":{value}"));
    let extra = |value: &str| SET.replace(r#","value""#, &format!(",\"x\":{value},\"value\""));
    let extra_of_op = |value: &str| BATCH.replace(r#","value""#, &format!(",\"x\":{value},\"value\""));
    let ignored = |value: &str| format!(r#"{{"type":"NOTE","text":{value}}}"#);
    for line in [set, batch, extra, extra_of_op, ignored] {
        let deepest = line(&nested(DEPTH_MAX));
        assert!(decode(deepest.as_bytes(), Trust::Checked).is_ok(), "{deepest}");
        assert!(decode(deepest.as_bytes(), Trust::Canonical).is_ok());
        for depth in [DEPTH_MAX + 1, 100_000] {
            let DecodeError::Json(error) = error(&line(&nested(depth))) else { panic!("{depth}") };
            assert_eq!(error.kind, ErrorKind::TooDeep);
        }
    }
}

#[test]
fn a_long_text_is_cut_where_the_error_shows_it() {
    let line = SET.replace("\"k\"", &format!("[\"{}\"]", "é".repeat(100)));
    let DecodeError::Invalid { field: "key", text } = error(&line) else { panic!() };
    assert_eq!(text, format!("[\"{}", "é".repeat(62)));
}

#[test]
fn an_own_line_cut_short_is_refused_too() {
    for line in [SET, EPOCH, BATCH] {
        for cut in 0..line.len() {
            let found = decode(&line.as_bytes()[..cut], Trust::Canonical);
            assert!(found.is_err() || line[..cut].ends_with('}'), "{}", &line[..cut]);
        }
    }
}
