//! What a credential may do: roles over everything, and reading and writing within collections and key prefixes.
//!
//! Rights only ever add up. Nothing in here takes away, so what a release does not know of can only grant less.

use crate::json;
use crate::name;
use crate::scope::{Collections, Scope};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// One thing a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read entries and follow streams.
    Read,
    /// Change entries and create collections.
    Write,
    /// Drop collections, manage keys, and see the node's inside: status and metrics.
    Admin,
    /// Follow and read system collections and see the inside of other nodes, as nodes do.
    Node,
}

impl Role {
    /// Every role with its spelling.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Read, "read"), (Self::Write, "write"), (Self::Admin, "admin"), (Self::Node, "node")];

    /// The role of this spelling.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, spelling)| *spelling == word).map(|(role, _)| *role)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a credential may do, in one canonical form: equal rights are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Roles over everything, a bit each.
    roles: u8,
    /// What may be read; as wide as the roles say.
    read: Option<Scope>,
    /// What may be written; as wide as the roles say.
    write: Option<Scope>,
}

impl Rights {
    /// Every role over everything.
    pub fn all() -> Self {
        Self::of(Role::ALL.map(|(role, _)| role))
    }

    /// These roles over everything.
    pub fn of(roles: impl IntoIterator<Item = Role>) -> Self {
        let mut rights = Self::default();
        roles.into_iter().for_each(|role| rights.add(role));
        rights
    }

    /// Adds roles within these collections.
    pub fn add_all_within(&mut self, roles: &[Role], within: Collections) {
        if let Some((last, others)) = roles.split_last() {
            others.iter().for_each(|role| self.add_within(*role, within.clone()));
            self.add_within(*last, within);
        }
    }

    /// Adds a role over everything.
    pub fn add(&mut self, role: Role) {
        self.roles |= role.bit();
        match role {
            Role::Node => self.read = Some(Scope::Everything),
            Role::Read if !self.has(Role::Node) => self.read = Some(Scope::Public),
            Role::Write => self.write = Some(Scope::Public),
            Role::Read | Role::Admin => {}
        }
    }

    /// Adds a role within these collections. Only reading and writing have a place; of other roles, and of the system's
    /// collections, nothing is added.
    pub fn add_within(&mut self, role: Role, within: Collections) {
        let place = match role {
            Role::Read => &mut self.read,
            Role::Write => &mut self.write,
            Role::Admin | Role::Node => return,
        };
        let has_systems = within.iter().any(|(name, _)| name::is_system(name));
        let held = match place {
            // Every request takes this way: nothing is to be put together.
            None if !has_systems => return *place = Some(Scope::Only(within)),
            None => None,
            Some(Scope::Only(held)) => Some(&*held),
            Some(Scope::Public | Scope::Everything) => return,
        };
        let mut union: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, prefixes) in held.into_iter().flat_map(Collections::iter).chain(within.iter()) {
            if !name::is_system(name) {
                union.entry(name).or_default().extend_from_slice(prefixes);
            }
        }
        let union = Collections::new(union.into_iter().map(|(name, prefixes)| (name.into(), prefixes)));
        *place = union.ok().map(Scope::Only);
    }

    /// Whether it has `role` over everything.
    pub fn has(&self, role: Role) -> bool {
        self.roles & role.bit() != 0
    }

    /// What may be read and followed; `None` for nothing.
    pub fn read_scope(&self) -> Option<&Scope> {
        self.read.as_ref()
    }

    /// What may be written; `None` for nothing.
    pub fn write_scope(&self) -> Option<&Scope> {
        self.write.as_ref()
    }

    /// Whether nothing may be done at all.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all that `other` may do may be done.
    pub fn contains(&self, other: &Self) -> bool {
        let within = |inner: &Option<Scope>, outer: &Option<Scope>| match (inner, outer) {
            (None, _) => true,
            (Some(inner), Some(outer)) => outer.contains(inner),
            (Some(_), None) => false,
        };
        let alone = [Role::Admin, Role::Node].iter().all(|&role| !other.has(role) || self.has(role));
        alone && within(&other.read, &self.read) && within(&other.write, &self.write)
    }

    /// Of these rights, reading what is public.
    #[must_use]
    pub fn reading_alone(&self) -> Self {
        let mut rights = Self::default();
        match &self.read {
            Some(Scope::Only(within)) => rights.add_within(Role::Read, within.clone()),
            Some(_) if self.has(Role::Read) => rights.add(Role::Read),
            _ => {}
        }
        rights
    }

    /// Of these rights, reading what is public and writing. What may be read by role node alone is not among them.
    #[must_use]
    pub fn entries_alone(&self) -> Self {
        let mut rights = self.reading_alone();
        match &self.write {
            Some(Scope::Only(within)) => rights.add_within(Role::Write, within.clone()),
            Some(_) => rights.add(Role::Write),
            None => {}
        }
        rights
    }

    /// The members `"roles"` and, where something is granted within collections, `"grants"`.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"roles\":[");
        for (index, (_, word)) in Role::ALL.iter().filter(|(role, _)| self.has(*role)).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::write_string(out, word);
        }
        out.push(b']');
        let narrow = |scope: &'_ Option<Scope>| scope.clone().filter(|scope| matches!(scope, Scope::Only(_)));
        let grants: Vec<(&[u8], Scope)> = match (narrow(&self.read), narrow(&self.write)) {
            (Some(read), Some(write)) if read == write => alloc::vec![(&b"\"read\",\"write\""[..], read)],
            (read, write) => {
                let both = [(&b"\"read\""[..], read), (&b"\"write\""[..], write)];
                both.into_iter().filter_map(|(words, scope)| Some((words, scope?))).collect()
            }
        };
        for (index, (words, scope)) in grants.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"grants\":[{\"roles\":[" } else { b",{\"roles\":[" });
            out.extend_from_slice(words);
            out.extend_from_slice(b"],\"scope\":");
            scope.write_json(out);
            out.push(b'}');
        }
        if !grants.is_empty() {
            out.push(b']');
        }
    }

    /// Reads `"roles"` as it is stored. A role this release does not know grants nothing.
    pub(super) fn add_stored_roles(&mut self, raw: &str) -> Option<()> {
        stored_roles(raw)?.into_iter().for_each(|role| self.add(role));
        Some(())
    }

    /// Reads `"grants"` as it is stored. One that has a member this release does not know, or a scope that is none, grants
    /// nothing: what is not understood might take something away.
    pub(super) fn add_stored_grants(&mut self, raw: &str) -> Option<()> {
        for grant in json::elements(raw).ok()? {
            let (mut roles, mut scope, mut is_known) = (None, None, true);
            for (name, raw) in json::members(grant).ok()? {
                match &*name {
                    "roles" => roles = Some(stored_roles(raw)?),
                    "scope" => scope = Scope::from_json(raw).ok(),
                    _ => is_known = false,
                }
            }
            if let (Some(roles), Some(Scope::Only(within)), true) = (roles, scope, is_known) {
                self.add_all_within(&roles, within);
            }
        }
        Some(())
    }
}

fn stored_roles(raw: &str) -> Option<Vec<Role>> {
    let words = json::elements(raw).ok()?.into_iter().map(json::string).collect::<Option<Vec<Cow<'_, str>>>>()?;
    Some(words.into_iter().filter_map(|word| Role::from_word(&word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(text: &str) -> Collections {
        let Ok(Scope::Only(within)) = Scope::from_json(text) else { panic!("{text}") };
        within
    }

    fn rights(roles: &[Role], grants: &[(Role, &str)]) -> Rights {
        let mut rights = Rights::of(roles.iter().copied());
        grants.iter().for_each(|(role, text)| rights.add_within(*role, within(text)));
        rights
    }

    fn members(rights: &Rights) -> String {
        let mut out = Vec::new();
        rights.write_members(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn grants_add_up_in_any_order_and_a_role_over_everything_swallows_them() {
        let (a, b) = ((Role::Read, r#"{"p":["eu:"]}"#), (Role::Read, r#"{"p":["eu:de:","us:"],"f":[""]}"#));
        let both = rights(&[], &[a, b]);
        assert_eq!(both, rights(&[], &[b, a]));
        assert_eq!(both.read_scope().unwrap().to_json(), r#"{"f":[""],"p":["eu:","us:"]}"#);
        assert_eq!(rights(&[Role::Read], &[a]), rights(&[Role::Read], &[]));
        let mut late = both;
        late.add(Role::Read);
        assert_eq!(late, Rights::of([Role::Read]));
        assert_eq!(Rights::of([Role::Node, Role::Read]), Rights::of([Role::Read, Role::Node]));
    }

    #[test]
    fn only_reading_and_writing_have_a_place_and_the_systems_collections_are_none() {
        let narrow = r#"{"_keys":[""],"f":["a"]}"#;
        assert!(rights(&[], &[(Role::Admin, narrow), (Role::Node, narrow)]).is_nothing());
        assert!(rights(&[], &[(Role::Read, r#"{"_keys":[""]}"#)]).is_nothing());
        let write = rights(&[], &[(Role::Write, narrow)]);
        assert_eq!(write.write_scope().unwrap().to_json(), r#"{"f":["a"]}"#);
        assert_eq!(write.read_scope(), None);
    }

    #[test]
    fn what_may_do_more_is_not_contained() {
        let narrow = rights(&[], &[(Role::Read, r#"{"f":["a"]}"#)]);
        for (outer, inner, contained) in [
            (Rights::all(), narrow.clone(), true),
            (narrow.clone(), narrow.clone(), true),
            (narrow.clone(), rights(&[], &[(Role::Read, r#"{"f":["ab"]}"#)]), true),
            (narrow.clone(), rights(&[], &[(Role::Read, r#"{"f":[""]}"#)]), false),
            (narrow.clone(), rights(&[], &[(Role::Write, r#"{"f":["a"]}"#)]), false),
            (narrow, Rights::of([Role::Read]), false),
            (Rights::of([Role::Admin]), Rights::of([Role::Read]), false),
            (Rights::of([Role::Admin, Role::Read]), Rights::of([Role::Node]), false),
            (Rights::of([Role::Node]), Rights::of([Role::Read]), true),
            (Rights::of([Role::Node]), Rights::of([Role::Admin]), false),
            (Rights::of([Role::Admin, Role::Read]), Rights::of([Role::Admin]), true),
            (Rights::default(), Rights::default(), true),
        ] {
            assert_eq!(outer.contains(&inner), contained, "{outer:?} {inner:?}");
        }
    }

    #[test]
    fn without_credentials_nothing_but_what_is_public_is_read() {
        let narrow = (Role::Read, r#"{"f":["a"]}"#);
        assert_eq!(rights(&[Role::Write, Role::Admin], &[narrow]).reading_alone(), rights(&[], &[narrow]));
        assert_eq!(Rights::all().reading_alone(), Rights::of([Role::Read]));
        assert!(Rights::of([Role::Node, Role::Write]).reading_alone().is_nothing());
    }

    #[test]
    fn without_admin_and_node_entries_are_left() {
        let narrow = r#"{"f":["a"]}"#;
        let all = rights(&[Role::Admin, Role::Write], &[(Role::Read, narrow)]);
        assert_eq!(all.entries_alone(), rights(&[Role::Write], &[(Role::Read, narrow)]));
        assert_eq!(Rights::all().entries_alone(), Rights::of([Role::Read, Role::Write]));
        assert!(Rights::of([Role::Node, Role::Admin]).entries_alone().is_nothing());
        let write = rights(&[], &[(Role::Write, narrow)]);
        assert_eq!(write.entries_alone(), write);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (read, write) = ((Role::Read, r#"{"f":["a\"","b"],"p":[""]}"#), (Role::Write, r#"{"p":["eu:"]}"#));
        for (rights, text) in [
            (rights(&[], &[]), r#""roles":[]"#),
            (
                rights(&[Role::Node, Role::Read], &[write]),
                concat!(r#""roles":["read","node"],"#, r#""grants":[{"roles":["write"],"scope":{"p":["eu:"]}}]"#),
            ),
            (
                rights(&[Role::Admin], &[read, write]),
                concat!(
                    r#""roles":["admin"],"grants":[{"roles":["read"],"scope":{"f":["a\"","b"],"p":[""]}},"#,
                    r#"{"roles":["write"],"scope":{"p":["eu:"]}}]"#
                ),
            ),
            (
                rights(&[], &[(Role::Read, write.1), write]),
                r#""roles":[],"grants":[{"roles":["read","write"],"scope":{"p":["eu:"]}}]"#,
            ),
        ] {
            assert_eq!(members(&rights), text);
            let text = alloc::format!("{{{text}}}");
            let mut read_back = Rights::default();
            for (name, raw) in json::members(&text).unwrap() {
                match &*name {
                    "roles" => read_back.add_stored_roles(raw).unwrap(),
                    _ => read_back.add_stored_grants(raw).unwrap(),
                }
            }
            assert_eq!(read_back, rights, "{text}");
        }
    }

    #[test]
    fn a_grant_that_is_not_understood_grants_nothing_and_the_others_stay() {
        let good = r#"{"roles":["read","later"],"scope":{"f":[""]}}"#;
        for other in [
            r#"{"roles":["read"],"scope":{"p":[""]},"until":5}"#,
            r#"{"roles":["read"],"scope":"*"}"#,
            r#"{"roles":["read"],"scope":{"p":[]}}"#,
            r#"{"roles":["read"],"scope":{"../p":[""]}}"#,
            r#"{"roles":["read"]}"#,
            r#"{"scope":{"p":[""]}}"#,
            r#"{"roles":["admin","node"],"scope":{"p":[""]}}"#,
        ] {
            let mut found = Rights::default();
            found.add_stored_grants(&alloc::format!("[{other},{good}]")).unwrap();
            assert_eq!(found, rights(&[], &[(Role::Read, r#"{"f":[""]}"#)]), "{other}");
        }
        for damaged in ["{}", "[1]", "[[]]", r#"[{"roles":1,"scope":{"p":[""]}}]"#, "\"x\""] {
            assert_eq!(Rights::default().add_stored_grants(damaged), None, "{damaged}");
        }
    }
}
