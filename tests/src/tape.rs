//! Takes down every command of a writer's log while it dies and lets go of older log: what it acknowledged can be held
//! against this when the log itself does not reach back that far any more.

use crate::client::Client;
use crate::eventually::eventually;
use crate::lines::Lines;
use crate::task::AbortOnDrop;
use crate::wire;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A running tape. Ends when dropped.
pub struct Tape {
    lines: Arc<Mutex<Vec<Value>>>,
    task: AbortOnDrop,
}

impl Tape {
    /// Takes down what follows `from` in the log of the writer at `client`.
    pub fn start(client: &Client, from: &str) -> Self {
        let lines = Arc::default();
        let task = AbortOnDrop::spawn(take_down(client.clone(), from.to_owned(), Arc::clone(&lines)));
        Self { lines, task }
    }

    /// Waits until the command with this seq was taken down.
    pub async fn reaches(&self, seq: u64) {
        eventually(&format!("seq {seq} is taken down"), || async {
            // Its own panic says more than that it does not get there.
            assert!(!self.task.has_ended(), "the tape has torn");
            let last = lock(&self.lines).last().and_then(|line| line["seq"].as_u64());
            if last.is_some_and(|last| last >= seq) { Ok(()) } else { Err(last) }
        })
        .await;
    }

    /// Everything up to the command with this seq and behind it.
    pub async fn up_to(self, seq: u64) -> Vec<Value> {
        self.reaches(seq).await;
        lock(&self.lines).clone()
    }
}

fn lock(lines: &Mutex<Vec<Value>>) -> MutexGuard<'_, Vec<Value>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take_down(client: Client, from: String, lines: Arc<Mutex<Vec<Value>>>) {
    let (mut epoch, mut seq) = wire::place(&from);
    loop {
        let opened = Lines::try_open(&client, &wire::resume(&format!("{epoch}.{seq}"), &json!("**"))).await;
        // Until the node is there again.
        let Ok(Ok(mut stream)) = opened else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut is_open = false;
        while let Ok(Some(line)) = stream.try_line().await {
            let line: Value = serde_json::from_str(&line).expect("a line is JSON");
            if !is_open {
                // What was streamed was durable: a log that does not lead on from it has lost it.
                assert_eq!(line["resume"], "tail", "the log does not go on behind {epoch}.{seq}: {line}");
                is_open = true;
            } else if line["type"] != "PING"
                && let Some(next) = line["seq"].as_u64()
            {
                assert_eq!(next, seq + 1, "the log goes on behind {epoch}.{seq}: {line}");
                seq = next;
                epoch = line["epoch"].as_u64().filter(|_| line["type"] == "EPOCH").unwrap_or(epoch);
                lock(&lines).push(line);
            }
        }
    }
}
