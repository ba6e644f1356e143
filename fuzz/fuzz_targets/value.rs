//! Bodies of writes as they come from anybody: what is taken is JSON for others too, means the same, and is taken again.
#![no_main]

use headwater_core::api::{batch_body, entry_body};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(body) = entry_body(data) {
        let theirs: serde_json::Value = serde_json::from_slice(data).expect("others take it for JSON too");
        let ours: serde_json::Value = serde_json::from_str(&body.value).expect("so is the value");
        assert_eq!(ours, theirs["value"]);
        let again = format!("{{\"value\":{}}}", body.value);
        let again = entry_body(again.as_bytes()).expect("what is stored can be written again");
        assert_eq!(again.value, body.value);
    }
    if let Ok(ops) = batch_body(data, 100) {
        let theirs: serde_json::Value = serde_json::from_slice(data).expect("others take it for JSON too");
        assert_eq!(theirs["ops"].as_array().map(Vec::len), Some(ops.len()));
    }
});
