//! Methods, paths and queries as they come from anybody: what a key is has one reading, and none that a proxy would change.
#![no_main]

use headwater_core::api::{Read, Route, route};

/// Any text as a path or a query has it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

libfuzzer_sys::fuzz_target!(|data: &str| {
    let mut parts = data.splitn(3, '\n');
    let (method, path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let found = match route(method, path, query) {
        Ok(found) => found,
        Err(error) => {
            assert!((400..500).contains(&error.code.status()), "{data:?}: {error:?}");
            return;
        }
    };
    let (collection, key) = match &found {
        Route::Read(Read::Entry { collection, key })
        | Route::Set { collection, key }
        | Route::Delete { collection, key } => (collection, key),
        _ => return,
    };
    assert!(!key.is_empty(), "{data:?}");
    if !path.ends_with("/entry") {
        let is_rewritten = |segment: &str| matches!(segment, "" | "." | "..");
        assert!(!key.contains('\\') && !key.split('/').any(is_rewritten), "{data:?} is the key {key:?}");
    }
    // The form that reaches any key reaches this one.
    let (path, query) = (format!("/v1/collections/{}/entry", encoded(collection)), format!("key={}", encoded(key)));
    assert_eq!(route(method, &path, Some(&query)).as_ref(), Ok(&found), "{data:?}");
});
