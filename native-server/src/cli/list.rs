//! `headwater list`: the entries of a collection in key order, shown as they come.

use super::ago::ago;
use super::client::{Call, Client, Incoming};
use super::connection::Connection;
use super::entry::{Entry, advise};
use super::failure::{Failure, Kind};
use super::output::Output;
use super::table::Table;
use super::value::shell_quoted;
use crate::clock::wall_ms;
use crate::whole::whole;
use axum::body::Bytes;
use axum::http::header::LINK;
use axum::http::{HeaderMap, StatusCode};
use clap::Args;
use headwater_core::api::{LIST_LIMIT_MAX, encode, unix_ms};
use headwater_core::command::{Deframer, lines};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

pub(super) const HELP: &str = "\
Examples:
  headwater list flags
  headwater list prices --prefix eu: --limit 20
  headwater list prices --after eu:berlin         the ones behind that key
  headwater list prices | jq -r 'select(.value > 100) | .key'

On a terminal the first 100 entries are shown unless --limit or --all says otherwise; into a pipe go all, unless \
--limit says otherwise. What is listed is the state at one position, however long it takes.

JSON: one entry a line, as the API answers it: {\"key\",\"value\",\"version\",\"seq\",\"updatedAt\"}";

/// Entries shown on a terminal unless told otherwise.
const SHOWN_DEFAULT: u64 = 100;
/// Longest silence before the node is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// `headwater list`.
#[derive(Debug, Args)]
pub struct List {
    /// The collection
    #[arg(value_parser = super::collection_name)]
    collection: String,
    /// Only keys that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// At most so many, up to 10000
    #[arg(long, value_name = "N", value_parser = whole::<u64>("entries", 1..=LIST_LIMIT_MAX as u64))]
    limit: Option<u64>,
    /// Only keys behind this one
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// All there are, on a terminal too
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl List {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let limit = self.limit.or((output.is_terminal && !self.all).then_some(SHOWN_DEFAULT));
        let call = Call::get(self.target(limit));
        let response = timeout(SILENCE_MAX, client.open_lines(call)).await.unwrap_or_else(|_| Err(silent()));
        let response = response.map_err(|failure| advise(failure, &self.collection))?;
        let (head, body) = response.into_parts();
        let mut shown = Shown::new(output);
        let outcome = read_lines(body, |line| shown.entry(client, line)).await;
        let (count, last) = shown.finish()?;
        outcome
            .map_err(|failure| Failure { message: format!("{} after {count} entries", failure.message), ..failure })?;
        output.finish()?;
        self.tell_rest(&head.headers, count, last.as_deref(), output);
        Ok(())
    }

    fn target(&self, limit: Option<u64>) -> String {
        let mut target = String::from("/v1/collections/");
        encode(&self.collection, &mut target);
        target.push_str("/keys?prefix=");
        encode(&self.prefix, &mut target);
        if let Some(limit) = limit {
            target.push_str(&format!("&limit={limit}"));
        }
        if let Some(after) = &self.after {
            target.push_str("&after=");
            encode(after, &mut target);
        }
        target
    }

    /// Says on stderr that more follow, or that there was nothing; the list itself is on stdout.
    fn tell_rest(&self, headers: &HeaderMap, count: u64, last: Option<&str>, output: &Output) {
        if let (true, Some(last)) = (headers.contains_key(LINK), last) {
            let mut command = format!("headwater list {}", self.collection);
            if !self.prefix.is_empty() {
                command.push_str(&format!(" --prefix {}", shell_quoted(&self.prefix)));
            }
            eprintln!("{count} shown; more follow: {command} --after {}, or all of them: --all", shell_quoted(last));
        } else if count == 0 && output.human {
            eprintln!("no entries");
        }
    }
}

fn silent() -> Failure {
    Failure::unable(format!("the node said nothing for {} s", SILENCE_MAX.as_secs()))
}

/// Hands each whole line of `body` to `each`, as it comes.
///
/// # Errors
/// When the body ends before its last line does, or stays silent for too long.
async fn read_lines(mut body: Incoming, mut each: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let broken = |why: String| Failure::new(Kind::Unable, format!("the list broke off ({why})"));
    let mut deframer = Deframer::new();
    loop {
        let frame = timeout(SILENCE_MAX, body.frame()).await.map_err(|_| silent())?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| broken(error.to_string()))?;
        let bytes: Bytes = frame.into_data().unwrap_or_default();
        let block = deframer.push(&bytes).map_err(|error| broken(error.to_string()))?;
        for (_, line) in block.iter().flat_map(|block| lines(block)) {
            each(line)?;
        }
    }
    if deframer.unfinished() > 0 { Err(broken("its last line is torn".into())) } else { Ok(()) }
}

/// What was shown so far.
struct Shown<'o> {
    output: &'o mut Output,
    table: Option<Table>,
    count: u64,
    last: Option<String>,
}

impl<'o> Shown<'o> {
    fn new(output: &'o mut Output) -> Self {
        let titles = &["KEY", "VERSION", "UPDATED", "VALUE"];
        let table = output.human.then(|| Table::new(titles, &[1], output.paint, Output::width()));
        Self { output, table, count: 0, last: None }
    }

    fn entry(&mut self, client: &Client, line: &[u8]) -> Result<(), Failure> {
        let entry: Entry<'_> = serde_json::from_slice(line).map_err(|_| client.foreign(StatusCode::OK))?;
        match &mut self.table {
            None => self.output.line(line)?,
            Some(table) => {
                let updated = unix_ms(&entry.updated_at).map_or(entry.updated_at, |ms| ago(wall_ms(), ms));
                let version = entry.version.to_string();
                table.row([&entry.key, &version, &updated, entry.value.get()], self.output.writer())?;
            }
        }
        self.count += 1;
        self.last = Some(entry.key);
        Ok(())
    }

    /// Writes what is left and gives back how many there were, and the last key.
    fn finish(mut self) -> Result<(u64, Option<String>), Failure> {
        if let Some(table) = &mut self.table {
            table.finish(self.output.writer())?;
        }
        Ok((self.count, self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        list: List,
    }

    fn list(words: &[&str]) -> List {
        Line::try_parse_from(["list"].iter().chain(words)).unwrap().list
    }

    #[test]
    fn the_part_asked_for_is_in_the_address() {
        assert_eq!(list(&["c"]).target(None), "/v1/collections/c/keys?prefix=");
        let part = list(&["c", "--prefix", "a&b", "--after", "a&b/é"]);
        assert_eq!(part.target(Some(7)), "/v1/collections/c/keys?prefix=a%26b&limit=7&after=a%26b%2F%C3%A9");
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_is_no_list() {
        let mut seen = Vec::new();
        let mut read = async |text: &'static str| {
            seen.clear();
            let outcome = read_lines(Incoming::from(text), |line| {
                seen.push(line.to_vec());
                Ok(())
            });
            let is_ok = outcome.await.is_ok();
            (is_ok, seen.len())
        };
        assert_eq!(read("{\"a\":1}\n{\"b\":2}\n").await, (true, 2));
        assert_eq!(read("").await, (true, 0));
        assert_eq!(read("{\"a\":1}\n{\"b\":").await, (false, 1));
    }
}
