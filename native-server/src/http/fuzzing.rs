//! What the fuzz target `shown` calls. Only with the feature `fuzzing`.

use super::basic::basic;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Reads any text as basic authorization.
///
/// # Panics
/// When something does not hold: what is read is what somebody else writes of the same pair, and it is read of one header alone.
pub fn basic_authorization(text: &str) {
    let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { return };
    let of = |value: HeaderValue| HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let mut headers = of(value.clone());
    let Some((apikey, secret)) = basic(&headers) else { return };
    let encoded = BASE64_STANDARD.encode(format!("{apikey}:{secret}"));
    let written = HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 can stand in a header");
    assert_eq!(basic(&of(written)), Some((apikey, secret)), "{text:?}");
    headers.append(AUTHORIZATION, value.clone());
    assert_eq!(basic(&headers), None, "{text:?} twice");
    for name in ["apikey", "secret"] {
        let mut headers = of(value.clone());
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(""));
        assert_eq!(basic(&headers), None, "{text:?} beside {name}");
    }
}
