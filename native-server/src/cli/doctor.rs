//! `headwater doctor`: asks a running node how it is and how it is set up, and says in plain words what is unsafe or wrong.

mod examine;

use super::client::Client;
use super::connection::Connection;
use super::failure::{Failure, Kind};
use super::output::Output;
use super::paint::visible;
use crate::clock::wall_ms;
use axum::http::StatusCode;
use clap::Args;
use examine::{Answers, Finding, Level, Refusal, examine};
use serde_json::{Value, json};

pub(super) const HELP: &str = "\
Examples:
  headwater doctor
  headwater doctor --url http://10.0.0.6:4077 | jq '.findings[] | select(.level != \"ok\")'

Wants a pair of role admin or node; without one it can say little more than whether the node is ready, and what it could not \
look at is bad. It asks, and changes nothing.

Exit status: 0 nothing is bad, 1 something is or could not be looked at, 3 the node cannot be reached

JSON: {\"ok\":true,\"node\":\"...\",\"url\":\"...\",\"findings\":[{\"check\":\"disk space\",\"level\":\"ok|warn|bad\",\"says\":\"...\",\
\"advice\":\"...\"}]}";

/// `headwater doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Doctor {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let health = json_of(client, "/healthz").await?;
        if !health.1["ok"].is_boolean() {
            return Err(client.foreign(health.0));
        }
        let before_ms = wall_ms();
        let status = json_of(client, "/v1/status").await?;
        let after_ms = wall_ms();
        let (ready, metrics) = (json_of(client, "/readyz").await?, json_of(client, "/v1/metrics").await?);
        let answers = Answers {
            ready: ready.1,
            status: seen(status),
            metrics: seen(metrics),
            asked_ms: (before_ms, after_ms),
            version: env!("CARGO_PKG_VERSION"),
        };
        let findings = examine(&answers);
        let node = health.1["node"].as_str().unwrap_or_default();
        let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
        if output.human {
            show(node, &findings, output)?;
        } else {
            let told: Vec<Value> = findings.iter().map(Finding::to_json).collect();
            let url = client.base().to_string();
            output.line(json!({"ok": bad == 0, "node": node, "url": url, "findings": told}).to_string())?;
        }
        output.finish()?;
        match bad {
            0 => Ok(()),
            1 => Err(Failure::new(Kind::Refused, "one thing is bad")),
            bad => Err(Failure::new(Kind::Refused, format!("{bad} things are bad"))),
        }
    }
}

async fn json_of(client: &Client, target: &str) -> Result<(StatusCode, Value), Failure> {
    let (status, body) = client.ask(target).await?;
    let body = serde_json::from_str(&body).map_err(|_| client.foreign(status))?;
    Ok((status, body))
}

/// What was told, or why it was not.
fn seen((status, body): (StatusCode, Value)) -> Result<Value, Refusal> {
    if status.is_success() {
        return Ok(body);
    }
    let text = |name: &str| body[name].as_str().map_or_else(|| status.to_string(), str::to_owned);
    Err(Refusal { code: text("error"), message: text("message") })
}

fn show(node: &str, findings: &[Finding], output: &mut Output) -> Result<(), Failure> {
    output.line(format!("{} {}", output.paint.dim("node"), visible(node)))?;
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    for Finding { check, level, says, advice } in findings {
        let word = format!("{:<4}", level.word());
        let word = match level {
            Level::Ok => output.paint.good(&word),
            Level::Warn => output.paint.yellow(&word),
            Level::Bad => output.paint.bad(&word),
        };
        output.line(format!("{word}  {check:<width$}  {}", visible(says)))?;
        if let Some(advice) = advice {
            output.line(format!("{:6}{:width$}  -> {}", "", "", visible(advice)))?;
        }
    }
    Ok(())
}
