//! The table against the router, and the reference against the table.

use super::super::error::ApiError;
use super::super::route::{KeyRoute, Read, Route, route};
use super::*;
use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use serde_json::Value;

/// A path and query of the operation's form.
fn sample(operation: &Operation) -> (String, Option<String>) {
    let path = operation.path.replace("{collection}", "flags").replace("{key}", "a").replace("{id}", "ci");
    let required: Vec<_> = operation.parameters.iter().filter(|p| p.place == "query" && p.required).collect();
    let query: Vec<_> = required.iter().map(|parameter| format!("{}=a", parameter.name)).collect();
    (path, (!query.is_empty()).then(|| query.join("&")))
}

/// The name of a route. A new one does not compile until it is here, and is missed by the test until it is in the table.
fn kind(route: &Route<'_>) -> &'static str {
    match route {
        Route::Health => "health",
        Route::Ready => "ready",
        Route::Status => "status",
        Route::Metrics => "metrics",
        Route::Exposition => "exposition",
        Route::Document => "document",
        Route::Read(Read::Collections) => "collections",
        Route::Read(Read::List { .. }) => "list",
        Route::Read(Read::Entry { .. }) => "entry",
        Route::CreateCollection => "create",
        Route::DropCollection(_) => "drop",
        Route::Set { .. } => "set",
        Route::Delete { .. } => "delete",
        Route::Batch(_) => "batch",
        Route::Replicate => "replicate",
        Route::Keys => "keys",
        Route::Key(KeyRoute::Create) => "create key",
        Route::Key(KeyRoute::Change(_)) => "change key",
        Route::Key(KeyRoute::Rotate(_)) => "rotate key",
        Route::Key(KeyRoute::Revoke(_)) => "revoke key",
        Route::Tokens => "tokens",
        Route::File(_) => "file",
    }
}

const KINDS: [&str; 21] = [
    "health",
    "ready",
    "status",
    "metrics",
    "exposition",
    "document",
    "collections",
    "list",
    "entry",
    "create",
    "drop",
    "set",
    "delete",
    "batch",
    "replicate",
    "keys",
    "tokens",
    "create key",
    "change key",
    "rotate key",
    "revoke key",
];

#[test]
fn every_route_is_in_the_table_with_its_methods_and_nothing_else_is() {
    let mut reached = BTreeSet::new();
    let mut methods: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for operation in OPERATIONS {
        let (path, query) = sample(operation);
        let found = route(operation.method, &path, query.as_deref());
        let found = found.unwrap_or_else(|error| panic!("{} {path}: {}", operation.method, error.message));
        reached.insert(kind(&found));
        assert_eq!(found.is_public(), operation.access == Access::Public, "{path}");
        methods.entry(operation.path).or_default().insert(operation.method);
        let refused = route("BREW", &path, query.as_deref()).unwrap_err();
        let allowed: BTreeSet<_> = refused.allow.expect("the path is known").split(", ").collect();
        let of_path = OPERATIONS.iter().filter(|other| other.path == operation.path).map(|other| other.method);
        assert_eq!(allowed, of_path.collect(), "{path}");
    }
    assert_eq!(reached, KINDS.into());
    let all: usize = methods.values().map(BTreeSet::len).sum();
    assert_eq!(all, OPERATIONS.len(), "nothing is there twice");
}

#[test]
fn every_path_that_the_router_names_is_in_the_table() {
    let source = include_str!("../route.rs");
    let (_, router) = source.split_once("fn route_by_segments").expect("the router");
    let (router, _) = router.split_once("\n}\n").expect("it ends");
    let table: BTreeSet<_> =
        OPERATIONS.iter().map(|o| o.path.split('/').map(String::from).collect::<Vec<_>>()).collect();
    let arms: Vec<_> = router.lines().map(str::trim).filter(|line| line.starts_with('[')).collect();
    assert!(arms.len() >= 14, "{arms:?}");
    for arm in arms {
        let (pattern, _) = arm[1..].split_once(']').expect("a pattern");
        let alternatives =
            |piece: &str| piece.split('|').map(|word| word.trim().trim_matches('"').to_owned()).collect::<Vec<_>>();
        let pieces: Vec<Vec<String>> = pattern.split(',').map(str::trim).map(alternatives).collect();
        for choice in 0..pieces.iter().map(Vec::len).max().unwrap_or(1) {
            let wanted: Vec<&str> = pieces.iter().map(|words| words[choice.min(words.len() - 1)].as_str()).collect();
            let fits = |path: &Vec<String>| {
                let known = &path[1..];
                known.len() == wanted.len()
                    && known.iter().zip(&wanted).all(|(known, wanted)| match *wanted {
                        "_" | ".." => known.starts_with('{'),
                        wanted => known == wanted,
                    })
            };
            assert!(table.iter().any(fits), "{wanted:?} is not in the table");
        }
    }
}

#[test]
fn every_code_is_documented_where_it_can_come() {
    let documented: BTreeSet<usize> = OPERATIONS.iter().flat_map(Operation::errors).map(|code| code as usize).collect();
    for code in Code::ALL {
        // A method that a path does not take has no operation to be documented at.
        let is_one = documented.contains(&(*code as usize)) || *code == Code::MethodNotAllowed;
        assert!(is_one, "{} {}", code.word(), code.status());
    }
}

#[test]
fn a_code_that_says_when_to_come_back_is_documented_with_the_header_and_no_other_is() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    for operation in OPERATIONS {
        let told = &document["paths"][operation.path][operation.method.to_ascii_lowercase()]["responses"];
        // Codes share a status: it tells of the header where it comes with any of them.
        let mut comes: BTreeMap<String, bool> = BTreeMap::new();
        for code in operation.errors() {
            *comes.entry(format!("{}", code.status())).or_default() |= ApiError::new(code, "").retry_after_s.is_some();
        }
        let told = told.as_object().expect("an operation has answers");
        for (status, answer) in told {
            let is_told = answer["headers"]["Retry-After"].is_object();
            assert_eq!(is_told, comes.get(status).is_some_and(|comes| *comes), "{} {status}", operation.id);
        }
        assert!(comes.keys().all(|status| told.contains_key(status)), "{}", operation.id);
    }
    let refused = &document["components"]["responses"]["MethodNotAllowed"];
    assert!(refused["headers"]["Allow"].is_object() && refused["content"]["application/json"].is_object(), "{refused}");
}

#[test]
fn the_document_is_json_whose_references_lead_somewhere() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].clone().to_string()), "{method} {path}");
            assert!(operation["responses"]["400"].is_object(), "{method} {path}");
            let placed = operation["parameters"]
                .as_array()
                .map_or(0, |parameters| parameters.iter().filter(|parameter| parameter["in"] == "path").count());
            assert_eq!(placed, path.matches('{').count(), "{method} {path}");
        }
    }
    assert_eq!(ids.len(), OPERATIONS.len());
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut used = BTreeSet::new();
    let mut waiting = Vec::from([&document]);
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let name = reference.strip_prefix("#/components/schemas/").unwrap();
                    assert!(schemas.contains_key(name), "{reference}");
                    used.insert(name.to_owned());
                }
                waiting.extend(members.values());
            }
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    assert_eq!(used, schemas.keys().cloned().collect(), "each form is used");
}

/// The page `docs/reference.md`.
fn reference() -> String {
    let mut page = String::from(
        "# API reference\n\n\
         Made from the same table as `GET /openapi.json`; `UPDATE_DOCS=1 cargo test -p headwater-core openapi` writes it anew. In\n\
         words: [The HTTP API](api.md), [Errors](errors.md), [Credentials](credentials.md).\n",
    );
    let mut tag = "";
    for operation in OPERATIONS {
        if operation.tag != tag {
            tag = operation.tag;
            page.push_str(&format!("\n## {tag}\n"));
        }
        page.push_str(&format!(
            "\n### {} {}\n\n{}. {}\n",
            operation.method,
            operation.path,
            operation.about,
            who(operation.access)
        ));
        if !operation.parameters.is_empty() {
            page.push_str("\n| parameter | in | |\n|---|---|---|\n");
        }
        for Parameter { name, place, required, about, .. } in operation.parameters {
            let must = if *required { "; required" } else { "" };
            page.push_str(&format!("| `{name}` | {place} | {about}{must} |\n"));
        }
        if let Some((schema, required)) = operation.body {
            let must = if required { "" } else { ", may be left out" };
            page.push_str(&format!("\nBody: [`{schema}`](#{}){must}.\n", schema.to_ascii_lowercase()));
        }
        page.push_str("\n| status | |\n|---|---|\n");
        for Good { status, about, content, .. } in operation.answers {
            let forms = content.iter().map(|content| match content.schema {
                Some(schema) => format!(": [`{schema}`](#{})", schema.to_ascii_lowercase()),
                None => format!(" or `{}`", content.kind),
            });
            page.push_str(&format!("| {status} | {about}{} |\n", forms.collect::<String>().trim_start_matches(" or")));
        }
        let errors = operation.errors();
        let mut statuses: Vec<u16> = errors.iter().map(|code| code.status()).collect();
        statuses.dedup();
        for status in statuses {
            let words = errors.iter().filter(|code| code.status() == status).map(|code| format!("`{}`", code.word()));
            page.push_str(&format!("| {status} | {} |\n", words.collect::<Vec<_>>().join(", ")));
        }
    }
    page.push_str("\n## Forms\n\nJSON Schema. Every error has the form of [Errors](errors.md).\n");
    for (name, schema) in SCHEMAS {
        let value: Value = serde_json::from_str(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        page.push_str(&format!("\n### {name}\n\n```json\n{pretty}\n```\n"));
    }
    page
}

#[test]
#[cfg(not(target_family = "wasm"))]
#[expect(clippy::disallowed_methods, reason = "the test writes a page of the repository when it is asked to")]
fn the_reference_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
    let page = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/reference.md is not up to date: UPDATE_DOCS=1 cargo test -p headwater-core openapi");
}
