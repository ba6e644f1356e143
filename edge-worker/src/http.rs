//! Between the runtime's requests and responses and core's API.

use futures_util::stream;
use headwater_core::api::{Answer, ApiError, Body, host};
use headwater_core::store::Snapshot;
use js_sys::Reflect;
use std::net::IpAddr;
use worker::{Headers, Request, Response, ResponseBuilder, Result};

/// What a request says before its body.
pub(crate) struct Head {
    pub(crate) method: String,
    /// Path and query as they came: nothing has resolved dots or decoded percents.
    target: String,
    pub(crate) headers: Headers,
}

impl Head {
    pub(crate) fn of(request: &Request) -> Self {
        let url = request.inner().url();
        let behind_scheme = url.find("://").map_or(0, |at| at + 3);
        let target = url[behind_scheme..].find('/').map_or("/", |at| &url[behind_scheme + at..]).to_owned();
        Self { method: request.method().to_string(), target, headers: request.headers().clone() }
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// A header, empty when it is missing. Repeated ones are joined by commas.
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).ok().flatten().unwrap_or_default()
    }

    /// A header that is there.
    pub(crate) fn header_if_any(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The address that the request came from, where that is known. `client` is what [`client`] says of it.
    pub(crate) fn address(&self, client: Option<&str>) -> Option<IpAddr> {
        address(client, &self.header(CONNECTING_IP))
    }
}

/// Address and port of the client as the runtime tells them, of which nothing comes from the request itself; `None` on the
/// provider's network, which tells other things there (where the request came in, for example).
pub(crate) fn client(request: &Request) -> Option<String> {
    let told = Reflect::get(request.inner(), &"cf".into()).ok()?;
    // Of what is no object there is nothing to get.
    Reflect::get(&told, &"clientIp".into()).ok()?.as_string()
}

/// The header in which the provider's network says where a request came from, in place of any that was sent
/// (<https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-connecting-ip>).
const CONNECTING_IP: &str = "cf-connecting-ip";

/// The address a request came from, where that is known, by what the runtime tells of the [`client`] and by that header.
/// Where the runtime does tell, as workerd by itself, the header is anybody's word.
fn address(client: Option<&str>, connecting: &str) -> Option<IpAddr> {
    match client {
        Some(client) => host::address(client),
        None => connecting.trim().parse().ok(),
    }
}

/// Turns core's answer into a response.
pub(crate) fn response<N: Snapshot + 'static>(answer: Answer<N>, is_head: bool) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in &answer.headers {
        headers.set(name, value)?;
    }
    let builder = ResponseBuilder::new().with_status(answer.status).with_headers(headers);
    let mut list = match answer.body {
        _ if is_head || answer.status == 304 => return Ok(builder.empty()),
        Body::Full(bytes) => return Ok(builder.fixed(bytes.to_vec())),
        Body::List(list) => list,
    };
    // Most lists are one piece: those are sent with their length.
    if let Some(whole) = list.whole() {
        return Ok(builder.fixed(whole.to_vec()));
    }
    builder.from_stream(stream::poll_fn(move |_| {
        // An error breaks the connection off, so that half a list is never taken for a whole one.
        let piece = list.next_piece().map(|piece| piece.map(|piece| piece.to_vec()));
        std::task::Poll::Ready(piece.map_err(|error| worker::Error::from(error.to_string())).transpose())
    }))
}

/// An error without the state it was decided on.
pub(crate) fn error(error: ApiError, is_head: bool) -> Result<Response> {
    response(Answer::<Nothing>::from(error), is_head)
}

/// The snapshot of answers that need none.
enum Nothing {}

impl Snapshot for Nothing {
    fn progress(&self) -> &headwater_core::store::Progress {
        match *self {}
    }

    fn collections(&self) -> &[headwater_core::store::Collection] {
        match *self {}
    }

    fn scan(
        &self,
        _: &str,
        _: std::ops::Bound<&str>,
        _: usize,
    ) -> std::result::Result<headwater_core::store::Page, headwater_core::store::SnapshotError> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_where_a_request_comes_from_where_the_runtime_does_not() {
        let is = |text: &str| Some(text.parse().unwrap());
        assert_eq!(address(Some("127.0.0.1:49904"), "10.0.0.1"), is("127.0.0.1"));
        assert_eq!(address(Some("[2001:db8::1]:49904"), ""), is("2001:db8::1"));
        assert_eq!(address(Some("unix:/socket"), "10.0.0.1"), None, "anybody can send it there");
        assert_eq!(address(None, "10.0.0.1"), is("10.0.0.1"));
        assert_eq!(address(None, "2001:db8::1"), is("2001:db8::1"));
        assert_eq!([address(None, ""), address(None, "10.0.0.1, 10.0.0.2")], [None, None]);
    }
}
