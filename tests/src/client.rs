//! A client that shows everything of an answer and hides no status.

use crate::eventually::eventually_within;
use reqwest::Method;
use serde_json::Value;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// The pair that `--dev` accepts.
pub const DEV: (&str, &str) = ("dev", "dev");
/// How long a replica may take to its first complete copy, however large it is and whatever else the machine does.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Talks to one node, always with the same credentials.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// The node's base address.
    pub url: String,
    credentials: Vec<(&'static str, String)>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("answers are UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// A header's text, `None` when it is missing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are text"))
    }

    /// The body's `error`, empty when there is none.
    pub fn code(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

fn http(from: Option<IpAddr>) -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(Duration::from_secs(40)).no_proxy().local_address(from);
    builder.build().expect("a client without TLS needs nothing that could fail")
}

impl Client {
    /// A client with the development pair.
    pub fn dev(url: &str) -> Self {
        Self::with_pair(url, Some(DEV))
    }

    /// A client with this pair, or none.
    pub fn with_pair(url: &str, pair: Option<(&str, &str)>) -> Self {
        let pair = pair.map(|(apikey, secret)| vec![("apikey", apikey.to_owned()), ("secret", secret.to_owned())]);
        Self::with(url, pair.unwrap_or_default())
    }

    /// A client with this token.
    pub fn with_token(url: &str, token: &str) -> Self {
        Self::with(url, vec![("authorization", format!("Bearer {token}"))])
    }

    fn with(url: &str, credentials: Vec<(&'static str, String)>) -> Self {
        Self { http: http(None), url: url.to_owned(), credentials }
    }

    /// The same from another one of this machine's addresses.
    #[must_use]
    pub fn coming_from(self, address: IpAddr) -> Self {
        Self { http: http(Some(address)), ..self }
    }

    /// Begins a request with the credentials' headers.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        self.credentials.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    /// Sends a request; `Err` when no whole answer came.
    ///
    /// # Errors
    /// The connection could not be made or broke.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.try_get(path).await.unwrap_or_else(|error| panic!("GET {}{path}: {error:?}", self.url))
    }

    /// GET of a node that may not answer.
    ///
    /// # Errors
    /// The connection could not be made or broke.
    pub async fn try_get(&self, path: &str) -> reqwest::Result<Reply> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Any method with a body.
    pub async fn call(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        let request = self.request(method.clone(), path).body(body);
        self.send(request).await.unwrap_or_else(|error| panic!("{method} {}{path}: {error:?}", self.url))
    }

    /// Creates a collection, which must succeed.
    pub async fn create(&self, collection: &str) {
        let reply = self.call(Method::POST, "/v1/collections", format!("{{\"name\":\"{collection}\"}}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// The path that reaches any key.
    pub fn entry_path(collection: &str, key: &str) -> String {
        let mut path = format!("/v1/collections/{collection}/entry?key=");
        headwater_core::api::encode(key, &mut path);
        path
    }

    /// Writes an entry.
    pub async fn set(&self, collection: &str, key: &str, value: &str) -> Reply {
        self.call(Method::POST, &Self::entry_path(collection, key), format!("{{\"value\":{value}}}")).await
    }

    /// Writes an entry on a node that may not answer.
    ///
    /// # Errors
    /// The connection could not be made or broke: the write may or may not have happened.
    pub async fn try_set(&self, collection: &str, key: &str, value: &str) -> reqwest::Result<Reply> {
        let path = Self::entry_path(collection, key);
        self.send(self.request(Method::POST, &path).body(format!("{{\"value\":{value}}}"))).await
    }

    /// Reads an entry.
    pub async fn entry(&self, collection: &str, key: &str) -> Reply {
        self.get(&Self::entry_path(collection, key)).await
    }

    /// Deletes an entry.
    pub async fn delete(&self, collection: &str, key: &str) -> Reply {
        self.call(Method::DELETE, &Self::entry_path(collection, key), "").await
    }

    /// Writes several entries, all or none: `ops` as the API takes them, separated by commas.
    pub async fn batch(&self, collection: &str, ops: &str) -> Reply {
        self.call(Method::POST, &format!("/v1/collections/{collection}/batch"), format!("{{\"ops\":[{ops}]}}")).await
    }

    /// Writes `key-N` with `{"n":N}` for each number.
    pub async fn fill(&self, collection: &str, numbers: Range<u32>) {
        for number in numbers {
            let reply = self.set(collection, &format!("key-{number}"), &format!("{{\"n\":{number}}}")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }

    /// Waits until the node says that it is ready.
    pub async fn ready(&self) {
        eventually_within(READY_WITHIN, &format!("{} is ready", self.url), || async {
            match self.try_get("/readyz").await {
                Ok(reply) if reply.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// `/v1/status` as JSON.
    pub async fn status(&self) -> Value {
        self.get("/v1/status").await.json()
    }

    /// The node's position, `<epoch>.<seq>`; empty while it cannot be asked.
    pub async fn position(&self) -> String {
        let Ok(reply) = self.try_get("/v1/status").await else { return String::new() };
        if reply.status != 200 {
            return String::new();
        }
        reply.json()["replication"]["position"].as_str().unwrap_or_default().to_owned()
    }
}
