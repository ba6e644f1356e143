//! `headwater keys`: who may do what, made, listed, changed, rotated and revoked.

use super::ago::ago;
use super::client::{Call, Client};
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Output, json_string};
use super::table::Table;
use crate::clock::wall_ms;
use crate::settings::age;
use axum::http::StatusCode;
use clap::{Args, Subcommand, ValueEnum};
use headwater_core::api::{encode, unix_ms};
use headwater_core::credentials::ANONYMOUS;
use headwater_core::scope::{Collections, Scope};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const HELP: &str = "\
Examples:
  headwater keys list
  headwater keys create app --role read                        reads everything public
  headwater keys create ci --role write --collection prices/eu:
  headwater keys create far --role node                        for a replica
  headwater keys create anonymous --role read --collection flags
  headwater keys rotate app --grace 24h                        both secrets are good for a day
  headwater keys revoke app                                    at once, open streams too
  headwater keys token --ttl 1h --role read                    for a browser: part of what this pair may, for a while

A key made or rotated is told once: its secret is nowhere else. Keys are managed with a pair of role admin, and nobody hands out \
more than that pair may do itself. Ask any node; the writer keeps them.

JSON: what the API answers, {\"keys\":[{\"id\",\"roles\",\"grants\",\"created\"},...]} and {\"ok\":true,\"id\",\"secret\",...}";

const PATH: &str = "/v1/keys";

/// What to do when nobody knows what became of a change.
const AFTER_DOUBT: &str =
    "See what is there with: headwater keys list. The secret of a lost answer is nowhere: rotate that key.";

/// `headwater keys`.
#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the keys and what each may do
    #[command(after_help = "Example:\n  headwater keys list | jq -r '.keys[].id'")]
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Make a key and show its secret, once
    #[command(after_help = "\
Examples:
  headwater keys create app --role read
  headwater keys create ci --role read --role write --collection flags --collection prices/eu:
  headwater keys create anonymous --role read --collection flags   for whoever shows no pair
  headwater keys create mixed --grants '[{\"roles\":[\"read\"],\"scope\":{\"flags\":[\"\"]}},
                                         {\"roles\":[\"write\"],\"scope\":{\"prices\":[\"eu:\"]}}]'

With --collection the roles read and write are within these collections, or within keys of them that begin with what stands \
behind the slash; admin and node are over everything.")]
    Create {
        /// Its id, which clients send as apikey [default: one is drawn]
        id: Option<String>,
        #[command(flatten)]
        rights: Rights,
        #[command(flatten)]
        connection: Connection,
    },
    /// Change what a key may do; its secret stays
    #[command(
        after_help = "Example:\n  headwater keys change app --role read --collection flags      nothing but that"
    )]
    Change {
        /// Its id
        id: String,
        #[command(flatten)]
        rights: Rights,
        #[command(flatten)]
        connection: Connection,
    },
    /// Give a key another secret and show it, once
    #[command(after_help = "\
Examples:
  headwater keys rotate app                      the old secret is out at once
  headwater keys rotate app --grace 24h          it stays good beside the new one for a day")]
    Rotate {
        /// Its id
        id: String,
        /// How long the old secret stays good: 10m, 24h, 7d at most [default: not at all]
        #[arg(long, value_name = "AGE", value_parser = age)]
        grace: Option<Duration>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Make a token: part of what the pair may do with entries, for a while
    #[command(after_help = "\
Examples:
  headwater keys token                                             all that the pair reads and writes, for 15 minutes
  headwater keys token --ttl 1h --role read --collection flags
  curl -H \"Authorization: Bearer $HEADWATER_TOKEN\" $HEADWATER_URL/v1/collections

It is good at every node, and ends with its time, with the pair's secret, and when the key may do less than it says. Nothing \
is written for it.")]
    Token {
        /// How long it is good: 10m, 1h, 24h at most [default: 15m]
        #[arg(long, value_name = "AGE", value_parser = age)]
        ttl: Option<Duration>,
        #[command(flatten)]
        rights: Rights,
        #[command(flatten)]
        connection: Connection,
    },
    /// End a key at once, and every stream that was opened with it
    #[command(after_help = "Example:\n  headwater keys revoke app")]
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
}

/// What a key may do, on the command line.
#[derive(Debug, Args)]
struct Rights {
    /// What it may do; repeatable
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// Where it may read or write: a collection, or COLLECTION/PREFIX; repeatable [default: everywhere]
    #[arg(long = "collection", value_name = "COLLECTION[/PREFIX]", value_parser = place)]
    places: Vec<(String, String)>,
    /// Further grants as the API takes them: [{"roles":["read"],"scope":{"flags":[""]}},...]
    #[arg(long, value_name = "JSON", value_parser = grants)]
    grants: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Read entries and follow streams
    Read,
    /// Change entries and create collections
    Write,
    /// Drop collections, manage keys, see status and metrics
    Admin,
    /// Read and follow everything, as replicas and backups do
    Node,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

/// A collection, with what the keys begin with behind the first slash, which no name has.
fn place(text: &str) -> Result<(String, String), String> {
    let (name, prefix) = text.split_once('/').unwrap_or((text, ""));
    Ok((super::collection_name(name)?, prefix.into()))
}

fn grants(text: &str) -> Result<String, String> {
    let elements = headwater_core::json::elements(text).map_err(|error| error.to_string())?;
    Ok(elements.join(","))
}

impl Rights {
    /// Whether nothing is said of what may be done.
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.grants.is_none() && self.places.is_empty()
    }

    /// The members of a body.
    ///
    /// # Errors
    /// Where nothing is given, or a place to a role that has none.
    fn members(&self) -> Result<String, Failure> {
        if self.is_empty() {
            return Err(Failure::usage("say what it may do: --role, which is repeatable, or --grants"));
        }
        let (narrow, wide): (Vec<Role>, Vec<Role>) =
            self.roles.iter().partition(|role| !self.places.is_empty() && matches!(role, Role::Read | Role::Write));
        if !self.places.is_empty() && narrow.is_empty() {
            return Err(Failure::usage(
                "--collection is for the roles read and write; admin and node are over everything",
            ));
        }
        let words =
            |roles: &[Role]| roles.iter().map(|role| format!("\"{}\"", role.word())).collect::<Vec<_>>().join(",");
        let mut grants = Vec::new();
        if !narrow.is_empty() {
            let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for (name, prefix) in &self.places {
                places.entry(name).or_default().push(prefix.clone());
            }
            let places = Collections::new(places.into_iter().map(|(name, prefixes)| (name.into(), prefixes)));
            let scope = places.map(Scope::Only).map_err(|error| Failure::usage(error.to_string()))?;
            grants.push(format!("{{\"roles\":[{}],\"scope\":{scope}}}", words(&narrow)));
        }
        grants.extend(self.grants.clone());
        Ok(format!("\"roles\":[{}],\"grants\":[{}]", words(&wide), grants.join(",")))
    }
}

/// What the API tells of a key.
#[derive(Deserialize)]
struct Key {
    id: String,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    grants: Vec<Grant>,
    #[serde(default, rename = "previousUntil")]
    previous_until: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    damaged: bool,
}

#[derive(Deserialize)]
struct Grant {
    roles: Vec<String>,
    scope: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct List {
    keys: Vec<Key>,
}

impl Key {
    /// What it may do, in words: `admin; read in flags, prices/eu:`.
    fn may(&self) -> String {
        if self.damaged {
            return "nothing: its entry is damaged".into();
        }
        let mut parts = Vec::new();
        if !self.roles.is_empty() {
            parts.push(self.roles.join(", "));
        }
        for grant in &self.grants {
            let place =
                |name: &str, prefix: &str| if prefix.is_empty() { name.into() } else { format!("{name}/{prefix}") };
            let places =
                grant.scope.iter().flat_map(|(name, prefixes)| prefixes.iter().map(move |prefix| place(name, prefix)));
            parts.push(format!("{} in {}", grant.roles.join(", "), places.collect::<Vec<_>>().join(", ")));
        }
        if parts.is_empty() { "nothing".into() } else { parts.join("; ") }
    }
}

impl Keys {
    pub(super) fn connection(&self) -> &Connection {
        match &self.action {
            Action::List { connection }
            | Action::Create { connection, .. }
            | Action::Change { connection, .. }
            | Action::Rotate { connection, .. }
            | Action::Token { connection, .. }
            | Action::Revoke { connection, .. } => connection,
        }
    }

    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let call = match &self.action {
            Action::List { .. } => return list(client, output).await,
            Action::Token { ttl, rights, .. } => return token(*ttl, rights, client, output).await,
            Action::Create { id, rights, .. } => {
                let id = id.as_ref().map_or(String::new(), |id| format!("\"id\":{},", json_string(id)));
                Call::post(PATH.into(), format!("{{{id}{}}}", rights.members()?))
            }
            Action::Change { id, rights, .. } => Call::put(of(id, ""), format!("{{{}}}", rights.members()?)),
            Action::Rotate { id, grace, .. } => {
                let grace_ms = grace.map_or(0, |grace| grace.as_millis());
                Call::post(of(id, "/rotate"), format!("{{\"graceMs\":{grace_ms}}}"))
            }
            Action::Revoke { id, .. } => Call::delete(of(id, "")),
        };
        let reply = client.call(call).await.map_err(doubted)?;
        if !output.human {
            return output.line(reply.body);
        }
        let key: Key = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
        match &self.action {
            Action::Revoke { id, .. } => output.line(format!("revoked {id}")),
            _ => tell(&key, output),
        }
    }
}

/// The path of a key.
fn of(id: &str, further: &str) -> String {
    let mut target = format!("{PATH}/");
    encode(id, &mut target);
    target + further
}

fn doubted(failure: Failure) -> Failure {
    if failure.is("outcome_unknown") || failure.kind == super::failure::Kind::OutcomeUnknown {
        return Failure { next: vec![AFTER_DOUBT.into()], ..failure };
    }
    failure
}

fn tell(key: &Key, output: &mut Output) -> Result<(), Failure> {
    eprintln!("{} may {}", key.id, key.may());
    let Some(secret) = &key.secret else {
        if key.id == ANONYMOUS {
            eprintln!("It needs no pair: that is what everybody may who shows none.");
        }
        return Ok(());
    };
    if let Some(until) = &key.previous_until {
        eprintln!("The old secret is good until {until}.");
    }
    eprintln!("The secret is shown only this once:");
    output.line(format!("HEADWATER_APIKEY={}", key.id))?;
    output.line(format!("HEADWATER_SECRET={secret}"))
}

/// What the API tells of a token.
#[derive(Deserialize)]
struct Token {
    token: String,
    #[serde(rename = "expiresAt")]
    expires_at: String,
}

async fn token(ttl: Option<Duration>, rights: &Rights, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut members = Vec::new();
    members.extend(ttl.map(|ttl| format!("\"ttlMs\":{}", ttl.as_millis())));
    if let Some(role) = rights.roles.iter().find(|role| !matches!(role, Role::Read | Role::Write)) {
        let words = format!("a token carries read and write, never {}", role.word());
        return Err(Failure::usage(words).next("Whoever needs more than that needs a key: headwater keys create"));
    }
    if !rights.is_empty() {
        members.push(rights.members()?);
    }
    let reply = client.call(Call::ask("/v1/tokens".into(), format!("{{{}}}", members.join(",")))).await?;
    if !output.human {
        return output.line(reply.body);
    }
    let token: Token = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
    eprintln!("It is good until {}.", token.expires_at);
    output.line(format!("HEADWATER_TOKEN={}", token.token))
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let reply = client.call(Call::get(PATH.into())).await?;
    if !output.human {
        return output.line(reply.body);
    }
    let list: List = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
    if list.keys.is_empty() {
        eprintln!("no keys; make one: headwater keys create NAME --role read");
    }
    let now = wall_ms();
    // Nothing is cut off: what is left out of the last column would be what somebody may.
    let mut table = Table::new(&["ID", "CREATED", "OLD SECRET", "MAY"], &[], output.paint, usize::MAX);
    for key in &list.keys {
        let created = key.created.as_deref().and_then(unix_ms).map_or(String::new(), |then| ago(now, then));
        let until = key.previous_until.as_deref().and_then(unix_ms).filter(|until| *until > now);
        let old = until.map_or(String::new(), |until| format!("for {}", super::ago::span(until - now)));
        table.row([&key.id, &created, &old, &key.may()], output.writer())?;
    }
    Ok(table.finish(output.writer())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rights: Rights,
    }

    fn members(arguments: &[&str]) -> Result<String, Failure> {
        Line::try_parse_from([&["keys"], arguments].concat()).unwrap().rights.members()
    }

    #[test]
    fn roles_and_places_become_what_the_api_takes() {
        for (arguments, body) in [
            (&["--role", "read", "--role", "admin"][..], r#""roles":["read","admin"],"grants":[]"#),
            (
                &[
                    "--role",
                    "read",
                    "--role",
                    "node",
                    "--collection",
                    "flags",
                    "--collection",
                    "p/eu:",
                    "--collection",
                    "p/us/a",
                ],
                r#""roles":["node"],"grants":[{"roles":["read"],"scope":{"flags":[""],"p":["eu:","us/a"]}}]"#,
            ),
            (
                &["--grants", r#" [ {"roles":["write"],"scope":{"p":["eu:"]}} ] "#],
                r#""roles":[],"grants":[{"roles":["write"],"scope":{"p":["eu:"]}}]"#,
            ),
            (
                &["--role", "write", "--collection", "a", "--grants", r#"[{"roles":["read"],"scope":{"b":[""]}}]"#],
                r#""roles":[],"grants":[{"roles":["write"],"scope":{"a":[""]}},{"roles":["read"],"scope":{"b":[""]}}]"#,
            ),
        ] {
            assert_eq!(members(arguments).unwrap(), body, "{arguments:?}");
        }
    }

    #[test]
    fn a_place_for_a_role_that_has_none_is_refused() {
        for arguments in [&["--role", "admin", "--collection", "flags"][..], &["--collection", "flags"], &[]] {
            assert!(members(arguments).is_err(), "{arguments:?}");
        }
        for arguments in [&["--role", "boss"][..], &["--role", "read", "--collection", "../flags"], &["--grants", "{}"]]
        {
            assert!(Line::try_parse_from([&["keys"], arguments].concat()).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn what_a_key_may_is_told_in_words() {
        let may = |json: &str| serde_json::from_str::<Key>(json).unwrap().may();
        assert_eq!(may(r#"{"id":"a","roles":["read","admin"]}"#), "read, admin");
        assert_eq!(
            may(
                r#"{"id":"a","roles":["admin"],"grants":[{"roles":["read","write"],"scope":{"f":[""],"p":["eu:","us:"]}}]}"#
            ),
            "admin; read, write in f, p/eu:, p/us:"
        );
        assert_eq!(may(r#"{"id":"a","roles":[]}"#), "nothing");
        assert!(may(r#"{"id":"a","roles":[],"damaged":true}"#).contains("damaged"));
    }
}
