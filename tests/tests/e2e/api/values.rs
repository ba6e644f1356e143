//! Values: the JSON text that was sent is the text that is read, less insignificant white space.

use super::Writer;
use headwater_tests::Client;

/// Texts that come back as they are.
const KEPT: [&str; 34] = [
    "null",
    "true",
    "0",
    "-0",
    "0.0",
    "-0.0e-0",
    "1.50",
    "1e2",
    "1E+2",
    "1.0e+002",
    "9007199254740993",
    "18446744073709551616",
    "-18446744073709551617",
    "123456789012345678901234567890.123456789012345678901234567890",
    "665e70",
    "1.7976931348623157e308",
    "-1.7976931348623157E308",
    "5e-324",
    "1e-400",
    "0e999",
    r#""""#,
    r#""\u00e9""#,
    r#""é""#,
    r#""\/\"\\\b\f\n\r\t""#,
    r#""\u0000\u001f""#,
    r#""\ud83d\ude00""#,
    r#""\uD83D\uDE00""#,
    "\"\u{1f600}\u{2028}\u{7f}\u{feff}\"",
    r#"{"b":1,"a":2,"":3,"B":4}"#,
    r#"{"\u0061":1,"b":{"\u0061":1}}"#,
    "[]",
    "{}",
    r#"[[],{},[{}],"a b"," "]"#,
    r#"{"type":"SET","seq":1,"value":{"value":"}\n"}}"#,
];
/// Texts with white space that means nothing, and what is left.
const COMPACTED: [(&str, &str); 5] = [
    (" 1 ", "1"),
    ("\r\n\t{ \"a\" : [ 1 , 2 ] ,\n\"b\":\"c d\" }", r#"{"a":[1,2],"b":"c d"}"#),
    ("[ ]", "[]"),
    ("{\n}", "{}"),
    ("[\t\" \\u0020\"\t]", "[\" \\u0020\"]"),
];

#[tokio::test]
async fn a_value_is_read_as_it_was_spelled() {
    let writer = Writer::start().await;
    let cases = KEPT.into_iter().map(|text| (text, text)).chain(COMPACTED);
    let mut deepest = [("[".repeat(128), "]".repeat(128)), (r#"{"a":"#.repeat(127) + "{", "}".repeat(128))]
        .map(|(open, close)| open + &close)
        .to_vec();
    deepest.push(format!("[{}]", vec!["\"padding\""; 20_000].join(",")));
    let cases: Vec<_> = cases.chain(deepest.iter().map(|text| (text.as_str(), text.as_str()))).collect();
    let mut expected = Vec::new();
    for (index, (sent, kept)) in cases.into_iter().enumerate() {
        let key = format!("key-{index:03}");
        let seq = writer.write(&key, sent).await.seq;
        let entry = writer.client.entry("flags", &key).await;
        let start = format!("{{\"key\":\"{key}\",\"value\":{kept},\"version\":1,\"seq\":{seq},\"updatedAt\":\"");
        assert!(entry.text().starts_with(&start), "{sent}: {}", entry.text());
        let time = &entry.text()[start.len()..];
        assert!(time.len() == 26 && time.ends_with("Z\"}") && time.as_bytes()[19] == b'.', "{time}");
        expected.push(entry.text().to_owned());
    }
    // A list shows the same texts, and so does a replica.
    let list = writer.client.get("/v1/collections/flags/keys").await;
    assert_eq!(list.text(), format!("[{}]", expected.join(",")));
    let replica = writer.replica(&[]).await;
    assert_eq!(replica.client().get("/v1/collections/flags/keys").await.body, list.body);
}

#[tokio::test]
async fn texts_survive_a_restart() {
    let mut writer = Writer::start().await;
    for (index, text) in KEPT.into_iter().enumerate() {
        writer.write(&format!("{index:03}"), text).await;
    }
    let before = writer.client.get("/v1/collections/flags/keys").await;
    writer.node.stop().await;
    writer.node.start_again().await;
    let after = Client::dev(writer.url()).get("/v1/collections/flags/keys").await;
    assert_eq!(after.body, before.body);
    assert_eq!(after.header("etag"), before.header("etag"));
}
