//! A key as it is stored: the value of its entry in [`crate::name::KEYS`].
//!
//! ```json
//! {"sha256":"<64 hex>","ed25519":"<64 hex>","previous":{"sha256":"<64 hex>","ed25519":"<64 hex>","until":1763650000000},
//!  "roles":["read"],"grants":[{"roles":["write"],"scope":{"prices":["eu:"]}}],"created":1763640000000}
//! ```
//!
//! `ed25519` tells the tokens that a secret's holder signed; see [`super::TokenKey`].
//!
//! A member that a later release adds may grant something and never take anything away: releases that do not know it pass
//! over it.

use super::rights::{Rights, Role};
use super::secret::{SecretHash, Verifier};
use super::token::TokenKey;
use crate::json;
use crate::scope::Collections;
use alloc::string::String;
use alloc::vec::Vec;

/// What a value of [`crate::name::KEYS`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredKey {
    /// What it may do.
    pub rights: Rights,
    /// What is kept of its secret; `None` for the one that needs none.
    pub(super) secret: Option<Verifier>,
    /// What is kept of the secret before, and until when that is good beside, Unix ms.
    pub(super) previous: Option<(Verifier, u64)>,
    /// When it was made, Unix ms; 0 where that is not known.
    pub created_ms: u64,
}

impl StoredKey {
    /// A key of this secret, or of none.
    pub fn new(secret: Option<Verifier>, rights: Rights, created_ms: u64) -> Self {
        Self { rights, secret, previous: None, created_ms }
    }

    /// The same with another secret, and the old one good until `until_ms` (Unix ms); 0 for no longer.
    #[must_use]
    pub fn rotated(self, secret: Verifier, until_ms: u64) -> Self {
        let previous = self.secret.map(|old| (old, until_ms)).filter(|_| until_ms > 0);
        Self { secret: Some(secret), previous, ..self }
    }

    /// Whether there is a secret that opens it.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether its holder may let others do this: something, and no more than it may do with entries itself. Managing keys
    /// and following as a node take the secret.
    pub(super) fn may_give(&self, rights: &Rights) -> bool {
        !rights.is_nothing() && self.rights.entries_alone().contains(rights)
    }

    /// Until when the secret before is good, Unix ms.
    pub fn previous_until_ms(&self) -> Option<u64> {
        self.previous.map(|(_, until)| until)
    }

    /// The JSON text to be stored.
    pub fn to_json(&self) -> String {
        let mut out = Vec::from(&b"{"[..]);
        if let Some(secret) = &self.secret {
            write_verifier(secret, &mut out);
            out.push(b',');
        }
        if let Some((previous, until)) = &self.previous {
            out.extend_from_slice(b"\"previous\":{");
            write_verifier(previous, &mut out);
            out.extend_from_slice(b",\"until\":");
            json::write_u64(&mut out, *until);
            out.extend_from_slice(b"},");
        }
        self.rights.write_members(&mut out);
        if self.created_ms > 0 {
            out.extend_from_slice(b",\"created\":");
            json::write_u64(&mut out, self.created_ms);
        }
        out.push(b'}');
        String::from_utf8(out).expect("the JSON writer emits UTF-8")
    }

    /// Reads a stored value; `None` for a damaged one, which grants nothing. Every request does this, so the form that
    /// [`StoredKey::to_json`] writes is read by itself.
    pub fn read(value: &str) -> Option<Self> {
        Sealed::read(value)?.whole()
    }
}

fn write_verifier(verifier: &Verifier, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"sha256\":");
    json::write_string(out, &verifier.hash.to_hex());
    if let Some(token_key) = verifier.token_key {
        out.extend_from_slice(b",\"ed25519\":");
        json::write_string(out, &token_key.to_hex());
    }
}

/// A stored key of which the secrets are read, and what it may do not yet: that can be long, and is nothing to whoever has
/// no secret of it, nor may the time that it takes tell them how long it is.
pub(super) struct Sealed<'v> {
    secret: Option<Verifier>,
    previous: Option<(Verifier, u64)>,
    form: Form<'v>,
}

enum Form<'v> {
    /// So far it was of the form of [`StoredKey::to_json`] to the letter; this is left.
    Written { value: &'v str, left: Rest<'v> },
    /// Any other, which may be as good: all of it had to be read.
    Foreign(Rights, u64),
}

impl<'v> Sealed<'v> {
    /// `None` for a damaged value.
    pub(super) fn read(value: &'v str) -> Option<Self> {
        Self::written(value).or_else(|| {
            let StoredKey { rights, secret, previous, created_ms } = foreign(value)?;
            Some(Self { secret, previous, form: Form::Foreign(rights, created_ms) })
        })
    }

    fn written(value: &'v str) -> Option<Self> {
        let mut left = Rest(value);
        left.eat("{")?;
        let secret = Some(left.verifier()?);
        left.eat(",")?;
        let mut previous = None;
        if left.eat("\"previous\":{").is_some() {
            let verifier = left.verifier()?;
            left.eat(",\"until\":")?;
            previous = Some((verifier, left.number()?));
            left.eat("},")?;
        }
        Some(Self { secret, previous, form: Form::Written { value, left } })
    }

    /// What is kept of its secret.
    pub(super) fn secret(&self) -> Option<Verifier> {
        self.secret
    }

    /// What is kept of the secret before, and until when that is good beside, Unix ms.
    pub(super) fn previous(&self) -> Option<(Verifier, u64)> {
        self.previous
    }

    /// What is kept of the secrets that are good at this time, and until when each is, Unix ms.
    pub(super) fn verifiers(&self, wall_ms: u64) -> impl Iterator<Item = (Verifier, u64)> + use<> {
        let previous = self.previous.filter(|(_, until_ms)| wall_ms < *until_ms);
        self.secret.map(|verifier| (verifier, u64::MAX)).into_iter().chain(previous)
    }

    /// All of it; `None` for a damaged value.
    pub(super) fn whole(self) -> Option<StoredKey> {
        let Self { secret, previous, form } = self;
        let (value, left) = match form {
            Form::Written { value, left } => (value, left),
            Form::Foreign(rights, created_ms) => return Some(StoredKey { rights, secret, previous, created_ms }),
        };
        match left.rights() {
            Some((rights, created_ms)) => Some(StoredKey { rights, secret, previous, created_ms }),
            // It goes on in another form. No member may be there twice, so what was found so far stays true of it; a secret
            // before that stands behind is not used, as nobody writes it there.
            None => foreign(value),
        }
    }
}

/// What is still to be read of a value in the written form.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// The members from `roles` to the end: what it may do, and when it was made.
    fn rights(mut self) -> Option<(Rights, u64)> {
        let (mut rights, mut created_ms) = (Rights::default(), 0);
        self.eat("\"roles\":[")?;
        self.words(|word| Role::from_word(word).map(|role| rights.add(role)))?;
        if self.eat(",\"grants\":[").is_some() {
            loop {
                self.eat("{\"roles\":[")?;
                let mut roles = Vec::new();
                self.words(|word| Role::from_word(word).map(|role| roles.push(role)))?;
                self.eat(",\"scope\":")?;
                let within = self.collections()?;
                rights.add_all_within(&roles, within);
                self.eat("}")?;
                if self.eat(",").is_none() {
                    break;
                }
            }
            self.eat("]")?;
        }
        if self.eat(",\"created\":").is_some() {
            created_ms = self.number()?;
        }
        (self.0 == "}").then_some((rights, created_ms))
    }

    fn verifier(&mut self) -> Option<Verifier> {
        self.eat("\"sha256\":")?;
        let hash = SecretHash::from_hex(self.text()?)?;
        let token_key = match self.eat(",\"ed25519\":") {
            Some(()) => Some(TokenKey::from_hex(self.text()?)?),
            None => None,
        };
        Some(Verifier { hash, token_key })
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit())?;
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        json::unsigned(number)
    }

    /// A string in which nothing is escaped.
    fn text(&mut self) -> Option<&'a str> {
        self.eat("\"")?;
        let (text, rest) = self.0.split_once('"')?;
        self.0 = rest;
        (!text.contains('\\')).then_some(text)
    }

    /// Strings up to the closing bracket; none at all is another form.
    fn words(&mut self, mut each: impl FnMut(&'a str) -> Option<()>) -> Option<()> {
        if self.eat("]").is_some() {
            return Some(());
        }
        loop {
            each(self.text()?)?;
            if self.eat(",").is_none() {
                return self.eat("]");
            }
        }
    }

    fn collections(&mut self) -> Option<Collections> {
        self.eat("{")?;
        let mut collections = Vec::new();
        loop {
            let name = self.text()?;
            self.eat(":[")?;
            let mut prefixes = Vec::new();
            self.words(|prefix| {
                prefixes.push(String::from(prefix));
                Some(())
            })?;
            collections.push((String::from(name), prefixes));
            if self.eat(",").is_none() {
                break;
            }
        }
        self.eat("}")?;
        Collections::new(collections).ok()
    }
}

fn foreign(value: &str) -> Option<StoredKey> {
    let mut key = StoredKey::default();
    let (mut hash, mut token_key) = (None, None);
    for (name, raw) in json::members(value).ok()? {
        match &*name {
            "sha256" => hash = Some(SecretHash::from_hex(&json::string(raw)?)?),
            "ed25519" => token_key = Some(TokenKey::from_hex(&json::string(raw)?)?),
            "roles" => key.rights.add_stored_roles(raw)?,
            "grants" => key.rights.add_stored_grants(raw)?,
            "previous" => key.previous = Some(previous(raw)?),
            "created" => key.created_ms = json::unsigned(raw)?,
            _ => {}
        }
    }
    key.secret = hash.map(|hash| Verifier { hash, token_key });
    Some(key)
}

fn previous(raw: &str) -> Option<(Verifier, u64)> {
    let (mut hash, mut token_key, mut until) = (None, None, None);
    for (name, raw) in json::members(raw).ok()? {
        match &*name {
            "sha256" => hash = Some(SecretHash::from_hex(&json::string(raw)?)?),
            "ed25519" => token_key = Some(TokenKey::from_hex(&json::string(raw)?)?),
            "until" => until = Some(json::unsigned(raw)?),
            _ => {}
        }
    }
    Some((Verifier { hash: hash?, token_key }, until?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;
    use alloc::format;

    fn hash(n: u8) -> Verifier {
        Verifier { hash: SecretHash::from_hex(&hex(n)).unwrap(), token_key: None }
    }

    fn hex(n: u8) -> String {
        format!("{n:02x}").repeat(32)
    }

    /// As the form of [`StoredKey::to_json`] is read; `None` for any other.
    fn written(value: &str) -> Option<StoredKey> {
        let Sealed { secret, previous, form } = Sealed::written(value)?;
        let Form::Written { left, .. } = form else { return None };
        left.rights().map(|(rights, created_ms)| StoredKey { rights, secret, previous, created_ms })
    }

    fn within(text: &str) -> Collections {
        let Ok(Scope::Only(within)) = Scope::from_json(text) else { panic!("{text}") };
        within
    }

    #[test]
    fn both_readers_of_a_stored_key_agree() {
        let mut seen = 0;
        for bits in 0..1_u32 << 10 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let roles = Role::ALL.iter().enumerate().filter(|(n, _)| bit(*n as u32)).map(|(_, (role, _))| *role);
            let mut rights = Rights::of(roles);
            if bit(4) {
                rights.add_within(Role::Read, within(r#"{"flags":["a","é☃"],"p":[""]}"#));
            }
            if bit(5) {
                rights.add_within(Role::Write, within(r#"{"prices":["eu:"]}"#));
            }
            let with_tokens = |n| Verifier { token_key: TokenKey::from_hex(&hex(n)).filter(|_| bit(9)), ..hash(n) };
            let mut key = StoredKey::new(Some(with_tokens(7)), rights, if bit(6) { 1_763_650_000_000 } else { 0 });
            if bit(7) {
                key = key.rotated(with_tokens(9), if bit(8) { 1_763_650_000_001 } else { 0 });
            }
            let value = key.to_json();
            assert_eq!(json::validate(value.as_bytes()), Ok(&*value));
            assert_eq!(foreign(&value).as_ref(), Some(&key), "{value}");
            assert_eq!(written(&value).as_ref(), Some(&key), "{value}");
            seen += 1;
        }
        assert_eq!(seen, 1_024);
    }

    #[test]
    fn another_spelling_is_read_as_well() {
        let hex = hex(7);
        let read = Some(StoredKey::new(Some(hash(7)), Rights::of([Role::Read]), 0));
        for other in [
            format!(r#"{{"roles":["read","later"],"sha256":"{hex}"}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read","later"]}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read"],"later":{{"narrow":1}}}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["re\u0061d"]}}"#),
        ] {
            assert_eq!(written(&other), None, "{other}");
            assert_eq!(StoredKey::read(&other), read, "{other}");
        }
        let escaped =
            format!(r#"{{"sha256":"{hex}","roles":[],"grants":[{{"roles":["read"],"scope":{{"f":["a\"b"]}}}}]}}"#);
        assert_eq!(written(&escaped), None);
        let mut rights = Rights::default();
        rights.add_within(Role::Read, within(r#"{"f":["a\"b"]}"#));
        assert_eq!(StoredKey::read(&escaped).unwrap().rights, rights);
    }

    #[test]
    fn what_says_two_things_of_its_secrets_opens_to_none() {
        let value = format!(r#"{{"sha256":"{}","roles":["read"],"sha256":"{}"}}"#, hex(7), hex(9));
        assert_eq!(Sealed::read(&value).unwrap().secret(), Some(hash(7)));
        assert_eq!(StoredKey::read(&value), None);
    }

    #[test]
    fn a_damaged_value_is_read_as_nothing() {
        let hex = hex(7);
        for value in [
            String::from("1"),
            String::from("[]"),
            String::from(r#"{"sha256":"","roles":["read"]}"#),
            format!(r#"{{"sha256":"{}","roles":["read"]}}"#, hex.to_uppercase().replace('7', "A")),
            format!(r#"{{"sha256":"{}","roles":["read"]}}"#, &hex[1..]),
            format!(r#"{{"sha256":"{hex}","roles":"read"}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read"],"previous":{{"sha256":"{hex}"}}}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read"],"previous":1}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read"],"grants":1}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read"],"created":-1}}"#),
            format!(r#"{{"sha256":"{hex}","roles":["read"]"#),
        ] {
            assert_eq!(StoredKey::read(&value), None, "{value}");
        }
    }

    #[test]
    fn a_rotated_key_keeps_what_it_may_and_one_secret_before() {
        let key = StoredKey::new(Some(hash(1)), Rights::of([Role::Read]), 5);
        let once = key.clone().rotated(hash(2), 90);
        assert_eq!((once.secret, once.previous, once.created_ms), (Some(hash(2)), Some((hash(1), 90)), 5));
        let twice = once.rotated(hash(3), 0);
        assert_eq!((twice.secret, twice.previous), (Some(hash(3)), None));
        assert_eq!(twice.rights, key.rights);
    }
}
