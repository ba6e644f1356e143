//! `headwater watch`: follows a node's stream and shows every change as it comes.
//!
//! It is a replica like any other: core's state machine over a memory store, so no change is missed or shown twice
//! however often the connection breaks, and what could not be resumed is shown as the difference it made. The scope is
//! as narrow as what was asked for; memory is that of its entries.

mod difference;
mod follow;
mod rows;
mod screen;

use super::client::Client;
use super::connection::Connection;
use super::failure::{Failure, Kind};
use super::output::Output;
use clap::Args;
use follow::Follower;
use headwater_core::scope::{Collections, Scope};
use screen::Screen;

pub(super) const HELP: &str = "\
Examples:
  headwater watch                                 every collection
  headwater watch prices --prefix eu:
  headwater watch flags --initial                 what there is, then what changes
  headwater watch flags | jq -c 'select(.type == \"SET\") | [.key, .value]'

It connects again whenever the stream breaks and goes on behind the last change it showed. Where the node cannot go on \
from there, the difference between before and now is shown instead. Ends with Ctrl-C. Times on a terminal are UTC.

JSON: the lines of the log themselves (types EPOCH, CREATE, SET, DELETE, DROP, BATCH). With --initial, and where the \
stream could not be resumed, a line of another kind comes first:

  {\"type\":\"REBASED\",\"position\",\"before\",\"reason\",\"collections\":[...]}

It lists all collections there are. Behind it, each entry that is new or changed is a SET without \"prev\", and each one \
that is gone from a collection of the list is {\"type\":\"GONE\",\"collection\",\"key\"}.";

/// `headwater watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Only this collection
    #[arg(value_parser = super::collection_name)]
    collection: Option<String>,
    /// Only keys that begin with this
    #[arg(long, value_name = "PREFIX", requires = "collection", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Show the entries that there are first
    #[arg(long)]
    initial: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Watch {
    pub(super) async fn run(&self, client: Client, output: &mut Output) -> Result<(), Failure> {
        let screen = Screen::new(output, self.collection.is_none());
        let mut follower = Follower::new(client, self.scope()?, self.initial, screen);
        let outcome = tokio::select! {
            never = follower.run() => never.map(|never| match never {}),
            interrupted = tokio::signal::ctrl_c() => Err(match interrupted {
                Ok(()) => Failure::new(Kind::Interrupted, ""),
                Err(error) => Failure::unable(format!("cannot wait for Ctrl-C: {error}")),
            }),
        };
        follower.leave();
        outcome
    }

    fn scope(&self) -> Result<Scope, Failure> {
        let Some(collection) = &self.collection else { return Ok(Scope::Public) };
        let only = Collections::new([(collection.clone(), vec![self.prefix.clone()])]);
        only.map(Scope::Only).map_err(|error| Failure::usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        watch: Watch,
    }

    fn scope(words: &[&str]) -> String {
        Line::try_parse_from(["watch"].iter().chain(words)).unwrap().watch.scope().unwrap().to_json()
    }

    #[test]
    fn the_scope_is_as_narrow_as_asked() {
        assert_eq!(scope(&[]), "\"*\"");
        assert_eq!(scope(&["flags"]), r#"{"flags":[""]}"#);
        assert_eq!(scope(&["prices", "--prefix", "eu:"]), r#"{"prices":["eu:"]}"#);
        assert!(Line::try_parse_from(["watch", "--prefix", "eu:"]).is_err());
    }
}
