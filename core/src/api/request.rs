//! Bodies of writes.

use super::error::{ApiError, Code};
use crate::json;
use crate::writer::{Guard, Refusal, Tags};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The body of a SET: `{"value":...}`, with guards beside it if wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBody<'a> {
    /// The value, checked, its insignificant white space taken out.
    pub value: Cow<'a, str>,
    /// `ifMatch` and `ifAbsent`.
    pub guard: Guard,
}

/// One op of a batch: `{"op":"set","key":...,"value":...}` or `{"op":"delete","key":...}`, with guards if wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOp<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// As [`EntryBody::value`]; `None` to delete.
    pub value: Option<Cow<'a, str>>,
    /// `ifMatch` and `ifAbsent`.
    pub guard: Guard,
}

pub(super) fn not_of_form(what: &str) -> ApiError {
    ApiError::new(Code::InvalidJson, format!("the body is not of the form {what}"))
}

fn invalid(error: json::Error) -> ApiError {
    ApiError::new(Code::InvalidJson, format!("{error}"))
}

/// The body's members, by `members`, which must be one of [`json`]'s that take an object apart.
pub(super) fn object<'a>(
    body: &'a [u8],
    form: &str,
    members: impl FnOnce(&'a str) -> Result<json::Members<'a>, json::Error>,
) -> Result<json::Members<'a>, ApiError> {
    let text = json::utf8(body).map_err(invalid)?;
    // The body's own braces do not count towards the depth of what is in it.
    members(text).map_err(|error| {
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
    for (name, raw) in object(body, FORM, json::members)? {
        match &*name {
            "value" => value = Some(raw),
            _ => read_guard(&name, raw, &mut guard)?,
        }
    }
    let value = value.ok_or_else(|| not_of_form(FORM))?;
    Ok(EntryBody { value: json::compact(value.as_bytes()).map_err(invalid)?, guard })
}

/// Takes a member that is a guard into `guard`, and passes over any other.
fn read_guard(name: &str, raw: &str, guard: &mut Guard) -> Result<(), ApiError> {
    match name {
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
    Ok(())
}

/// Reads the body of `POST /v1/collections/{collection}/batch`, `{"ops":[...]}`, with `commands_max` ops at most: of more
/// none is kept. Whether they go together is the writer's to say.
///
/// # Errors
/// 400 `invalid_json`, naming the place or the field, and the op by its `index` where one is not of the form; 413
/// `too_large`.
pub fn batch_body(body: &[u8], commands_max: usize) -> Result<Vec<BatchOp<'_>>, ApiError> {
    const FORM: &str = "{\"ops\":[{\"op\":\"set\",\"key\":\"...\",\"value\":...},...]}";
    let fields = object(body, FORM, |text| json::members_and_rows(text, "ops"))?;
    let raw = fields.iter().find(|(name, _)| name == "ops").map(|(_, raw)| *raw).ok_or_else(|| not_of_form(FORM))?;
    let mut rows = json::rows(raw).map_err(|_| not_of_form(FORM))?;
    let mut ops = Vec::new();
    while let Some(row) = rows.next() {
        let index = ops.len();
        if index == commands_max {
            let size = index + 1 + rows.count();
            return Err(Refusal::TooLarge { what: "batch", size, limit: commands_max }.into());
        }
        let op = batch_op(row.map_err(|_| not_of_form(FORM))?).map_err(|error| {
            let message = format!("command {index} of the batch: {}", error.message).into();
            ApiError { message, index: Some(index), ..error }
        })?;
        ops.push(op);
    }
    Ok(ops)
}

fn batch_op<'a>(row: json::Members<'a>) -> Result<BatchOp<'a>, ApiError> {
    let (mut sets, mut key, mut value) = (None, None, None);
    let mut guard = Guard::default();
    for (name, raw) in row {
        match &*name {
            "op" => sets = Some(json::string(raw)),
            "key" => key = json::string(raw),
            "value" => value = Some(raw),
            _ => read_guard(&name, raw, &mut guard)?,
        }
    }
    let lacks = |what: &str| ApiError::new(Code::InvalidJson, what);
    let sets = match sets.flatten().as_deref() {
        Some("set") => true,
        Some("delete") => false,
        _ => return Err(lacks("its \"op\" is neither \"set\" nor \"delete\"")),
    };
    let key = key.ok_or_else(|| lacks("it has no \"key\" that is a string"))?;
    let value = match value {
        Some(raw) if sets => Some(json::compact(raw.as_bytes()).map_err(invalid)?),
        None if sets => return Err(lacks("it sets a key and has no \"value\"")),
        _ => None,
    };
    Ok(BatchOp { key, value, guard })
}

/// Reads the body of `POST /v1/collections`, `{"name":...}`.
///
/// # Errors
/// 400 `invalid_json`, or `missing_collection` when no name is given.
pub fn collection_name(body: &[u8]) -> Result<String, ApiError> {
    const FORM: &str = "{\"name\":\"...\"}";
    let fields = object(body, FORM, json::members)?;
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
    fn reads_ops_in_order_with_their_guards() {
        let body = br#" {"ops": [ {"op":"set","key":"a\u00e9","value": [1, 2.50],"ifAbsent":true},
            {"value":null,"key":"","ifMatch":"\"3-9\"","op":"delete","note":1} ], "more": 1 } "#;
        let ops = batch_body(body, 2).unwrap();
        let absent = Guard { matches: None, matches_none: Some(Tags::Any) };
        let held = Guard { matches: Some(Tags::List(alloc::vec!["3-9".into()])), matches_none: None };
        assert_eq!(ops[0], BatchOp { key: "a\u{e9}".into(), value: Some("[1,2.50]".into()), guard: absent });
        assert_eq!(ops[1], BatchOp { key: "".into(), value: None, guard: held });
        assert_eq!((ops.len(), batch_body(br#"{"ops":[]}"#, 2).unwrap().len()), (2, 0));
        let error = batch_body(body, 1).unwrap_err();
        assert_eq!((error.code, &*error.message), (Code::TooLarge, "the batch has 2 commands, the limit is 1"));
    }

    #[test]
    fn a_value_in_a_batch_is_as_deep_as_one_alone() {
        let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        for depth in [json::DEPTH_MAX, json::DEPTH_MAX + 1] {
            let value = deep(depth);
            let batch = format!(r#"{{"ops":[{{"op":"set","key":"a","value":{value}}}]}}"#);
            let alone = format!(r#"{{"value":{value}}}"#);
            let taken = depth == json::DEPTH_MAX;
            assert_eq!((batch_body(batch.as_bytes(), 9).is_ok(), entry_body(alone.as_bytes()).is_ok()), (taken, taken));
        }
    }

    #[test]
    fn refuses_other_batches_and_names_the_op() {
        for body in ["", "[]", "{}", r#"{"ops":1}"#, r#"{"ops":{}}"#, r#"{"ops":[1]}"#, r#"{"ops":[],"ops":[]}"#] {
            let error = batch_body(body.as_bytes(), 9).unwrap_err();
            assert_eq!((error.code, error.index), (Code::InvalidJson, None), "{body}");
        }
        for (op, words) in [
            (r#"{}"#, "\"op\""),
            (r#"{"key":"a","value":1}"#, "\"op\""),
            (r#"{"op":"put","key":"a","value":1}"#, "\"op\""),
            (r#"{"op":1,"key":"a","value":1}"#, "\"op\""),
            (r#"{"op":"set","value":1}"#, "\"key\""),
            (r#"{"op":"set","key":1,"value":1}"#, "\"key\""),
            (r#"{"op":"set","key":"a"}"#, "\"value\""),
            (r#"{"op":"set","key":"a","value":1,"ifMatch":1}"#, "\"ifMatch\""),
            (r#"{"op":"delete","key":"a","ifAbsent":1}"#, "\"ifAbsent\""),
        ] {
            let body = format!(r#"{{"ops":[{{"op":"delete","key":"b"}},{op}]}}"#);
            let error = batch_body(body.as_bytes(), 9).unwrap_err();
            assert_eq!((error.code, error.index), (Code::InvalidJson, Some(1)), "{body}");
            assert!(error.message.contains(words), "{body}: {}", error.message);
        }
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
