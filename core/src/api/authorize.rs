//! Who may ask, judged by what the node itself holds; and what of it they may ask for, judged on the resolved route and
//! the decoded key.

use super::error::{ApiError, Code};
use super::route::{Read, Route};
use crate::clock::Now;
use crate::credentials::{self, Checks, Grant, PairMemory, Role, anonymous, bearer, equal_in_constant_time, vouched};
use crate::json;
use crate::name;
use crate::node::Node;
use crate::scope::Scope;
use crate::store::Store;
use crate::writer::Refusal;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;

/// Key and secret of the pair that a node started for development takes besides its own, if its shell says so.
pub const DEV: &str = "dev";

/// What a request shows of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Nothing at all: no header that could be meant as credentials.
    Nothing,
    /// Who asks, as somebody says whom the shell believes: a JSON object whose `apikey` is the id of a key.
    Vouched(&'a str),
    /// A pair. An empty text stands for a half that is missing, repeated or no text.
    Pair {
        /// The public half.
        apikey: &'a str,
        /// The secret half.
        secret: &'a str,
    },
    /// A token, see [`crate::credentials::Claims`].
    Bearer(&'a str),
}

impl<'a> Shown<'a> {
    /// What the headers of these names show: `None` for one that is not there, an empty text for one that is there twice or
    /// is no text. `identity` is that of somebody whom the shell believes. Who says who it is in two ways is believed in
    /// none, and one whose credentials are of a kind that is not taken does not ask as nobody; beside a pair such are taken
    /// for those of a gateway on the way.
    pub fn of(
        apikey: Option<&'a str>,
        secret: Option<&'a str>,
        authorization: Option<&'a str>,
        identity: Option<&'a str>,
    ) -> Self {
        let has_pair = apikey.is_some() || secret.is_some();
        match (has_pair, authorization, identity) {
            (false, None, None) => Self::Nothing,
            (true, authorization, None) if !authorization.is_some_and(may_be_token) => {
                Self::Pair { apikey: apikey.unwrap_or(""), secret: secret.unwrap_or("") }
            }
            (false, Some(authorization), None) => Self::Bearer(token_in(authorization).unwrap_or("")),
            (false, None, Some(identity)) => Self::Vouched(identity),
            _ => Self::Pair { apikey: "", secret: "" },
        }
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1).
fn token_in(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    is_bearer(scheme).then(|| token.trim_start_matches(' '))
}

/// The id of the key by which a token says that it is signed, in an `Authorization` header; whether it is, is not looked at.
pub fn claimed_by_token(authorization: &str) -> Option<String> {
    credentials::claimed(token_in(authorization)?)
}

/// Whether it is nothing else: of several headers and of no text at all nobody knows.
fn may_be_token(authorization: &str) -> bool {
    authorization.is_empty() || authorization.split(' ').next().is_some_and(is_bearer)
}

fn is_bearer(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("bearer")
}

/// What is granted to who shows this. `dev` is what [`DEV`] grants here, `None` where it is no pair. What was judged a moment
/// ago is judged again at next to no cost by [`Checks::RememberedAlone`]; `pairs` remembers what the connection showed before.
///
/// # Errors
/// 403 `forbidden`, the same whatever is wrong; 503 `not_ready` where the keys have not come in yet, or are older than this
/// node may trust; 500 when the store fails.
pub fn authorize<S: Store>(
    node: &Node<S>,
    dev: Option<&Arc<Grant>>,
    shown: Shown<'_>,
    checks: Checks,
    pairs: &PairMemory,
    now: Now,
) -> Result<Arc<Grant>, ApiError> {
    if let (Some(dev), Shown::Pair { apikey, secret }) = (dev, shown)
        && equal_in_constant_time(apikey, DEV) & equal_in_constant_time(secret, DEV)
    {
        return Ok(Arc::clone(dev));
    }
    if node.is_cut_off(now) {
        return Err(ApiError::new(
            Code::NotReady,
            "this replica has not heard of the writer for longer than it may trust its keys: ask another node",
        ));
    }
    let shared = |grant: Option<Grant>| grant.map(Arc::new);
    // What does not follow the writer's keys any more may still have some.
    let found = match shown {
        _ if !node.follows_keys() => Ok(None),
        Shown::Nothing => anonymous(node.store()).map(shared),
        Shown::Vouched(identity) => match vouched_id(identity) {
            Some(id) => vouched(node.store(), &id).map(shared),
            None => Ok(None),
        },
        Shown::Pair { apikey, secret } => pairs.verify(node.store(), apikey, secret, now.wall_ms),
        Shown::Bearer(token) => bearer(node.store(), node.signatures(), checks, token, now.wall_ms).map(shared),
    };
    match found.map_err(ApiError::store_failed)? {
        Some(grant) => Ok(grant),
        None if node.is_complete() => Err(ApiError::forbidden()),
        None => Err(ApiError::new(
            Code::NotReady,
            "this node holds no complete state yet, so it cannot check credentials: come back",
        )),
    }
}

/// Whether who was granted this may still do as much: a body may have taken its time to come.
///
/// # Errors
/// 403 `forbidden` when a key has changed meanwhile so that it may do less; 500 when the store fails.
pub fn still<S: Store>(store: &S, grant: &Grant, now: Now) -> Result<(), ApiError> {
    let renewed = grant.renewed(store, now.wall_ms).map_err(ApiError::store_failed)?;
    only_if(renewed.is_some_and(|renewed| renewed.rights().contains(grant.rights())))
}

fn vouched_id(identity: &str) -> Option<Cow<'_, str>> {
    let members = json::members(identity).ok()?;
    members.iter().find(|(name, _)| name == "apikey").and_then(|(_, raw)| json::string(raw))
}

/// Whether the grant covers what the route asks for: all of it, or as much as can be told before a body is read. For what
/// stands in a body see [`permit_create`] and [`permit_batch`].
///
/// # Errors
/// 403 `forbidden`, in the words of a wrong pair; in its own for a write to a system collection.
pub fn permit(grant: &Grant, route: &Route<'_>) -> Result<(), ApiError> {
    match route {
        Route::Health | Route::Ready | Route::Document | Route::File(_) => Ok(()),
        Route::Status | Route::Metrics | Route::Exposition => sees_inside(grant),
        Route::Read(read) => permit_read(grant, read),
        Route::Replicate => only_if(grant.scope().is_some()),
        Route::CreateCollection => only_if(grant.rights().write_scope().is_some()),
        Route::DropCollection(collection) => {
            only_if(grant.has(Role::Admin))?;
            not_the_systems(collection)
        }
        Route::Set { collection, key } | Route::Delete { collection, key } => {
            permit_write(grant, collection, |scope| scope.covers_key(collection, key))
        }
        Route::Batch(collection) => permit_write(grant, collection, |scope| scope.touches(collection)),
        Route::Keys | Route::Key(_) => only_if(grant.has(Role::Admin)),
        Route::Tokens => only_if(grant.rests_on_a_secret()),
    }
}

/// Whether the grant covers this read.
///
/// # Errors
/// As [`permit`].
pub fn permit_read(grant: &Grant, read: &Read<'_>) -> Result<(), ApiError> {
    match read {
        Read::Collections => permit_reading(grant, |_| true),
        Read::List { collection, query } => {
            permit_reading(grant, |scope| scope.covers_prefix(collection, &query.prefix))
        }
        Read::Entry { collection, key } => permit_reading(grant, |scope| scope.covers_key(collection, key)),
    }
}

/// Whether what the grant may read covers this.
///
/// # Errors
/// As [`permit`].
pub(super) fn permit_reading(grant: &Grant, covers: impl FnOnce(&Scope) -> bool) -> Result<(), ApiError> {
    only_if(grant.scope().is_some_and(covers))
}

/// Whether the grant covers making this collection: all of it must be covered.
///
/// # Errors
/// As [`permit`].
pub fn permit_create(grant: &Grant, collection: &str) -> Result<(), ApiError> {
    permit_write(grant, collection, |scope| scope.covers_prefix(collection, ""))
}

/// Whether the grant covers every key of a batch.
///
/// # Errors
/// As [`permit`], with the `index` of the first that is not covered.
pub fn permit_batch<'k>(
    grant: &Grant,
    collection: &str,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<(), ApiError> {
    for (index, key) in keys.into_iter().enumerate() {
        permit_write(grant, collection, |scope| scope.covers_key(collection, key))
            .map_err(|error| ApiError { index: Some(index), ..error })?;
    }
    Ok(())
}

fn permit_write(grant: &Grant, collection: &str, covers: impl FnOnce(&Scope) -> bool) -> Result<(), ApiError> {
    match grant.rights().write_scope() {
        // Whoever writes everything may be told what that is.
        Some(Scope::Public | Scope::Everything) => not_the_systems(collection),
        Some(scope) => only_if(covers(scope)),
        None => Err(ApiError::forbidden()),
    }
}

fn not_the_systems(collection: &str) -> Result<(), ApiError> {
    if name::is_system(collection) { Err(Refusal::SystemCollection(collection.into()).into()) } else { Ok(()) }
}

fn only_if(covered: bool) -> Result<(), ApiError> {
    if covered { Ok(()) } else { Err(ApiError::forbidden()) }
}

/// Status and metrics: they name parents' addresses, instances and children, and who may read or write entries has no part
/// in those.
fn sees_inside(grant: &Grant) -> Result<(), ApiError> {
    only_if(grant.has(Role::Admin) || grant.has(Role::Node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route;
    use crate::credentials::Rights;

    fn grant(roles: &[Role], read: Option<&str>, write: Option<&str>) -> Grant {
        let mut rights = Rights::of(roles.iter().copied());
        for (role, text) in [(Role::Read, read), (Role::Write, write)] {
            let Some(text) = text else { continue };
            let Ok(Scope::Only(within)) = Scope::from_json(text) else { panic!("{text}") };
            rights.add_within(role, within);
        }
        Grant::local("test", rights)
    }

    fn may(grant: &Grant, method: &str, target: &str) -> bool {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let route = route(method, path, query).unwrap();
        match permit(grant, &route) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, Code::Forbidden, "{target}");
                false
            }
        }
    }

    #[test]
    fn whoever_shows_anything_does_not_ask_as_nobody_and_shows_one_thing() {
        let nobody = Shown::Pair { apikey: "", secret: "" };
        assert_eq!(Shown::of(None, None, None, None), Shown::Nothing);
        for value in ["", "x", "Basic eDp5", "Bearer", "Bearer "] {
            assert_eq!(Shown::of(Some(value), None, None, None), Shown::Pair { apikey: value, secret: "" });
            assert_eq!(Shown::of(None, Some(value), None, None), Shown::Pair { apikey: "", secret: value });
            assert_eq!(Shown::of(None, None, Some(value), None), Shown::Bearer(""));
            assert_eq!(Shown::of(None, None, None, Some(value)), Shown::Vouched(value));
        }
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(Shown::of(None, None, Some(value), None), Shown::Bearer("a.b.c"));
            assert_eq!(Shown::of(Some("k"), None, Some(value), None), nobody);
            assert_eq!(Shown::of(None, Some("s"), Some(value), None), nobody);
            assert_eq!(Shown::of(None, None, Some(value), Some("{}")), nobody);
        }
        assert_eq!(Shown::of(Some("k"), Some("s"), None, Some("{}")), nobody);
        let pair = Shown::Pair { apikey: "k", secret: "s" };
        for (beside, shown) in
            [("Basic eDp5", pair), ("x", pair), ("", nobody), ("Bearer", nobody), ("Bearer ", nobody)]
        {
            assert_eq!(Shown::of(Some("k"), Some("s"), Some(beside), None), shown, "{beside:?}");
            assert_eq!(Shown::of(Some("k"), Some("s"), Some(beside), Some("{}")), nobody);
        }
    }

    #[test]
    fn a_narrow_grant_ends_where_it_says_on_every_route() {
        let narrow = grant(&[], Some(r#"{"f":[""],"p":["eu:","us:"]}"#), Some(r#"{"p":["eu:"],"w":[""]}"#));
        for (method, target, allowed) in [
            ("GET", "/v1/collections/f/keys/anything/at/all", true),
            ("GET", "/v1/collections/f/keys", true),
            ("GET", "/v1/collections/f/keys?prefix=x&after=y&limit=1", true),
            ("GET", "/v1/collections/p/keys/eu:1", true),
            ("GET", "/v1/collections/p/entry?key=eu%3A1", true),
            ("GET", "/v1/collections/p/entry?key=EU%3A1", false),
            ("GET", "/v1/collections/p/keys/e%75:1", true),
            ("GET", "/v1/collections/p/keys/eu", false),
            ("GET", "/v1/collections/p/keys/asia:1", false),
            ("GET", "/v1/collections/%70/keys/asia:1", false),
            ("GET", "/v1/collections/p/keys", false),
            ("GET", "/v1/collections/p/keys?prefix=eu", false),
            ("GET", "/v1/collections/p/keys?prefix=eu:", true),
            ("GET", "/v1/collections/p/keys?prefix=eu:de&after=a", true),
            ("GET", "/v1/collections/w/keys/a", false),
            ("GET", "/v1/collections/ff/keys/a", false),
            ("GET", "/v1/collections/_keys/keys/a", false),
            ("GET", "/v1/collections", true),
            ("POST", "/v1/replicate", true),
            ("PUT", "/v1/collections/p/keys/eu:1", true),
            ("DELETE", "/v1/collections/p/keys/eu:1", true),
            ("PUT", "/v1/collections/p/keys/us:1", false),
            ("DELETE", "/v1/collections/p/entry?key=us:1", false),
            ("POST", "/v1/collections/f/keys/a", false),
            ("POST", "/v1/collections/p/batch", true),
            ("POST", "/v1/collections/f/batch", false),
            ("POST", "/v1/collections/_keys/batch", false),
            ("PUT", "/v1/collections/_keys/keys/eu:1", false),
            ("DELETE", "/v1/collections/w", false),
            ("GET", "/v1/status", false),
            ("GET", "/v1/metrics", false),
            ("GET", "/v1/keys", false),
            ("POST", "/v1/keys", false),
            ("PUT", "/v1/keys/a", false),
            ("POST", "/v1/keys/a/rotate", false),
            ("DELETE", "/v1/keys/a", false),
            ("POST", "/v1/tokens", false),
            ("GET", "/healthz", true),
        ] {
            assert_eq!(may(&narrow, method, target), allowed, "{method} {target}");
        }
        assert!(permit_create(&narrow, "w").is_ok());
        for name in ["p", "f", "x", "_w"] {
            assert_eq!(permit_create(&narrow, name).unwrap_err().code, Code::Forbidden, "{name}");
        }
        assert!(permit_batch(&narrow, "p", ["eu:1", "eu:2"]).is_ok());
        let error = permit_batch(&narrow, "p", ["eu:1", "us:2", "x"]).unwrap_err();
        assert_eq!((error.code, error.index), (Code::Forbidden, Some(1)));
    }

    #[test]
    fn the_systems_collections_are_written_by_no_route() {
        let all = grant(&Role::ALL.map(|(role, _)| role), None, None);
        for (method, target) in [
            ("PUT", "/v1/collections/_keys/keys/a"),
            ("DELETE", "/v1/collections/_keys/entry?key=a"),
            ("POST", "/v1/collections/%5Fkeys/batch"),
            ("DELETE", "/v1/collections/_keys"),
        ] {
            assert!(!may(&all, method, target), "{method} {target}");
        }
        assert!(permit_create(&all, "_mine").is_err() && permit_create(&all, "mine").is_ok());
        assert!(may(&all, "GET", "/v1/collections/_keys/keys/a"), "a node reads them");
        let public = grant(&[Role::Read, Role::Write, Role::Admin], None, None);
        assert!(
            !may(&public, "GET", "/v1/collections/_keys/keys/a") && !may(&public, "GET", "/v1/collections/_keys/keys")
        );
    }

    #[test]
    fn each_role_opens_its_own_routes() {
        for (role, target, method) in [
            (Role::Read, "/v1/collections", "GET"),
            (Role::Write, "/v1/collections", "POST"),
            (Role::Admin, "/v1/collections/f", "DELETE"),
            (Role::Admin, "/v1/keys", "GET"),
        ] {
            for (other, _) in Role::ALL {
                let allowed = other == role || (role == Role::Read && other == Role::Node);
                assert_eq!(may(&grant(&[other], None, None), method, target), allowed, "{other:?} {method} {target}");
            }
        }
        for (role, _) in Role::ALL {
            let sees = matches!(role, Role::Admin | Role::Node);
            assert_eq!(may(&grant(&[role], None, None), "GET", "/v1/metrics"), sees, "{role:?}");
        }
    }
}
