//! `headwater get`, `set` and `delete`: one entry, always by `entry?key=`, which reaches any key.

use super::ago::{ago, span};
use super::client::{Call, Client, Reply};
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Output, json_string, with_fields};
use super::paint::visible;
use super::pretty::pretty;
use super::value::{self, shell_quoted};
use crate::clock::wall_ms;
use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use clap::Args;
use headwater_core::api::{encode, unix_ms};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The header that names a write.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) const GET_HELP: &str = "\
Examples:
  headwater get flags checkout
  headwater get flags checkout --value            the value alone
  headwater get flags checkout | jq -r .etag      for headwater set --if-match

JSON: the entry as the API answers it, with its ETag, the position the node read it at and, from a replica, how many \
milliseconds it is behind: {\"key\",\"value\",\"version\",\"seq\",\"updatedAt\",\"etag\",\"position\",\"lagMs\"}";

pub(super) const SET_HELP: &str = "\
Examples:
  headwater set flags checkout true
  headwater set flags checkout '{\"on\":true}' --create
  headwater set flags greeting '\"hello\"'          a text is JSON in double quotes
  headwater set flags checkout @checkout.json     from a file
  jq .on=false checkout.json | headwater set flags checkout -
  headwater set flags checkout false --if-match 12-1763650000000
  headwater set locks deploy '\"me\"' --if-absent   only if there is none
  headwater set orders 17 1 --idempotency-key o17 said again after exit status 4 (outcome unknown): done once

JSON: {\"ok\":true,\"seq\",\"version\",\"position\"}";

pub(super) const DELETE_HELP: &str = "\
Examples:
  headwater delete flags checkout
  headwater delete flags checkout --if-match 12-1763650000000
  headwater delete flags -- --odd-key             a key that looks like an option

JSON: {\"ok\":true,\"seq\",\"version\",\"position\"}";

/// `headwater get`.
#[derive(Debug, Args)]
pub struct Get {
    /// The collection
    #[arg(value_parser = super::collection_name)]
    collection: String,
    /// The entry's key
    #[arg(value_parser = super::key)]
    key: String,
    /// Write the value alone
    #[arg(long, help_heading = "Output")]
    value: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `headwater set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The collection
    #[arg(value_parser = super::collection_name)]
    collection: String,
    /// The entry's key
    #[arg(value_parser = super::key)]
    key: String,
    /// The value: JSON, @FILE to read it from a file, or - to read it from stdin
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// Create the collection if it is missing
    #[arg(long, conflicts_with = "if_match")]
    create: bool,
    /// Write only if the entry still has this ETag
    #[arg(long, value_name = "ETAG", value_parser = etag, conflicts_with = "if_absent")]
    if_match: Option<String>,
    /// Write only if there is no entry
    #[arg(long)]
    if_absent: bool,
    #[command(flatten)]
    repeat: Repeat,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `headwater delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The collection
    #[arg(value_parser = super::collection_name)]
    collection: String,
    /// The entry's key
    #[arg(value_parser = super::key)]
    key: String,
    /// Delete only if the entry still has this ETag
    #[arg(long, value_name = "ETAG", value_parser = etag)]
    if_match: Option<String>,
    #[command(flatten)]
    repeat: Repeat,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// How a write is known if it is sent again.
#[derive(Debug, Args)]
struct Repeat {
    /// Name this write: said again under the same name it is answered as the first time, and done once. 1 to 255 visible
    /// characters, another for each write
    #[arg(long, value_name = "NAME", value_parser = idempotency_key)]
    idempotency_key: Option<HeaderValue>,
}

impl Repeat {
    fn name(&self, call: Call) -> Call {
        match &self.idempotency_key {
            Some(key) => call.with_value(HeaderName::from_static(IDEMPOTENCY_KEY), key.clone()),
            None => call,
        }
    }
}

/// An entry as the API shows it.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    pub(super) key: String,
    #[serde(borrow)]
    pub(super) value: &'a RawValue,
    pub(super) version: u64,
    pub(super) seq: u64,
    #[serde(rename = "updatedAt")]
    pub(super) updated_at: String,
}

/// The answer to a write.
#[derive(Deserialize)]
struct Written {
    seq: u64,
    version: u64,
}

impl Get {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let call = Call::get(target(&self.collection, &self.key));
        let reply = client.call(call).await.map_err(|failure| advise_entry(failure, &self.collection))?;
        let entry: Entry<'_> = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
        if !output.human {
            return output.line(if self.value { entry.value.get().into() } else { with_headers(&reply, true) });
        }
        output.line(pretty(entry.value.get(), output.paint))?;
        if self.value {
            return Ok(());
        }
        let mut facts = format!("version {} · seq {} · {}", entry.version, entry.seq, when(&entry.updated_at));
        if let Some(etag) = reply.etag() {
            facts.push_str(&format!(" · ETag {}", visible(etag.trim_matches('"'))));
        }
        if let Some(lag_ms) = reply.lag_ms() {
            facts.push_str(&format!(" · from a replica, {} behind", span(lag_ms)));
        }
        output.line(output.paint.dim(&facts).to_string())
    }
}

impl Set {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let value = value::read(&self.value, &[&self.collection, &self.key])?;
        let call = || {
            let call = Call::post(target(&self.collection, &self.key), format!("{{\"value\":{value}}}"));
            let call = if self.if_absent { call.with(IF_NONE_MATCH, "*") } else { call };
            self.repeat.name(guarded(call, self.if_match.as_deref()))
        };
        let mut answer = client.call(call()).await;
        if self.create && answer.as_ref().is_err_and(|failure| failure.is("missing_collection")) {
            super::collections::create(client, &self.collection).await?;
            answer = client.call(call()).await;
        }
        let reply = answer.map_err(|failure| {
            let create = format!("Create it first: headwater collections create {}", self.collection);
            let create = format!("{create}\n  or with the entry: headwater set {} ... --create", self.collection);
            self.explain_guard(failure.next_on("missing_collection", &create))
        })?;
        report_write(&reply, "set", &self.collection, &self.key, client, output)
    }

    fn explain_guard(&self, failure: Failure) -> Failure {
        if self.if_absent {
            let get = format!("There is one: headwater get {} {}", self.collection, shell_quoted(&self.key));
            return failure.next_on("precondition_failed", &get);
        }
        explain_guard(failure)
    }
}

impl Delete {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let call = guarded(Call::delete(target(&self.collection, &self.key)), self.if_match.as_deref());
        let call = self.repeat.name(call);
        let failed = |failure| explain_guard(advise_entry(failure, &self.collection));
        let reply = client.call(call).await.map_err(failed)?;
        report_write(&reply, "deleted", &self.collection, &self.key, client, output)
    }
}

impl Failure {
    /// Adds a line of what to do next if the node gave this code.
    #[must_use]
    fn next_on(self, code: &str, line: &str) -> Self {
        if self.is(code) { self.next(line) } else { self }
    }
}

/// What to do about a collection that does not exist.
pub(super) fn advise(failure: Failure, collection: &str) -> Failure {
    let create = format!("headwater collections shows which there are; headwater collections create {collection}");
    failure.next_on("missing_collection", &create)
}

/// What to do about an entry that does not exist, or its collection.
fn advise_entry(failure: Failure, collection: &str) -> Failure {
    let list = format!("See which keys there are: headwater list {collection}");
    advise(failure, collection).next_on("not_found", &list)
}

fn explain_guard(failure: Failure) -> Failure {
    let Some(etag) = failure.etag.clone().filter(|_| failure.is("precondition_failed")) else {
        return failure.next_on("precondition_failed", "Read the entry and decide anew.");
    };
    let etag = visible(etag.trim_matches('"')).into_owned();
    failure.next(format!("Its ETag is now {etag}: read the entry, decide anew, and say --if-match {etag}"))
}

/// The address of an entry.
pub(super) fn target(collection: &str, key: &str) -> String {
    let mut target = String::from("/v1/collections/");
    encode(collection, &mut target);
    target.push_str("/entry?key=");
    encode(key, &mut target);
    target
}

/// An ETag from the command line, with its quotes or without.
fn etag(text: &str) -> Result<String, String> {
    let tag = text.trim().trim_matches('"');
    if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
        return Err("not an ETag: `headwater get` shows it".into());
    }
    Ok(format!("\"{tag}\""))
}

/// The name of a write from the command line.
fn idempotency_key(text: &str) -> Result<HeaderValue, String> {
    let is_one = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(text).ok().filter(|_| is_one);
    value.ok_or_else(|| "a name for a write has 1 to 255 visible ASCII characters".into())
}

fn guarded(call: Call, if_match: Option<&str>) -> Call {
    match if_match {
        Some(etag) => call.with_value(IF_MATCH, HeaderValue::from_str(etag).expect("checked when it was parsed")),
        None => call,
    }
}

/// The answer's body with what its headers say.
fn with_headers(reply: &Reply, is_read: bool) -> String {
    let quoted = |text: &str| json_string(text);
    let fields = [
        ("etag", reply.etag().filter(|_| is_read).map(|etag| quoted(etag.trim_matches('"')))),
        ("position", reply.position().map(quoted)),
        ("lagMs", reply.lag_ms().filter(|_| is_read).map(|lag_ms| lag_ms.to_string())),
    ];
    with_fields(&reply.body, &fields)
}

fn report_write(
    reply: &Reply,
    did: &str,
    collection: &str,
    key: &str,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let Written { seq, version } = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
    if !output.human {
        return output.line(with_headers(reply, false));
    }
    let facts = format!("version {version} · seq {seq}");
    let what = format!("{did} {collection} {}", visible(key));
    output.line(format!("{what}  {}", output.paint.dim(&facts)))
}

/// A moment as the API writes it, and how long ago that was.
pub(super) fn when(updated_at: &str) -> String {
    match unix_ms(updated_at) {
        Some(ms) => format!("{} ({updated_at})", ago(wall_ms(), ms)),
        None => visible(updated_at).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_has_an_address() {
        assert_eq!(target("flags", "../a b\u{e9}"), "/v1/collections/flags/entry?key=%2E%2E%2Fa%20b%C3%A9");
    }

    #[test]
    fn an_etag_is_taken_with_quotes_or_without() {
        assert_eq!(etag("12-5").unwrap(), "\"12-5\"");
        assert_eq!(etag("\"12-5\"").unwrap(), "\"12-5\"");
        for text in ["", "\"\"", "a\"b", "a b", "a\nb"] {
            assert!(etag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_write_is_named_by_what_a_header_takes() {
        assert_eq!(idempotency_key("o-17").unwrap(), "o-17");
        for text in ["", "a b", "é", "a\n", &"x".repeat(256)] {
            assert!(idempotency_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_an_entry_without_touching_its_value() {
        let body = r#"{"key":"a\"b","value":{"n":1.0E+2},"version":3,"seq":12,"updatedAt":"2025-11-20T14:46:40.000Z"}"#;
        let entry: Entry<'_> = serde_json::from_str(body).unwrap();
        assert_eq!((&*entry.key, entry.value.get(), entry.version), ("a\"b", r#"{"n":1.0E+2}"#, 3));
    }
}
