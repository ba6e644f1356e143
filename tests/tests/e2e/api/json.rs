//! Bodies that are no JSON, or JSON against the text rules: refused on every route that reads one.

use super::{Writer, refused};
use headwater_core::api::Code;
use headwater_tests::raw;

/// Values against the text rules, each in any place of any body.
fn bad_values() -> Vec<Vec<u8>> {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let objects = |depth: usize| [r#"{"a":"#.repeat(depth), "1".into(), "}".repeat(depth)].concat();
    let texts = [
        "1e400",
        "-1e400",
        "1.7976931348623159e308",
        "[0,{\"a\":1E+309}]",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"x":{"":1,"b":2,"":3}}]"#,
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\u0041""#,
        r#""\udc00\ud800""#,
        r#"{"\ud83d":1}"#,
        "\u{feff}1",
        "\"a\nb\"",
        "\"\0\"",
        r#""\x41""#,
        r#""\u12g4""#,
        "01",
        "-",
        "-01",
        "1.",
        ".5",
        "+1",
        "1e",
        "0x10",
        "NaN",
        "Infinity",
        "undefined",
        "True",
        "'a'",
        "[1,]",
        "[1 2]",
        "[,1]",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{a:1}"#,
        r#"{1:1}"#,
        "[1}",
        "1 // comment",
        "/* comment */ 1",
    ];
    let mut values: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).into();
    values.extend([129, 100_000].map(|depth| nested(depth).into_bytes()));
    values.extend([129, 100_000].map(|depth| objects(depth).into_bytes()));
    values.push("[".repeat(100_000).into_bytes());
    // Not UTF-8: a stray byte, an overlong form, an encoded surrogate, a character cut short, one beyond Unicode.
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"] {
        values.push([b"\"", bytes, b"\""].concat());
    }
    values
}

/// Whole bodies that are no object.
const BAD_BODIES: [&[u8]; 12] = [
    b" ",
    b"1",
    b"null",
    b"[]",
    b"\"a\"",
    b"{",
    b"}",
    b"{}}",
    b"{} {}",
    b"\xef\xbb\xbf{\"value\":1,\"name\":\"a\"}",
    b"\xff",
    b"value=1&name=a",
];

#[tokio::test]
async fn refuses_malformed_values_and_writes_nothing() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    let (before, entry) = (writer.client.position().await, writer.client.entry("flags", "a").await.body);
    let bodies = |value: &[u8]| {
        let alone = [b"{\"value\":", value, b"}"].concat();
        let ignored = [b"{\"value\":1,\"more\":", value, b"}"].concat();
        let before = [b"{\"more\":", value, b",\"value\":1}"].concat();
        [alone, ignored, before]
    };
    for value in bad_values() {
        for body in bodies(&value) {
            let reply = raw::ask(writer.url(), "PUT", "/v1/collections/flags/entry?key=a", &[], &body).await;
            let start = String::from_utf8_lossy(&body[..body.len().min(60)]);
            assert_eq!(reply.status, 400, "{start}: {}", reply.text());
            refused(&reply, Code::InvalidJson, &[]);
            assert!(reply.text().contains("at byte"), "{start}: {}", reply.text());
        }
    }
    let forms: [&[u8]; 9] = [
        b"",
        b"{}",
        b"{\"values\":1}",
        b"{\"Value\":1}",
        b"{\"value\":1,\"value\":1}",
        b"{\"value\":1,\"v\\u0061lue\":1}",
        b"{\"value\":}",
        b"{\"value\":1,\"ifAbsent\":1}",
        b"{\"value\":1,\"ifMatch\":\"no quotes\"}",
    ];
    for body in forms.into_iter().chain(BAD_BODIES) {
        let reply = raw::ask(writer.url(), "POST", "/v1/collections/flags/keys/a", &[], body).await;
        refused(&reply, Code::InvalidJson, &[]);
    }
    assert_eq!(writer.client.position().await, before);
    assert_eq!(writer.client.entry("flags", "a").await.body, entry);
}

#[tokio::test]
async fn refuses_malformed_names_of_collections_and_makes_none() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    let create = async |body: &[u8]| raw::ask(writer.url(), "POST", "/v1/collections", &[], body).await;
    // A name's body is small: deeper texts than fit are refused for their length.
    for value in bad_values().into_iter().filter(|value| value.len() < 60_000) {
        refused(&create(&[b"{\"name\":\"a\",\"more\":", &*value, b"}"].concat()).await, Code::InvalidJson, &[]);
    }
    for body in BAD_BODIES {
        refused(&create(body).await, Code::InvalidJson, &[]);
    }
    for body in [r#"{"name":1}"#, r#"{"name":null}"#, r#"{"name":["a"]}"#, r#"{"name":"a","name":"b"}"#] {
        refused(&create(body.as_bytes()).await, Code::InvalidJson, &[]);
    }
    for body in ["{}", r#"{"collection":"a"}"#, r#"{"Name":"a"}"#] {
        refused(&create(body.as_bytes()).await, Code::UnnamedCollection, &["name"]);
    }
    refused(&create(b"").await, Code::InvalidJson, &[]);
    for name in ["-a", ".a", ":a", "a b", "a/b", "a\\u0000", "é", "a%20b", "..", "a\\n", " a", "*"] {
        refused(&create(format!("{{\"name\":\"{name}\"}}").as_bytes()).await, Code::InvalidKey, &["collection name"]);
    }
    refused(&create(br#"{"name":""}"#).await, Code::InvalidKey, &[]);
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn refuses_malformed_bodies_of_streams() {
    let writer = Writer::start().await;
    let open = async |body: &[u8]| raw::ask(writer.url(), "POST", "/v1/replicate", &[], body).await;
    for value in bad_values() {
        refused(&open(&[b"{\"node\":\"a\",\"more\":", &*value, b"}"].concat()).await, Code::InvalidJson, &[]);
    }
    // White space alone is an empty body here: everything public, from the start.
    for body in BAD_BODIES.into_iter().filter(|body| *body != b" ") {
        refused(&open(body).await, Code::InvalidJson, &[]);
    }
    for (body, field) in [
        (r#"{"node":1}"#, "node"),
        (r#"{"instance":"x"}"#, "instance"),
        (r#"{"instance":1}"#, "instance"),
        (r#"{"scope":"***"}"#, "scope"),
        (r#"{"scope":{}}"#, "scope"),
        (r#"{"scope":{"flags":[]}}"#, "scope"),
        (r#"{"scope":{"a/b":[""]}}"#, "scope"),
        (r#"{"scope":{"flags":[1]}}"#, "scope"),
        (r#"{"scope":["flags"]}"#, "scope"),
        (r#"{"scope":null}"#, "scope"),
        (r#"{"cursor":1}"#, "cursor"),
        (r#"{"cursor":{}}"#, "cursor"),
        (r#"{"cursor":{"epoch":1,"seq":1}}"#, "cursor"),
        (r#"{"cursor":{"epoch":-1,"seq":1,"scope":"*"}}"#, "cursor"),
        (r#"{"cursor":{"epoch":1,"seq":9007199254740992,"scope":"*"}}"#, "cursor"),
        (r#"{"cursor":{"epoch":1,"seq":1,"scope":{}}}"#, "scope"),
    ] {
        refused(&open(body.as_bytes()).await, Code::InvalidJson, &[field]);
    }
    assert_eq!(writer.client.status().await["children"], serde_json::json!([]));
}
