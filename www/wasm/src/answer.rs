//! Core's answers as plain JavaScript objects.

use headwater_core::api::{Answer, ApiError, Body};
use headwater_core::position::Position;
use headwater_core::store::Snapshot;
use js_sys::{Error, Object, Reflect};
use wasm_bindgen::JsValue;

/// `{status, headers, body}`; `headers` by lower-case name, `body` a text. An error becomes the answer it stands for, as
/// of `position`.
///
/// # Errors
/// Throws an `Error` when a list was given up half-way; nothing of it is handed out then.
pub(crate) fn object<N: Snapshot>(
    outcome: Result<Answer<N>, ApiError>,
    position: Position,
    lag_ms: Option<u64>,
) -> Result<Object, Error> {
    let answer = outcome.unwrap_or_else(|error| Answer::from(error).as_of(position, lag_ms));
    let body = match answer.body {
        Body::Full(bytes) => bytes.to_vec(),
        Body::List(mut list) => {
            let mut whole = Vec::new();
            while let Some(piece) = list.next_piece().map_err(|error| Error::new(&error.to_string()))? {
                whole.extend_from_slice(&piece);
            }
            whole
        }
    };
    let body = String::from_utf8(body).map_err(|error| Error::new(&error.to_string()))?;
    let headers = Object::new();
    for (name, value) in answer.headers {
        set(&headers, name, &(&*value).into())?;
    }
    let object = Object::new();
    set(&object, "status", &answer.status.into())?;
    set(&object, "headers", &headers)?;
    set(&object, "body", &body.into())?;
    Ok(object)
}

fn set(object: &Object, name: &str, value: &JsValue) -> Result<(), Error> {
    Reflect::set(object, &name.into(), value).map(drop).map_err(Error::from)
}
