//! From a request's target to what is asked for. Authorisation and lookups happen on what this returns, never on the
//! path: a key has one reading, percent-decoded once.

use super::error::{ApiError, Code};
use crate::scope::Scope;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /healthz`, `/livez`, `/startupz`.
    Health,
    /// `GET /readyz`.
    Ready,
    /// `GET /v1/status`.
    Status,
    /// `GET /v1/metrics`.
    Metrics,
    /// `GET /metrics`: the same for Prometheus.
    Exposition,
    /// `GET /openapi.json`.
    Document,
    /// What [`read`](super::read()) answers.
    Read(Read<'a>),
    /// `POST /v1/collections`.
    CreateCollection,
    /// `DELETE /v1/collections/{collection}`.
    DropCollection(Cow<'a, str>),
    /// POST or PUT of one entry.
    Set {
        /// The collection.
        collection: Cow<'a, str>,
        /// The key.
        key: Cow<'a, str>,
    },
    /// DELETE of one entry.
    Delete {
        /// The collection.
        collection: Cow<'a, str>,
        /// The key.
        key: Cow<'a, str>,
    },
    /// `POST /v1/collections/{collection}/batch`.
    Batch(Cow<'a, str>),
    /// `POST /v1/replicate`.
    Replicate,
    /// `GET /v1/keys`.
    Keys,
    /// A change of one key.
    Key(KeyRoute<'a>),
    /// `POST /v1/tokens`.
    Tokens,
    /// `GET` of any other path: a file of the console, if there is one of this name.
    File(Cow<'a, str>),
}

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRoute<'a> {
    /// `POST /v1/keys`.
    Create,
    /// `PUT /v1/keys/{id}`.
    Change(Cow<'a, str>),
    /// `POST /v1/keys/{id}/rotate`.
    Rotate(Cow<'a, str>),
    /// `DELETE /v1/keys/{id}`.
    Revoke(Cow<'a, str>),
}

/// A read of what the node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// `GET /v1/collections`.
    Collections,
    /// `GET /v1/collections/{collection}/keys`.
    List {
        /// The collection.
        collection: Cow<'a, str>,
        /// Which part of it.
        query: ListQuery,
    },
    /// GET of one entry, by `/keys/{key...}` or `/entry?key=`.
    Entry {
        /// The collection.
        collection: Cow<'a, str>,
        /// The key.
        key: Cow<'a, str>,
    },
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

impl Route<'_> {
    /// Whether it asks for a change of collections or entries.
    pub fn changes_data(&self) -> bool {
        matches!(
            self,
            Self::CreateCollection | Self::DropCollection(_) | Self::Set { .. } | Self::Delete { .. } | Self::Batch(_)
        )
    }

    /// Whether everybody may ask for it, without any credentials.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Document | Self::File(_))
    }

    /// The same without borrowing from the request, for who must wait before it can answer.
    pub fn into_owned(self) -> Route<'static> {
        match self {
            Self::Health => Route::Health,
            Self::Ready => Route::Ready,
            Self::Status => Route::Status,
            Self::Metrics => Route::Metrics,
            Self::Exposition => Route::Exposition,
            Self::Document => Route::Document,
            Self::Read(read) => Route::Read(read.into_owned()),
            Self::CreateCollection => Route::CreateCollection,
            Self::DropCollection(collection) => Route::DropCollection(owned(collection)),
            Self::Set { collection, key } => Route::Set { collection: owned(collection), key: owned(key) },
            Self::Delete { collection, key } => Route::Delete { collection: owned(collection), key: owned(key) },
            Self::Batch(collection) => Route::Batch(owned(collection)),
            Self::Replicate => Route::Replicate,
            Self::Keys => Route::Keys,
            Self::Key(route) => Route::Key(route.into_owned()),
            Self::Tokens => Route::Tokens,
            Self::File(path) => Route::File(owned(path)),
        }
    }
}

impl KeyRoute<'_> {
    /// As [`Route::into_owned`].
    pub fn into_owned(self) -> KeyRoute<'static> {
        match self {
            Self::Create => KeyRoute::Create,
            Self::Change(id) => KeyRoute::Change(owned(id)),
            Self::Rotate(id) => KeyRoute::Rotate(owned(id)),
            Self::Revoke(id) => KeyRoute::Revoke(owned(id)),
        }
    }
}

impl Read<'_> {
    /// The collection it reads of; `None` for the list of them.
    pub fn collection(&self) -> Option<&str> {
        match self {
            Self::Collections => None,
            Self::List { collection, .. } | Self::Entry { collection, .. } => Some(collection),
        }
    }

    /// Whether a node of this scope answers from its own state; if not, its parent may.
    pub fn is_covered_by(&self, scope: &Scope) -> bool {
        match self {
            Self::Collections => scope.contains(&Scope::Public),
            Self::List { collection, query } => scope.covers_prefix(collection, &query.prefix),
            Self::Entry { collection, key } => scope.covers_key(collection, key),
        }
    }

    /// As [`Route::into_owned`].
    pub fn into_owned(self) -> Read<'static> {
        match self {
            Self::Collections => Read::Collections,
            Self::List { collection, query } => Read::List { collection: owned(collection), query },
            Self::Entry { collection, key } => Read::Entry { collection: owned(collection), key: owned(key) },
        }
    }
}

/// Most keys of one page of a list. What follows it is looked for before the answer begins; a list without a limit is not
/// looked through beforehand, and has no such bound.
pub const LIST_LIMIT_MAX: usize = 10_000;

/// Which part of a collection to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys that begin with this.
    pub prefix: String,
    /// Keys behind this one.
    pub after: Option<String>,
    /// At most so many; `None` for all.
    pub limit: Option<usize>,
}

/// Reads a request's method and target (path and query as they came, without scheme and host).
///
/// # Errors
/// The answer to give: 400 `invalid_key` or `invalid_request`, 404, 405.
///
/// # Examples
/// ```
/// use headwater_core::api::{Read, Route, route};
/// let asked = route("GET", "/v1/collections/flags/keys/checkout%3Anew", None).unwrap();
/// assert_eq!(asked, Route::Read(Read::Entry { collection: "flags".into(), key: "checkout:new".into() }));
/// assert!(route("GET", "/v1/collections/flags/keys/../../prices", None).is_err());
/// ```
pub fn route<'a>(method: &str, path: &'a str, query: Option<&'a str>) -> Result<Route<'a>, ApiError> {
    let method = if method == "HEAD" { "GET" } else { method };
    match plain_entry(path) {
        Some((collection, Some(key))) => entry(method, Cow::Borrowed(collection), Cow::Borrowed(key)),
        Some((collection, None)) => entry(method, Cow::Borrowed(collection), Cow::Owned(key_in(query)?)),
        None => route_by_segments(method, path, query),
    }
}

fn route_by_segments<'a>(method: &str, path: &'a str, query: Option<&'a str>) -> Result<Route<'a>, ApiError> {
    let segments = segments(path)?;
    let only = |wanted: &'static str, route| if method == wanted { Ok(route) } else { Err(not_allowed(wanted)) };
    match segments.iter().map(|segment| &**segment).collect::<Vec<_>>()[..] {
        ["healthz" | "livez" | "startupz"] => only("GET", Route::Health),
        ["readyz"] => only("GET", Route::Ready),
        ["v1", "status"] => only("GET", Route::Status),
        ["v1", "metrics"] => only("GET", Route::Metrics),
        ["metrics"] => only("GET", Route::Exposition),
        ["openapi.json"] => only("GET", Route::Document),
        ["v1", "replicate"] => only("POST", Route::Replicate),
        ["v1", "keys"] => match method {
            "GET" => Ok(Route::Keys),
            "POST" => Ok(Route::Key(KeyRoute::Create)),
            _ => Err(not_allowed("GET, POST")),
        },
        ["v1", "keys", _] => match method {
            "PUT" => Ok(Route::Key(KeyRoute::Change(segments[2].clone()))),
            "DELETE" => Ok(Route::Key(KeyRoute::Revoke(segments[2].clone()))),
            _ => Err(not_allowed("PUT, DELETE")),
        },
        ["v1", "keys", _, "rotate"] => only("POST", Route::Key(KeyRoute::Rotate(segments[2].clone()))),
        ["v1", "tokens"] => only("POST", Route::Tokens),
        ["v1", "collections"] => match method {
            "GET" => Ok(Route::Read(Read::Collections)),
            "POST" => Ok(Route::CreateCollection),
            _ => Err(not_allowed("GET, POST")),
        },
        ["v1", "collections", _] => only("DELETE", Route::DropCollection(segments[2].clone())),
        ["v1", "collections", _, "batch"] => only("POST", Route::Batch(segments[2].clone())),
        ["v1", "collections", _, "keys"] => {
            let query = list_query(query)?;
            only("GET", Route::Read(Read::List { collection: segments[2].clone(), query }))
        }
        ["v1", "collections", _, "entry"] => entry(method, segments[2].clone(), Cow::Owned(key_in(query)?)),
        ["v1", "collections", _, "keys", ..] => entry(method, segments[2].clone(), key_of(path)?),
        _ if method == "GET" && segments.first().is_none_or(|first| first != "v1") => {
            Ok(Route::File(Cow::Borrowed(path)))
        }
        _ => Err(ApiError::new(Code::NotFound, format!("there is nothing at {}", shown(path)))),
    }
}

fn entry<'a>(method: &str, collection: Cow<'a, str>, key: Cow<'a, str>) -> Result<Route<'a>, ApiError> {
    if key.is_empty() {
        return Err(ApiError::new(Code::InvalidKey, "the key is empty"));
    }
    match method {
        "GET" => Ok(Route::Read(Read::Entry { collection, key })),
        "POST" | "PUT" => Ok(Route::Set { collection, key }),
        "DELETE" => Ok(Route::Delete { collection, key }),
        _ => Err(not_allowed("GET, POST, PUT, DELETE")),
    }
}

fn not_allowed(allow: &'static str) -> ApiError {
    ApiError { allow: Some(allow), ..ApiError::new(Code::MethodNotAllowed, format!("this path takes {allow}")) }
}

/// Collection and key of an entry's path in which there is nothing to decode and nothing to refuse; no key where it is a
/// parameter. What most requests are for, told without taking the path apart. `None` for all other paths.
fn plain_entry(path: &str) -> Option<(&str, Option<&str>)> {
    let (collection, rest) = path.strip_prefix("/v1/collections/")?.split_once('/')?;
    let key = if rest == "entry" { None } else { Some(rest.strip_prefix("keys/")?) };
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let plain = !path.bytes().any(|byte| matches!(byte, b'%' | b'\\'));
    let plain = plain && is_plain(collection) && key.is_none_or(|key| key.split('/').all(is_plain));
    plain.then_some((collection, key))
}

/// The key as a parameter.
fn key_in(query: Option<&str>) -> Result<String, ApiError> {
    let key = parameters(query, ["key"])?[0].take();
    key.ok_or_else(|| ApiError::new(Code::InvalidKey, "the parameter key is missing"))
}

/// The path's segments, each percent-decoded. Refuses what URL libraries and proxies would rewrite into another path.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, ApiError> {
    let rest = path.strip_prefix('/').ok_or_else(|| rewritten(path))?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<_> = rest.split('/').map(|raw| decode(raw, "the path")).collect::<Result<_, _>>()?;
    let unsafe_piece = |piece: &str| matches!(piece, "" | "." | "..") || piece.contains('\\');
    if segments.iter().any(|segment| segment.split('/').any(unsafe_piece)) {
        return Err(rewritten(path));
    }
    Ok(segments)
}

fn rewritten(path: &str) -> ApiError {
    let message = format!(
        "{} has an empty, '.' or '..' segment or a backslash, which URL libraries rewrite: reach such a key by entry?key=",
        shown(path)
    );
    ApiError::new(Code::InvalidKey, message)
}

/// The key of `/v1/collections/{collection}/keys/{key...}`: everything behind the fifth slash, decoded once.
fn key_of(path: &str) -> Result<Cow<'_, str>, ApiError> {
    let raw = path.splitn(6, '/').nth(5).unwrap_or_default();
    decode(raw, "the key")
}

fn shown(path: &str) -> String {
    format!("{:?}", path.chars().take(64).collect::<String>())
}

fn list_query(query: Option<&str>) -> Result<ListQuery, ApiError> {
    let [prefix, after, limit] = parameters(query, ["prefix", "after", "limit"])?;
    let limit = match limit {
        None => None,
        Some(text) => {
            let number = whole_number(&text).filter(|limit| (1..=LIST_LIMIT_MAX).contains(limit));
            let invalid = || {
                let words = format!("limit={} is not a number from 1 to {LIST_LIMIT_MAX}", shown(&text));
                ApiError::new(Code::InvalidRequest, words)
            };
            Some(number.ok_or_else(invalid)?)
        }
    };
    Ok(ListQuery { prefix: prefix.unwrap_or_default(), after, limit })
}

/// A whole number as this node itself would write it: no sign, no blank, no zero before it. Another reader may take any other
/// spelling for another number, or for none.
fn whole_number(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// The named parameters' values, decoded; others are passed over.
fn parameters<const N: usize>(query: Option<&str>, names: [&str; N]) -> Result<[Option<String>; N], ApiError> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(index) = names.iter().position(|known| *known == name) else { continue };
        if values[index].is_some() {
            return Err(ApiError::new(Code::InvalidRequest, format!("the parameter {name} is given twice")));
        }
        values[index] = Some(decode(value, name)?.into_owned());
    }
    Ok(values)
}

/// Percent-decodes once; `+` is a plus.
fn decode<'a>(raw: &'a str, what: &str) -> Result<Cow<'a, str>, ApiError> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let invalid = |why: &str| ApiError::new(Code::InvalidKey, format!("{what} {}: {why}", shown(raw)));
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |index: usize| after.get(index).and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(invalid("% is not followed by two hex digits"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| invalid("not UTF-8"))
}

/// Appends `text` percent-encoded so that every URL library hands it on unchanged.
pub fn encode(text: &str, out: &mut String) {
    use core::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes any text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Result<String, Code> {
        match route("GET", path, None) {
            Ok(Route::Read(Read::Entry { key, .. })) => Ok(key.into_owned()),
            Ok(other) => panic!("{path} is {other:?}"),
            Err(error) => Err(error.code),
        }
    }

    #[test]
    fn a_key_has_one_reading() {
        for (path, read) in [
            ("a", "a"),
            ("a/b", "a/b"),
            ("a%2Fb", "a/b"),
            ("a+b", "a+b"),
            ("%C3%A9", "é"),
            ("a%00b", "a\0b"),
            ("a%2525", "a%25"),
            ("..a", "..a"),
        ] {
            assert_eq!(key(&format!("/v1/collections/c/keys/{path}")).as_deref(), Ok(read), "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_read_as_by_its_segments() {
        let pieces = ["c", "keys", "entry", "", ".", "..", "%61", "%2e%2e", "a\\b", "...", "é"];
        let mut paths: Vec<String> = [String::from("/v1/collections")].into();
        let mut read_plainly = 0;
        for _ in 0..4 {
            let longer = paths.iter().flat_map(|path| pieces.map(|piece| format!("{path}/{piece}")));
            paths = longer.collect();
            for path in &paths {
                for query in [None, Some("key=k")] {
                    assert_eq!(route("GET", path, query), route_by_segments("GET", path, query), "{path}");
                }
                read_plainly += usize::from(plain_entry(path).is_some());
            }
        }
        // Of five plain pieces: a collection and `entry`, or a collection, `keys` and one or two more.
        assert_eq!(read_plainly, 5 + 5 * (5 + 25));
    }

    #[test]
    fn refuses_what_libraries_rewrite() {
        for path in [
            "",
            "/",
            "a//b",
            "a/",
            "../x",
            "%2e%2e/x",
            "a/./b",
            "a%2F..%2Fb",
            "a%2F%2Fb",
            "a%5Cb",
            "a\\b",
            ".",
            "%2E",
            "..",
            "%zz",
            "%f",
            "%ff",
        ] {
            assert_eq!(key(&format!("/v1/collections/c/keys/{path}")), Err(Code::InvalidKey), "{path}");
        }
        assert_eq!(route("DELETE", "/v1/collections/a/../b", None).unwrap_err().code, Code::InvalidKey);
    }

    #[test]
    fn any_key_is_reached_by_the_parameter() {
        for text in ["../x", "a//b", "é ☃", "a\0b", "a&b=c", "%", "+", "\\"] {
            let mut query = String::from("key=");
            encode(text, &mut query);
            let Ok(Route::Set { key, .. }) = route("PUT", "/v1/collections/c/entry", Some(&query)) else {
                panic!("{text}")
            };
            assert_eq!(key, text);
        }
        assert_eq!(route("GET", "/v1/collections/c/entry", None).unwrap_err().code, Code::InvalidKey);
        assert_eq!(route("GET", "/v1/collections/c/entry", Some("key=")).unwrap_err().code, Code::InvalidKey);
        assert_eq!(
            route("GET", "/v1/collections/c/entry", Some("key=a&key=b")).unwrap_err().code,
            Code::InvalidRequest
        );
    }

    #[test]
    fn names_the_methods_a_path_takes() {
        for (method, path, allow) in [
            ("PATCH", "/v1/collections/c/keys/a", "GET, POST, PUT, DELETE"),
            ("GET", "/v1/collections/c", "DELETE"),
            ("PUT", "/v1/collections", "GET, POST"),
            ("GET", "/v1/replicate", "POST"),
            ("PUT", "/v1/collections/c/batch", "POST"),
            ("POST", "/healthz", "GET"),
        ] {
            assert_eq!(route(method, path, None).unwrap_err().allow, Some(allow));
        }
        assert_eq!(route("GET", "/v1/nothing", None).unwrap_err().code, Code::NotFound);
        assert_eq!(route("GET", "/app.js", None), Ok(Route::File("/app.js".into())));
        assert_eq!(route("HEAD", "/healthz", None), Ok(Route::Health));
        assert_eq!(route("POST", "/v1/collections/c%3Ad/batch", None), Ok(Route::Batch("c:d".into())));
    }

    #[test]
    fn reads_the_part_to_list() {
        let Ok(Route::Read(Read::List { query, .. })) =
            route("GET", "/v1/collections/c/keys", Some("limit=2&prefix=a%3A&after=a:1&x=y"))
        else {
            panic!()
        };
        assert_eq!(query, ListQuery { prefix: "a:".into(), after: Some("a:1".into()), limit: Some(2) });
        for limit in ["0", "-1", "x", "", "+5", "05", "%205", "5%0A", "10001", "99999999999999999999"] {
            let error = route("GET", "/v1/collections/c/keys", Some(&format!("limit={limit}"))).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest);
        }
    }
}
