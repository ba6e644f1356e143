//! Stored keys as anybody might have written them: both readers of one agree, what is written is read back, and what is
//! damaged or not understood grants nothing.
#![no_main]

use headwater_core::api::entry_body;
use headwater_core::credentials::StoredKey;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // What no write is taken with is never stored.
    let body = format!("{{\"value\":{text}}}");
    let Ok(body) = entry_body(body.as_bytes()) else { return };
    let value = &*body.value;
    let key = StoredKey::read(value);
    // With a blank before it, it is not of the form that is read by itself.
    assert_eq!(StoredKey::read(&format!(" {value}")), key, "{value:?}");
    let Some(key) = key else { return };
    assert!(serde_json::from_str::<serde_json::Value>(value).is_ok_and(|value| value.is_object()), "{value:?}");
    let written = key.to_json();
    assert_eq!(StoredKey::read(&written).as_ref(), Some(&key), "{value:?} is written {written:?}");
    assert!(key.rights.contains(&key.rights.reading_alone()), "{value:?}");
});
