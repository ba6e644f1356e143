//! A fixed answer, given by axum and by bare socket calls: what a GET can cost at least.

use super::serve_router;
use anyhow::Context;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::get;
use bytes::Bytes;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What to answer: taken from our own server's answer, so that both send the same bytes.
#[derive(Deserialize, Serialize)]
pub(crate) struct Answer {
    /// The route as axum spells it.
    pub(crate) route: String,
    /// Headers beyond those that hyper adds by itself (`content-length`, `date`).
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// Reads what [`Answer::write`] wrote.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path).with_context(|| path.display().to_string())?)?)
    }

    /// Writes it for a competitor to read.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, serde_json::to_vec(self)?)?)
    }
}

/// A bare handler: no state, no extractor, everything made before the first request.
pub(super) async fn serve_axum(answer: Answer, listener: TcpListener) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let body = Bytes::from(answer.body);
    let handler = move || {
        let answer = (headers.clone(), body.clone());
        async move { answer }
    };
    serve_router(Router::new().route(&answer.route, get(handler)), listener).await
}

/// Answers as soon as the blank line behind a request's head is there.
pub(super) async fn serve_raw(answer: Answer, listener: TcpListener) -> anyhow::Result<()> {
    let mut text = String::from("HTTP/1.1 200 OK\r\n");
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = answer.body.len();
    text.push_str(&format!("content-length: {length}\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{}", answer.body));
    let bytes: Arc<str> = text.into();
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(answer_raw(socket, Arc::clone(&bytes)));
    }
}

async fn answer_raw(mut socket: TcpStream, answer: Arc<str>) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            read => filled += read,
        }
        if memmem::find(&buffer[..filled], b"\r\n\r\n").is_some() {
            filled = 0;
            socket.write_all(answer.as_bytes()).await?;
        }
    }
}
