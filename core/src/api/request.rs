//! Bodies of writes.

use super::error::{ApiError, Code};
use crate::json;
use crate::writer::Guard;
use crate::writer::Tags;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// The body of a SET: `{"value":...}`, with guards beside it if wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBody<'a> {
    /// The value, checked, its insignificant white space taken out.
    pub value: Cow<'a, str>,
    /// `ifMatch` and `ifAbsent`.
    pub guard: Guard,
}

fn not_of_form(what: &str) -> ApiError {
    ApiError::new(Code::InvalidJson, format!("the body is not of the form {what}"))
}

fn object<'a>(body: &'a [u8], form: &str) -> Result<alloc::vec::Vec<(Cow<'a, str>, &'a str)>, ApiError> {
    let invalid = |error: json::Error| ApiError::new(Code::InvalidJson, format!("{error}"));
    let text = json::utf8(body).map_err(invalid)?;
    // The body's own braces do not count towards the depth of what is in it.
    json::members(text).map_err(|error| {
        let starts_otherwise = text.trim_ascii_start().bytes().next().is_some_and(|byte| byte != b'{');
        if starts_otherwise && json::validate(body).is_ok() { not_of_form(form) } else { invalid(error) }
    })
}

/// Reads the body of a SET.
///
/// # Errors
/// 400 `invalid_json`, naming the place or the field.
pub fn entry_body(body: &[u8]) -> Result<EntryBody<'_>, ApiError> {
    const FORM: &str = "{\"value\":...}";
    let mut value = None;
    let mut guard = Guard::default();
    for (name, raw) in object(body, FORM)? {
        match &*name {
            "value" => value = Some(raw),
            "ifMatch" => {
                let tags = json::string(raw).and_then(|text| super::parse_tags(&text));
                let invalid = || ApiError::new(Code::InvalidJson, "\"ifMatch\" is not an ETag in quotes");
                guard.matches = Some(tags.ok_or_else(invalid)?);
            }
            "ifAbsent" => match json::boolean(raw) {
                Some(true) => guard.matches_none = Some(Tags::Any),
                Some(false) => {}
                None => return Err(ApiError::new(Code::InvalidJson, "\"ifAbsent\" is neither true nor false")),
            },
            _ => {}
        }
    }
    let value = value.ok_or_else(|| not_of_form(FORM))?;
    let value =
        json::compact(value.as_bytes()).map_err(|error| ApiError::new(Code::InvalidJson, format!("{error}")))?;
    Ok(EntryBody { value, guard })
}

/// Reads the body of `POST /v1/collections`, `{"name":...}`.
///
/// # Errors
/// 400 `invalid_json`, or `missing_collection` when no name is given.
pub fn collection_name(body: &[u8]) -> Result<String, ApiError> {
    const FORM: &str = "{\"name\":\"...\"}";
    let fields = object(body, FORM)?;
    let raw = fields.iter().find(|(name, _)| name == "name").map(|(_, raw)| *raw);
    let raw = raw.ok_or_else(|| {
        ApiError::new(Code::UnnamedCollection, "the body names no collection: send {\"name\":\"...\"}")
    })?;
    json::string(raw).map(Cow::into_owned).ok_or_else(|| not_of_form(FORM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_value_as_spelled() {
        let body = entry_body(b" {\"value\": {\"a\": 1.0E+2, \"b\":\"\\u00e9\"} } ").unwrap();
        assert_eq!(body.value, "{\"a\":1.0E+2,\"b\":\"\\u00e9\"}");
        assert_eq!(body.guard, Guard::default());
        assert_eq!(entry_body(b"{\"value\":null}").unwrap().value, "null");
    }

    #[test]
    fn reads_guards_beside_the_value() {
        let body = entry_body(br#"{"value":1,"ifMatch":"\"3-9\"","ifAbsent":true}"#).unwrap();
        assert_eq!(body.guard.matches, Some(Tags::List(alloc::vec!["3-9".into()])));
        assert_eq!(body.guard.matches_none, Some(Tags::Any));
    }

    #[test]
    fn refuses_other_bodies() {
        for body in [
            "",
            "[]",
            "1",
            "{}",
            "{\"values\":1}",
            "{\"value\":}",
            "{\"value\":1,\"value\":2}",
            "{\"value\":1,\"ifAbsent\":1}",
            "{\"value\":1,\"ifMatch\":\"x\"}",
        ] {
            assert_eq!(entry_body(body.as_bytes()).unwrap_err().code, Code::InvalidJson, "{body}");
        }
        assert_eq!(collection_name(b"{}").unwrap_err().code, Code::UnnamedCollection);
        assert_eq!(collection_name(b"{\"name\":1}").unwrap_err().code, Code::InvalidJson);
        assert_eq!(collection_name(b"{\"name\":\"a\"}").unwrap(), "a");
    }
}
