//! As much of JSON Schema as the API's document uses, to hold answers against it.

use serde_json::Value;

/// Whether `value` is of the form `schema`, whose references lead into `document`.
///
/// # Errors
/// Where it is not, and why.
///
/// # Panics
/// If the schema has a word that is not known here: it would pass over what it says.
pub fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{why}: {value} is not {schema}"));
    for (word, rule) in schema.as_object().expect("a schema is an object") {
        match word.as_str() {
            "$ref" => {
                let pointer =
                    rule.as_str().and_then(|text| text.strip_prefix('#')).expect("it leads into the document");
                let target = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"));
                check(document, target, value)?;
            }
            "allOf" => items(rule).try_for_each(|part| check(document, part, value))?,
            "oneOf" => {
                let fitting = items(rule).filter(|part| check(document, part, value).is_ok()).count();
                if fitting != 1 {
                    return wrong(&format!("it is of {fitting} forms"));
                }
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str().expect("a type is a word") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("the type {other} is not known"),
                };
                if !rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is)) {
                    return wrong("another type");
                }
            }
            "enum" if !items(rule).any(|known| known == value) => return wrong("another value"),
            "required" => {
                let is_missing =
                    |name: &&Value| value.is_object() && value.get(name.as_str().expect("a name")).is_none();
                if let Some(name) = items(rule).find(is_missing) {
                    return wrong(&format!("{name} is missing"));
                }
            }
            "properties" => {
                for (name, part) in rule.as_object().expect("an object") {
                    value.get(name).map_or(Ok(()), |member| check(document, part, member))?;
                }
            }
            "additionalProperties" => {
                let known = |name: &str| schema["properties"].get(name).is_some();
                for (name, member) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    match rule {
                        Value::Bool(false) => return wrong(&format!("{name:?} is not known")),
                        Value::Bool(true) => {}
                        part => check(document, part, member)?,
                    }
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| check(document, rule, item))?,
            "minimum" if value.as_i64() < rule.as_i64() && value.is_number() => return wrong("too small"),
            // What bodies are asked to be is no matter of answers.
            "enum" | "minimum" | "maximum" | "minItems" | "minProperties" | "minLength" | "maxLength" | "pattern"
            | "format" | "description" => {}
            other => panic!("{other} is not known"),
        }
    }
    Ok(())
}

fn items(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.as_array().expect("a list").iter()
}
