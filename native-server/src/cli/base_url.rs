//! The address of a node, as it is given on a command line.

use super::failure::Failure;
use axum::http::Uri;
use axum::http::uri::{PathAndQuery, Scheme};
use headwater_core::api::host;
use std::fmt;
use std::str::FromStr;

/// The address that paths are put behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseUrl {
    scheme: Scheme,
    /// `host` or `host:port`.
    authority: String,
    host: String,
    /// Empty, or beginning with a slash and ending without one.
    path: String,
}

impl BaseUrl {
    /// Whether it is one of `https://`.
    pub(super) fn speaks_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The address of `target`, a path with its query.
    pub(super) fn join(&self, target: &str) -> Result<Uri, Failure> {
        let target = format!("{}{target}", self.path);
        let invalid = |_| Failure::usage("the request is longer than an address may be");
        let target = PathAndQuery::try_from(target).map_err(invalid)?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.as_str()).path_and_query(target);
        uri.build().map_err(|_| Failure::usage("the request is longer than an address may be"))
    }

    /// Whether it is on this machine, whatever a name server says.
    pub(super) fn is_loopback(&self) -> bool {
        host::is_loopback(&self.host)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") { text.into() } else { format!("http://{text}") };
        let expected = "not an address: expected https://HOST:PORT or http://HOST:PORT";
        let uri: Uri = with_scheme.parse().map_err(|_| expected)?;
        let scheme = uri.scheme().filter(|&scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)).ok_or(expected)?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or(expected)?;
        if authority.as_str().contains('@') {
            return Err("a pair does not belong into an address: set HEADWATER_APIKEY and HEADWATER_SECRET".into());
        }
        if uri.query().is_some() {
            return Err("an address ends before the question mark".into());
        }
        let path = uri.path().trim_end_matches('/').into();
        let (authority, host) = (authority.as_str().into(), authority.host().into());
        Ok(Self { scheme: scheme.clone(), authority, host, path })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_is_always_the_same() {
        for (text, joined) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070/v1/status"),
            ("node:1", "http://node:1/v1/status"),
            ("http://[::1]:80/", "http://[::1]:80/v1/status"),
            ("https://host", "https://host/v1/status"),
            ("http://host/behind/proxy/", "http://host/behind/proxy/v1/status"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().join("/v1/status").unwrap().to_string(), joined);
        }
        for text in ["", "http://", "https://", "ftp://host", "http://dev:dev@host", "http://host/?a=b", "a b"] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_reach_the_node_as_they_are() {
        let base: BaseUrl = "http://h".parse().unwrap();
        let target = "/v1/collections/c/entry?key=%2E%2E%2Fa";
        assert_eq!(base.join(target).unwrap().to_string(), format!("http://h{target}"));
    }
}
