//! `./dev attack`: a node as operators start it, under standard tools that attack HTTP servers, a fuzzer that knows the
//! API's own description, and a clock that looks for what wrong keys tell.
//!
//! `headwater-attack [slow] [load] [schema] [timing]`: what is named, or all of it. Everything is bounded in count and time.
//! Panics with what did not hold; at the end, and then too, a table says what was held against the node.

mod load;
mod node;
mod probe;
mod schema;
mod slow;
mod table;
mod timing;
mod tool;

use std::process::ExitCode;
use table::Table;

const ATTACKS: [&str; 4] = ["slow", "load", "schema", "timing"];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut named: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = named.iter().find(|name| !ATTACKS.contains(&name.as_str())) {
        eprintln!("no attack {unknown:?}; there are: {}", ATTACKS.join(" "));
        return ExitCode::from(2);
    }
    if named.is_empty() {
        named = ATTACKS.map(String::from).to_vec();
    }
    let mut table = Table::default();
    for name in named {
        match &*name {
            "slow" => slow::attack(&mut table).await,
            "load" => load::attack(&mut table).await,
            "schema" => schema::attack(&mut table).await,
            _ => timing::attack(&mut table).await,
        }
    }
    // It prints itself when it is let go of, after a failure too.
    ExitCode::SUCCESS
}
