//! `headwater collections`: list, create and drop.

use super::client::{Call, Client};
use super::connection::Connection;
use super::failure::{Failure, Kind};
use super::output::{Output, json_string};
use super::paint::visible;
use axum::http::StatusCode;
use clap::{Args, Subcommand};
use headwater_core::api::encode;
use serde::Deserialize;
use std::io::{self, BufRead, IsTerminal};

pub(super) const HELP: &str = "\
Examples:
  headwater collections
  headwater collections create flags
  headwater collections drop flags                asks before it does
  headwater collections drop flags --yes          in scripts

JSON: {\"collections\":[...]}, and for create and drop {\"ok\":true,\"collection\":\"flags\"}";

const PATH: &str = "/v1/collections";

/// `headwater collections`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Collections {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    here: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a collection; one that exists already is left as it is
    #[command(after_help = "Example:\n  headwater collections create flags")]
    Create {
        /// Its name: letters, digits, '.', '_', ':' and '-'
        #[arg(value_parser = super::collection_name)]
        name: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Drop a collection with all its entries
    #[command(
        after_help = "Examples:\n  headwater collections drop flags          asks first\n  headwater collections drop flags --yes    in a script"
    )]
    Drop {
        /// Its name
        #[arg(value_parser = super::collection_name)]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Deserialize)]
struct Names {
    collections: Vec<String>,
}

impl Collections {
    /// The options stand behind the subcommand, where there is one.
    pub(super) fn connection(&self) -> &Connection {
        match &self.action {
            None => &self.here,
            Some(Action::Create { connection, .. } | Action::Drop { connection, .. }) => connection,
        }
    }

    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let (did, name, body) = match &self.action {
            None => return list(client, output).await,
            Some(Action::Create { name, .. }) => ("created", name, create(client, name).await?),
            Some(Action::Drop { name, yes, .. }) => {
                if !yes {
                    confirm(client, name)?;
                }
                let mut target = format!("{PATH}/");
                encode(name, &mut target);
                ("dropped", name, client.call(Call::delete(target)).await?.body)
            }
        };
        if output.human { output.line(format!("{did} {name}")) } else { output.line(body) }
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let reply = client.call(Call::get(PATH.into())).await?;
    if !output.human {
        return output.line(reply.body);
    }
    let names: Names = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
    if names.collections.is_empty() {
        eprintln!("no collections; create one: headwater collections create NAME");
    }
    names.collections.iter().try_for_each(|name| output.line(&*visible(name)))
}

/// Creates a collection unless it exists, and gives back what the API answered.
pub(super) async fn create(client: &Client, name: &str) -> Result<String, Failure> {
    let body = format!("{{\"name\":{}}}", json_string(name));
    Ok(client.call(Call::post(PATH.into(), body)).await?.body)
}

/// Asks a person; a script must say `--yes`.
fn confirm(client: &Client, name: &str) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "dropping {name} deletes all its entries, and nobody is there to be asked"
        ))
        .next(format!("If that is meant: headwater collections drop {name} --yes")));
    }
    eprint!("Drop the collection {name} at {} with all its entries? Type its name to confirm: ", client.base());
    let mut typed = String::new();
    let read = input.read_line(&mut typed);
    if read.is_err() || typed.trim() != name {
        return Err(Failure::new(Kind::Refused, "not confirmed; nothing was dropped"));
    }
    Ok(())
}
