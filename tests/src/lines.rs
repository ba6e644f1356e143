//! A stream of `/v1/replicate`, line by line, as a child sees it.

use crate::client::{Client, Reply};
use reqwest::{Method, Response};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// How long the next line may take. Nodes under test ping every half second.
const LINE_WITHIN: Duration = Duration::from_secs(20);
/// How long a line of one type may take while others come.
const UNTIL_WITHIN: Duration = Duration::from_secs(30);

/// An open stream. Dropping it hangs up.
#[derive(Debug)]
pub struct Lines {
    response: Response,
    buffer: Vec<u8>,
    /// The status and headers it was opened with; the body is empty.
    pub opened: Reply,
}

impl Lines {
    /// Opens a stream with this body.
    ///
    /// # Errors
    /// The answer, when it is no stream.
    pub async fn open(client: &Client, body: &str) -> Result<Self, Reply> {
        Self::try_open(client, body).await.expect("the node listens")
    }

    /// As [`Lines::open`] at a node that may not answer.
    ///
    /// # Errors
    /// The connection could not be made or broke.
    pub async fn try_open(client: &Client, body: &str) -> reqwest::Result<Result<Self, Reply>> {
        let request = client.request(Method::POST, "/v1/replicate").timeout(Duration::from_secs(600));
        let response = request.body(body.to_owned()).send().await?;
        let opened =
            Reply { status: response.status().as_u16(), headers: response.headers().clone(), body: Vec::new() };
        if opened.status == 200 {
            return Ok(Ok(Self { response, buffer: Vec::new(), opened }));
        }
        let body = response.bytes().await?.to_vec();
        Ok(Err(Reply { body, ..opened }))
    }

    /// The next line without its newline, `None` at the stream's end.
    pub async fn line(&mut self) -> Option<String> {
        let line = self.try_line().await.unwrap_or_else(|error| panic!("the stream broke: {error:?}"));
        assert!(line.is_some() || self.buffer.is_empty(), "the stream ended within a line");
        line
    }

    /// As [`Lines::line`] of a node that may die: what it left of a line is dropped.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn try_line(&mut self) -> reqwest::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8(line[..end].to_vec()).expect("lines are UTF-8")));
            }
            let chunk = timeout(LINE_WITHIN, self.response.chunk()).await;
            match chunk.unwrap_or_else(|_| panic!("no line within {LINE_WITHIN:?}"))? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next line as JSON, which must come.
    pub async fn command(&mut self) -> Value {
        let line = self.line().await.expect("the stream goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Lines up to the first of this type, which is the last returned and must come within half a minute.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let found = timeout(UNTIL_WITHIN, self.up_to(kind)).await;
        found.unwrap_or_else(|_| panic!("no {kind} within {UNTIL_WITHIN:?}"))
    }

    async fn up_to(&mut self, kind: &str) -> Vec<Value> {
        let mut commands = Vec::new();
        loop {
            let command = self.command().await;
            let found = command["type"] == kind;
            commands.push(command);
            if found {
                return commands;
            }
        }
    }
}
