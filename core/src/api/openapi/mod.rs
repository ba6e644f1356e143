//! `GET /openapi.json`: the API in OpenAPI 3.1, written from one table.
//!
//! The table is a hand-made one and not macros over handlers (utoipa) or types (aide): routes are resolved by one function
//! that every kind of node shares, and what is answered is written by hand, byte for byte. Tests hold the table against the
//! router, and answers against the forms.

mod schemas;
mod table;
#[cfg(test)]
mod tests;

use super::error::Code;
use crate::json::write_string;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use schemas::SCHEMAS;
use table::{Access, Content, Good, OPERATIONS, Operation, Parameter};

const ABOUT: &str = "Headwater's API, the same on the writer, on replicas and at the edge. Every answer tells the position it \
                     is as of, and a replica's how far it may be behind the writer. HEAD is answered as GET, without the body. \
                     A method that a path does not take is answered 405, see MethodNotAllowed among the components' responses.";

/// The document.
#[must_use]
pub fn document() -> String {
    let mut out = String::from("{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Headwater\",\"version\":");
    text(&mut out, env!("CARGO_PKG_VERSION"));
    out.push_str(",\"description\":");
    text(&mut out, ABOUT);
    out.push_str(",\"license\":{\"name\":\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}},\"paths\":{");
    let mut paths: Vec<&str> = OPERATIONS.iter().map(|operation| operation.path).collect();
    paths.dedup();
    members(&mut out, &paths, |out, path| {
        text(out, path);
        out.push_str(":{");
        let on_path: Vec<_> = OPERATIONS.iter().filter(|operation| operation.path == *path).collect();
        members(out, &on_path, |out, operation| write_operation(out, operation));
        out.push('}');
    });
    out.push_str("},\"components\":{\"securitySchemes\":{");
    out.push_str(
        "\"apikey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"apikey\"},\
         \"secret\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"secret\"},\
         \"token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\"},\
         \"basic\":{\"type\":\"http\",\"scheme\":\"basic\"}},\"schemas\":{",
    );
    members(&mut out, SCHEMAS, |out, (name, schema)| {
        text(out, name);
        out.push(':');
        out.push_str(schema);
    });
    out.push_str(",\"Error\":");
    write_error_schema(&mut out);
    out.push_str("},\"responses\":{\"MethodNotAllowed\":{\"description\":");
    let code = Code::MethodNotAllowed;
    text(&mut out, &told(code));
    write_headers(&mut out, None, code.status(), &[code]);
    write_content(&mut out, None, true);
    out.push_str("}}}}");
    out
}

/// Writes `items` with commas between them.
fn members<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

fn text(out: &mut String, text: &str) {
    let mut bytes = Vec::new();
    write_string(&mut bytes, text);
    out.push_str(core::str::from_utf8(&bytes).expect("the JSON writer emits UTF-8"));
}

fn write_operation(out: &mut String, operation: &Operation) {
    text(out, &operation.method.to_ascii_lowercase());
    out.push_str(":{\"operationId\":");
    text(out, operation.id);
    out.push_str(",\"tags\":[");
    text(out, operation.tag);
    out.push_str("],\"summary\":");
    text(out, operation.about);
    out.push_str(",\"description\":");
    text(out, &who(operation.access));
    out.push_str(",\"security\":");
    out.push_str(match operation.access {
        Access::Public => "[]",
        Access::Pair | Access::Roles(_) => "[{\"apikey\":[],\"secret\":[]}]",
        Access::RolesOrToken(_) => "[{\"apikey\":[],\"secret\":[]},{\"token\":[]}]",
        Access::RolesOrAnonymous(_) => "[{\"apikey\":[],\"secret\":[]},{\"token\":[]},{}]",
        Access::RolesOrBasic(_) => "[{\"apikey\":[],\"secret\":[]},{\"basic\":[]}]",
    });
    if !operation.parameters.is_empty() {
        out.push_str(",\"parameters\":[");
        members(out, operation.parameters, write_parameter);
        out.push(']');
    }
    if let Some((schema, required)) = operation.body {
        out.push_str(&format!(",\"requestBody\":{{\"required\":{required},\"content\":{{\"application/json\":"));
        write_reference(out, schema);
        out.push_str("}}");
    }
    out.push_str(",\"responses\":{");
    write_answers(out, operation);
    out.push_str("}}");
}

fn who(access: Access) -> String {
    match access {
        Access::Public => String::from("For everybody."),
        Access::Pair => String::from("For a pair, not for a token."),
        Access::Roles(roles) => format!("For a pair with the role {roles}."),
        Access::RolesOrToken(roles) => format!("For a pair or a token with the role {roles}."),
        Access::RolesOrAnonymous(roles) => {
            format!(
                "For a pair or a token with the role {roles}, and without credentials as far as the key anonymous allows."
            )
        }
        Access::RolesOrBasic(roles) => {
            format!("For a pair with the role {roles}, in its headers or as basic authorization.")
        }
    }
}

fn write_parameter(out: &mut String, parameter: &Parameter) {
    let Parameter { name, place, required, about, schema } = parameter;
    out.push_str("{\"name\":");
    text(out, name);
    out.push_str(&format!(",\"in\":\"{place}\",\"required\":{required},\"description\":"));
    text(out, about);
    out.push_str(&format!(",\"schema\":{schema}}}"));
}

fn write_reference(out: &mut String, schema: &str) {
    out.push_str(&format!("{{\"schema\":{{\"$ref\":\"#/components/schemas/{schema}\"}}}}"));
}

/// Answers and errors by status: one status may be both.
fn write_answers(out: &mut String, operation: &Operation) {
    let errors = operation.errors();
    let mut statuses: Vec<u16> = operation.answers.iter().map(|good| good.status).collect();
    statuses.extend(errors.iter().map(|code| code.status()));
    statuses.sort_unstable();
    statuses.dedup();
    members(out, &statuses, |out, status| {
        let good = operation.answers.iter().find(|good| good.status == *status);
        let codes: Vec<Code> = errors.iter().copied().filter(|code| code.status() == *status).collect();
        text(out, &status.to_string());
        out.push_str(":{\"description\":");
        let mut about: Vec<String> = good.map(|good| good.about.into()).into_iter().collect();
        about.extend(codes.iter().copied().map(told));
        text(out, &about.join(" "));
        write_headers(out, good, *status, &codes);
        write_content(out, good, !codes.is_empty());
        out.push('}');
    });
}

/// What a description says of an error.
fn told(code: Code) -> String {
    format!("{}: {}", code.word(), code.meaning())
}

fn write_headers(out: &mut String, good: Option<&Good>, status: u16, codes: &[Code]) {
    let mut headers: Vec<(&str, &str)> = [
        ("Headwater-Position", "The position that the answer is as of"),
        ("Headwater-Lag-Ms", "On a replica, how far it may be behind the writer"),
    ]
    .into();
    for header in good.map_or(&[][..], |good| good.headers) {
        let about =
            if *header == "Link" { "Leads to the rest, where there is a limit" } else { "The entry's, or the list's" };
        headers.push((header, about));
    }
    if codes.iter().any(|code| code.asks_to_come_back()) {
        headers.push(("Retry-After", "After how many seconds to come back"));
    }
    if status == Code::PreconditionFailed.status() {
        headers.push(("ETag", "The entry's present one"));
    }
    if status == Code::MethodNotAllowed.status() {
        headers.push(("Allow", "The methods that the path does take"));
    }
    out.push_str(",\"headers\":{");
    members(out, &headers, |out, (name, about)| {
        text(out, name);
        out.push_str(":{\"description\":");
        text(out, about);
        out.push_str(",\"schema\":{\"type\":\"string\"}}");
    });
    out.push('}');
}

fn write_content(out: &mut String, good: Option<&Good>, is_error: bool) {
    let contents = good.map_or(&[][..], |good| good.content);
    let is_json = |content: &&Content| content.kind == super::CONTENT_JSON;
    if contents.is_empty() && !is_error {
        return;
    }
    out.push_str(",\"content\":{");
    let own = contents.iter().find(is_json).and_then(|content| content.schema);
    let mut kinds: Vec<(&str, String)> = Vec::new();
    let reference = |schema: &str| format!("{{\"$ref\":\"#/components/schemas/{schema}\"}}");
    let of_json = match (own, is_error) {
        (Some(own), true) => Some(format!("{{\"oneOf\":[{},{}]}}", reference(own), reference("Error"))),
        (Some(schema), false) => Some(reference(schema)),
        (None, true) => Some(reference("Error")),
        (None, false) => None,
    };
    kinds.extend(of_json.map(|schema| (super::CONTENT_JSON, schema)));
    kinds.extend(contents.iter().filter(|content| !is_json(content)).map(|c| (c.kind, "{\"type\":\"string\"}".into())));
    members(out, &kinds, |out, (kind, schema)| {
        text(out, kind);
        out.push_str(&format!(":{{\"schema\":{schema}}}"));
    });
    out.push('}');
}

fn write_error_schema(out: &mut String) {
    let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    words.sort_unstable();
    words.dedup();
    out.push_str(
        "{\"type\":\"object\",\"required\":[\"ok\",\"error\",\"message\"],\"additionalProperties\":false,\
         \"properties\":{\"ok\":{\"enum\":[false]},\"error\":{\"enum\":[",
    );
    members(out, &words, |out, word| text(out, word));
    out.push_str(
        "]},\"message\":{\"type\":\"string\",\"description\":\"For people; may change\"},\
         \"version\":{\"type\":\"integer\",\"description\":\"The entry's present one\"},\
         \"etag\":{\"type\":\"string\"},\
         \"index\":{\"type\":\"integer\",\"minimum\":0,\"description\":\"The op of a batch that is to blame\"}}}",
    );
}
