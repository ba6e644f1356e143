//! Names of collections: which texts are names, and which of them belong to the system.

/// The system collection that holds the hashes of credentials.
pub const KEYS: &str = "_keys";

/// Whether `name` belongs to the system: it begins with `_`. Such collections are invisible to everyone but nodes.
pub fn is_system(name: &str) -> bool {
    name.starts_with('_')
}

/// Whether `name` has the form of a collection name: `[A-Za-z0-9][A-Za-z0-9._:-]*`, or the same behind one `_`.
/// Length is the writer's to limit.
///
/// # Examples
/// ```
/// use headwater_core::name::is_valid;
/// assert!(is_valid("flags") && is_valid("eu:prices-2.0") && is_valid("_keys"));
/// assert!(!is_valid("") && !is_valid("-a") && !is_valid("__a") && !is_valid("a/b"));
/// ```
pub fn is_valid(name: &str) -> bool {
    let mut bytes = name.strip_prefix('_').unwrap_or(name).bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}
