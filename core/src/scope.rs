//! Scopes: which collections and keys a stream, a state or a credential covers.

use crate::json::{self, members};
use crate::name;
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a stream or a state covers. Equality is on the canonical form, which every value of this type has.
///
/// # Examples
/// ```
/// use headwater_core::scope::Scope;
/// let scope = Scope::from_json(r#"{"prices":["us:","eu:","eu:berlin:"],"flags":[""]}"#).unwrap();
/// assert_eq!(scope.to_json(), r#"{"flags":[""],"prices":["eu:","us:"]}"#);
/// assert!(scope.covers_key("prices", "eu:berlin:1") && !scope.covers_key("prices", "asia:1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `"**"`: everything, the system's collections too.
    Everything,
    /// `"*"`: every collection but the system's.
    Public,
    /// A map from collection to key prefixes.
    Only(Collections),
}

/// Collections with the key prefixes that are covered in each: at least one collection, at least one prefix each,
/// prefixes sorted and none the beginning of another; `""` stands for the whole collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Collections(BTreeMap<String, Vec<String>>);

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidScope {
    /// Not `"**"`, `"*"` or an object of arrays of strings; its text, cut after 64 characters.
    Form(String),
    /// A map without a collection, or a collection without a prefix.
    Empty,
    /// A key of the map is not a collection name.
    Name(String),
}

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(text) => {
                write!(f, "{text} is not a scope: expected \"**\", \"*\" or {{\"collection\":[\"key prefix\",...]}}")
            }
            Self::Empty => {
                f.write_str("a scope must name at least one collection, and at least one key prefix in each")
            }
            Self::Name(name) => write!(f, "{name:?} in the scope is not a collection name"),
        }
    }
}

impl core::error::Error for InvalidScope {}

impl Collections {
    /// Brings `collections` into canonical form.
    ///
    /// # Errors
    /// When there is no collection, one without a prefix, or one whose name is none.
    pub fn new(collections: impl IntoIterator<Item = (String, Vec<String>)>) -> Result<Self, InvalidScope> {
        let mut canonical = BTreeMap::new();
        for (name, mut prefixes) in collections {
            if !name::is_valid(&name) {
                return Err(InvalidScope::Name(name));
            }
            if prefixes.is_empty() {
                return Err(InvalidScope::Empty);
            }
            prefixes.sort_unstable();
            prefixes.dedup_by(|next, kept| next.starts_with(kept.as_str()));
            canonical.insert(name, prefixes);
        }
        if canonical.is_empty() { Err(InvalidScope::Empty) } else { Ok(Self(canonical)) }
    }

    /// The collections in name order, each with its prefixes in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, prefixes)| (name.as_str(), prefixes.as_slice()))
    }

    fn prefixes(&self, collection: &str) -> Option<&[String]> {
        self.0.get(collection).map(Vec::as_slice)
    }
}

/// How much of one collection a scope covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage<'a> {
    /// Nothing of it.
    None,
    /// All of it.
    Whole,
    /// The keys with one of these prefixes: sorted, none the beginning of another.
    Prefixes(&'a [String]),
}

impl Coverage<'_> {
    /// Whether the key is covered.
    pub fn covers(self, key: &str) -> bool {
        match self {
            Self::None => false,
            Self::Whole => true,
            Self::Prefixes(prefixes) => {
                // Of sorted prefixes, only the last one at or before the key can be its beginning.
                let after = prefixes.partition_point(|prefix| prefix.as_str() <= key);
                after.checked_sub(1).is_some_and(|index| key.starts_with(prefixes[index].as_str()))
            }
        }
    }
}

impl Scope {
    /// Reads the JSON form in any spelling and brings it into canonical form.
    ///
    /// # Errors
    /// Names what is wrong with the text; the caller answers 400 or, as a child, refuses the stream.
    pub fn from_json(text: &str) -> Result<Self, InvalidScope> {
        let form = || InvalidScope::Form(text.chars().take(64).collect());
        if let Some(word) = json::string(text) {
            return match &*word {
                "**" => Ok(Self::Everything),
                "*" => Ok(Self::Public),
                _ => Err(form()),
            };
        }
        let strings = |raw: &str| -> Option<Vec<String>> {
            json::elements(raw).ok()?.into_iter().map(|item| json::string(item).map(Cow::into_owned)).collect()
        };
        let collections = members(text).map_err(|_| form())?.into_iter();
        let collections: Option<Vec<_>> =
            collections.map(|(name, raw)| Some((name.into_owned(), strings(raw)?))).collect();
        Collections::new(collections.ok_or_else(form)?).map(Self::Only)
    }

    /// The canonical JSON form.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out);
        String::from_utf8(out).expect("the JSON writer emits UTF-8")
    }

    /// Appends the canonical JSON form.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let collections = match self {
            Self::Everything => return out.extend_from_slice(b"\"**\""),
            Self::Public => return out.extend_from_slice(b"\"*\""),
            Self::Only(collections) => collections,
        };
        for (index, (name, prefixes)) in collections.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            json::write_string(out, name);
            for (index, prefix) in prefixes.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b":[" } else { b"," });
                json::write_string(out, prefix);
            }
            out.push(b']');
        }
        out.push(b'}');
    }

    /// How much of `collection` is covered.
    pub fn coverage(&self, collection: &str) -> Coverage<'_> {
        match self {
            Self::Everything => Coverage::Whole,
            Self::Public if name::is_system(collection) => Coverage::None,
            Self::Public => Coverage::Whole,
            Self::Only(collections) => match collections.prefixes(collection) {
                None => Coverage::None,
                Some([whole]) if whole.is_empty() => Coverage::Whole,
                Some(prefixes) => Coverage::Prefixes(prefixes),
            },
        }
    }

    /// Whether any part of `collection` is covered.
    pub fn touches(&self, collection: &str) -> bool {
        self.coverage(collection) != Coverage::None
    }

    /// Whether the entry `key` of `collection` is covered.
    pub fn covers_key(&self, collection: &str, key: &str) -> bool {
        self.coverage(collection).covers(key)
    }

    /// Whether every key of `collection` that begins with `prefix` is covered.
    pub fn covers_prefix(&self, collection: &str, prefix: &str) -> bool {
        self.coverage(collection).covers(prefix)
    }

    /// Whether some collection is covered only in part, so that `prev` cannot show gaps and PING counts lines instead.
    pub fn is_narrowed_by_prefix(&self) -> bool {
        match self {
            Self::Everything | Self::Public => false,
            Self::Only(collections) => collections.iter().any(|(_, prefixes)| !prefixes[0].is_empty()),
        }
    }

    /// How many key prefixes it names, in all collections together.
    pub fn prefixes(&self) -> usize {
        match self {
            Self::Everything | Self::Public => 0,
            Self::Only(collections) => collections.iter().map(|(_, prefixes)| prefixes.len()).sum(),
        }
    }

    /// Whether everything `other` covers is covered too.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (_, Self::Everything) => false,
            (Self::Public, Self::Public) => true,
            (Self::Only(_), Self::Public) => false,
            (_, Self::Only(collections)) => collections
                .iter()
                .all(|(name, prefixes)| prefixes.iter().all(|prefix| self.covers_prefix(name, prefix))),
        }
    }

    /// What both cover, or `None` when that is nothing.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.contains(other) {
            return Some(other.clone());
        }
        if other.contains(self) {
            return Some(self.clone());
        }
        let (narrow, wide) = match (self, other) {
            (Self::Only(narrow), wide) | (wide, Self::Only(narrow)) => (narrow, wide),
            // Of "**" and "*", one contains the other.
            (Self::Everything | Self::Public, Self::Everything | Self::Public) => return None,
        };
        let common = narrow.iter().filter_map(|(name, prefixes)| {
            let kept: Vec<String> = match wide.coverage(name) {
                Coverage::None => Vec::new(),
                Coverage::Whole => prefixes.to_vec(),
                Coverage::Prefixes(others) => {
                    let inside = |mine: &[String], theirs: &[String]| -> Vec<String> {
                        mine.iter().filter(|p| Coverage::Prefixes(theirs).covers(p)).cloned().collect()
                    };
                    let mut kept = inside(prefixes, others);
                    kept.extend(inside(others, prefixes));
                    kept
                }
            };
            (!kept.is_empty()).then(|| (String::from(name), kept))
        });
        Collections::new(common).ok().map(Self::Only)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::from_json(text).unwrap()
    }

    #[test]
    fn canonical_form_decides_equality() {
        assert_eq!(scope(r#"{"b":["x"],"a":["y","","yy"]}"#).to_json(), r#"{"a":[""],"b":["x"]}"#);
        assert_eq!(scope(r#"{"a":["p","pq","o"]}"#), scope(r#"{"a":["o","p"]}"#));
    }

    #[test]
    fn refuses_what_is_no_scope() {
        for text in ["", "\"***\"", "[]", "{\"a\":\"x\"}", "{\"a\":[1]}", "null"] {
            assert_eq!(Scope::from_json(text), Err(InvalidScope::Form(text.into())), "{text}");
        }
        assert_eq!(Scope::from_json("{}"), Err(InvalidScope::Empty));
        assert_eq!(Scope::from_json("{\"a\":[]}"), Err(InvalidScope::Empty));
        assert_eq!(Scope::from_json("{\"a/b\":[\"\"]}"), Err(InvalidScope::Name("a/b".into())));
    }

    #[test]
    fn only_everything_covers_system_collections() {
        assert!(Scope::Everything.touches("_keys"));
        assert!(!Scope::Public.touches("_keys") && Scope::Public.touches("keys"));
    }

    #[test]
    fn prefixes_cover_keys_and_longer_prefixes() {
        let narrow = scope(r#"{"p":["eu:","us:"]}"#);
        assert!(narrow.covers_key("p", "eu:1") && narrow.covers_prefix("p", "us:ny:"));
        assert!(!narrow.covers_key("p", "eu") && !narrow.covers_prefix("p", "") && !narrow.covers_key("q", "eu:1"));
        assert!(narrow.is_narrowed_by_prefix() && !scope(r#"{"p":[""]}"#).is_narrowed_by_prefix());
    }

    #[test]
    fn intersection_is_what_both_cover() {
        for (a, b, common) in [
            ("\"**\"", "\"*\"", Some("\"*\"")),
            ("\"*\"", r#"{"a":["x"],"_s":[""]}"#, Some(r#"{"a":["x"]}"#)),
            (r#"{"a":["x","y1"]}"#, r#"{"a":["xx","y"],"b":[""]}"#, Some(r#"{"a":["xx","y1"]}"#)),
            (r#"{"a":[""]}"#, r#"{"b":[""]}"#, None),
            ("\"*\"", r#"{"_s":[""]}"#, None),
        ] {
            let (a, b, common) = (scope(a), scope(b), common.map(scope));
            assert_eq!(a.intersection(&b), common);
            assert_eq!(b.intersection(&a), common);
        }
    }
}
