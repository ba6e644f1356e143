//! The address of a parent.

use axum::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use std::fmt;
use std::str::FromStr;

/// Where a node that can be followed answers: `http://host[:port]` or `https://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    scheme: Scheme,
    authority: Authority,
}

impl Parent {
    /// The address of `target` (a path and query, taken as it is) at this node.
    pub(crate) fn uri(&self, target: PathAndQuery) -> Uri {
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        builder.path_and_query(target).build().expect("all three parts are given and valid by themselves")
    }

    /// Whether TLS is spoken there.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl FromStr for Parent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |reason: &str| format!("{text:?} is not the address of a parent: {reason}");
        let uri: Uri = text.trim().parse().map_err(|error| invalid(&format!("{error}")))?;
        let expected = "expected https://HOST:PORT or http://HOST:PORT";
        let scheme = uri.scheme().filter(|&scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let scheme = scheme.cloned().ok_or_else(|| invalid(expected))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid("it has a path: give the host and port only"));
        }
        let authority = uri.authority().ok_or_else(|| invalid(expected))?;
        if authority.as_str().contains('@') {
            return Err(invalid("credentials do not belong into a URL: set HEADWATER_PARENT_APIKEY and _SECRET"));
        }
        Ok(Self { authority: authority.clone(), scheme })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_host_and_nothing_else() {
        for (text, written, speaks_tls) in
            [("http://[::1]:80/", "http://[::1]:80", false), ("https://writer.example", "https://writer.example", true)]
        {
            let parent: Parent = text.parse().unwrap();
            assert_eq!((&*parent.to_string(), parent.speaks_tls()), (written, speaks_tls));
        }
        for text in ["", "a", "a:80", "https://", "ftp://a", "http://a/b", "http://a?x", "http://k:s@a", "http://"] {
            assert!(text.parse::<Parent>().is_err(), "{text}");
        }
    }

    #[test]
    fn hands_a_target_on_as_it_is() {
        let parent: Parent = "http://a:1".parse().unwrap();
        let target = "/v1/collections/c/keys/%2e%2E/a%2Fb?x=%20".parse().unwrap();
        assert_eq!(parent.uri(target).to_string(), "http://a:1/v1/collections/c/keys/%2e%2E/a%2Fb?x=%20");
    }
}
