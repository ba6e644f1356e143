//! Who may ask: the pair of a request, judged by what the node itself holds.

use super::error::{ApiError, Code};
use crate::credentials::{Grant, Role, equal_in_constant_time, verify};
use crate::node::Node;
use crate::store::Store;
use alloc::borrow::Cow;

/// Key and secret of the pair that a node started for development takes besides its own, if its shell says so.
pub const DEV: &str = "dev";

/// What the pair grants. `dev` is what [`DEV`] grants here, `None` where it is no pair. An empty text stands for a header
/// that is missing, repeated or no text.
///
/// # Errors
/// 403 `forbidden`, the same whatever is wrong; 503 `not_ready` where the keys have not come in yet; 500 when the store
/// fails.
pub fn authorize<'g, S: Store>(
    node: &Node<S>,
    dev: Option<&'g Grant>,
    apikey: &str,
    secret: &str,
) -> Result<Cow<'g, Grant>, ApiError> {
    if let Some(dev) = dev
        && equal_in_constant_time(apikey, DEV) & equal_in_constant_time(secret, DEV)
    {
        return Ok(Cow::Borrowed(dev));
    }
    match verify(node.store(), apikey, secret).map_err(ApiError::store_failed)? {
        Some(grant) => Ok(Cow::Owned(grant)),
        None if node.is_complete() => Err(ApiError::forbidden()),
        None => Err(ApiError::new(
            Code::NotReady,
            "this node holds no complete state yet, so it cannot check credentials: come back",
        )),
    }
}

/// The roles that see a node's inside, status and metrics: it names parents' addresses, instances and children, and who
/// may read or write entries has no part in those.
pub const INSIGHT: &[Role] = &[Role::Admin, Role::Node];

/// The grant, if it has one of the roles.
///
/// # Errors
/// 403 `forbidden`, as for a wrong pair.
pub fn require<'g>(grant: Cow<'g, Grant>, roles: &[Role]) -> Result<Cow<'g, Grant>, ApiError> {
    if roles.iter().any(|role| grant.has(*role)) { Ok(grant) } else { Err(ApiError::forbidden()) }
}
