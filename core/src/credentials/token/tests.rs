use super::super::{Checks, Grant, Role, Signatures, StoredKey, Verifier, bearer};
use super::*;
use crate::apply::apply;
use crate::command::{Line, Trust, decode};
use crate::name;
use crate::scope::Scope;
use crate::store::memory::{MemoryOptions, MemoryStore};
use crate::store::{Progress, Store};
use alloc::format;

const NOW_MS: u64 = 1_763_650_000_000;
const NOW_S: u64 = NOW_MS / 1_000;
const CLUSTER: Id = Id::from_bytes([7; 16]);

/// A store of a cluster whose key `k` of the secret `s` reads and writes.
struct Keys(MemoryStore, Signatures);

impl Keys {
    fn new() -> Self {
        let options = MemoryOptions { shards: 1, hash_seed: 7, snapshots: Default::default() };
        let progress = Progress { cluster: Some(CLUSTER), ..Progress::new(Scope::Everything) };
        let keys = Self(MemoryStore::new(progress, options), Signatures::default());
        keys.take(r#""type":"CREATE""#);
        keys.set("k", &StoredKey::new(Some(Verifier::of("s")), Rights::of([Role::Read, Role::Write]), 0));
        keys
    }

    fn take(&self, members: &str) {
        let seq = self.0.position().seq + 1;
        let line =
            format!(r#"{{{members},"collection":"{}","seq":{seq},"prev":{},"timestamp":1}}"#, name::KEYS, seq - 1);
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        apply(&self.0, &command, &mut Vec::new()).unwrap();
    }

    fn set(&self, id: &str, key: &StoredKey) {
        let seq = self.0.position().seq + 1;
        let head = format!(r#"{{"type":"SET","collection":"{}","seq":{seq},"prev":{}"#, name::KEYS, seq - 1);
        let line = format!(r#"{head},"key":"{id}","version":1,"timestamp":1,"value":{}}}"#, key.to_json());
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        apply(&self.0, &command, &mut Vec::new()).unwrap();
    }

    fn judge(&self, token: &str) -> Option<Grant> {
        bearer(&self.0, &self.1, Checks::All, token, NOW_MS).unwrap()
    }
}

fn claims() -> Claims {
    Claims { cluster: CLUSTER, rights: Rights::of([Role::Read]), issued_s: NOW_S, until_s: NOW_S + 900 }
}

fn encoded(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A token of any header and claims, signed as it should be.
fn signed(header: &str, claims: &str) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let signature = signing_key("s").sign(text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#;

fn body() -> String {
    format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{},"roles":["read"]}}"#, NOW_S + 900)
}

#[test]
fn a_token_grants_what_it_says_until_it_ends() {
    let (keys, token) = (Keys::new(), claims().sign("k", "s"));
    assert_eq!(token, signed(HEADER, &body()), "as anybody can make it who has the secret");
    let grant = keys.judge(&token).unwrap();
    assert_eq!((&*grant.credential, grant.rights()), ("k", &Rights::of([Role::Read])));
    assert_eq!(grant.until_ms(), Some(NOW_MS + 900_000));
    for (ms, is_good) in [(899_999, true), (900_000, false)] {
        assert_eq!(bearer(&keys.0, &keys.1, Checks::All, &token, NOW_MS + ms).unwrap().is_some(), is_good);
        assert_eq!(grant.renewed(&keys.0, NOW_MS + ms).unwrap().is_some(), is_good);
        assert_eq!(grant.has_expired(NOW_MS + ms), !is_good);
    }
}

#[test]
fn the_signature_is_the_one_that_others_make_of_the_same_key() {
    // RFC 8037, appendix A.4: the example of an Ed25519 signature over a JWS.
    let seed = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let key = SigningKey::from_bytes(&seed.try_into().unwrap());
    assert_eq!(
        BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes()),
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    );
    let signature = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
    assert_eq!(
        BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn tricks_with_the_header_are_refused() {
    let keys = Keys::new();
    let public = TokenKey::of("s").to_hex();
    for header in [
        r#"{"alg":"none","kid":"k"}"#.into(),
        r#"{"alg":"","kid":"k"}"#.into(),
        r#"{"kid":"k"}"#.into(),
        r#"{"alg":"HS256","kid":"k"}"#.into(),
        r#"{"alg":"ES256","kid":"k"}"#.into(),
        r#"{"alg":"eddsa","kid":"k"}"#.into(),
        r#"{"alg":["EdDSA"],"kid":"k"}"#.into(),
        r#"{"alg":"EdDSA"}"#.into(),
        r#"{"alg":"EdDSA","kid":""}"#.into(),
        r#"{"alg":"EdDSA","kid":"other"}"#.into(),
        r#"{"alg":"EdDSA","kid":1}"#.into(),
        r#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#.into(),
        r#"{"alg":"EdDSA","kid":"k","crit":["exp"]}"#.into(),
        r#"{"alg":"EdDSA","kid":"k","b64":false}"#.into(),
        r#"{"alg":"EdDSA","kid":"k","zip":"DEF"}"#.into(),
        r#"{"alg":"EdDSA","kid":"k","jku":"http://127.0.0.1/"}"#.into(),
        format!(r#"{{"alg":"EdDSA","kid":"k","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{public}"}}}}"#),
        r#"{"alg":"EdDSA","alg":"none","kid":"k"}"#.into(),
        r#"{"alg":"EdDSA","kid":"k","kid":"other"}"#.into(),
        r#"["alg","EdDSA"]"#.into(),
        "{".into(),
        String::new(),
    ] {
        assert_eq!(keys.judge(&signed(&header, &body())), None, "{header}");
    }
    assert!(keys.judge(&signed(r#"{"kid":"k","alg":"EdDSA"}"#, &body())).is_some(), "the order is free, typ too");
}

#[test]
fn tricks_with_the_signature_are_refused() {
    let (keys, token) = (Keys::new(), claims().sign("k", "s"));
    let (text, signature) = token.rsplit_once('.').unwrap();
    let (header, said) = text.split_once('.').unwrap();
    let more = encoded(&body().replace("read", "write"));
    let mut bits = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    bits[5] ^= 1;
    let flipped = BASE64_URL_SAFE_NO_PAD.encode(&bits);
    for (what, token) in [
        ("no signature", format!("{text}.")),
        ("nothing at all", String::new()),
        ("two parts", text.into()),
        ("four parts", format!("{token}.{signature}")),
        ("another's", claims().sign("k", "another")),
        ("of the stored hash", claims().sign("k", &super::super::SecretHash::of("s").to_hex())),
        ("of other claims", format!("{header}.{more}.{signature}")),
        ("a bit of it", format!("{text}.{flipped}")),
        ("cut short", format!("{text}.{}", &signature[..80])),
        ("longer", format!("{token}AA")),
        ("padded", format!("{token}==")),
        ("the other alphabet", token.replace(['-', '_'], "+")),
        ("white space", format!("{token} ")),
        ("a header with padding", format!("{header}=.{said}.{signature}")),
        ("zeros", format!("{text}.{}", "A".repeat(86))),
    ] {
        assert_ne!(token, claims().sign("k", "s"), "{what}");
        assert_eq!(keys.judge(&token), None, "{what}");
    }
}

#[test]
fn claims_that_are_missing_foreign_or_out_of_time_are_refused() {
    let (keys, until) = (Keys::new(), NOW_S + 900);
    let long = "a".repeat(TOKEN_BYTES_MAX);
    for body in [
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"roles":["read"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","exp":{until},"roles":["read"]}}"#),
        format!(r#"{{"iat":{NOW_S},"exp":{until},"roles":["read"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until}}}"#),
        format!(r#"{{"aud":"{}","iat":{NOW_S},"exp":{until},"roles":["read"]}}"#, Id::from_bytes([8; 16])),
        format!(r#"{{"aud":["{CLUSTER}"],"iat":{NOW_S},"exp":{until},"roles":["read"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until},"roles":["read"],"nbf":{until}}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until},"roles":["read"],"pad":"{long}"}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":"{until}","roles":["read"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until}.5,"roles":["read"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{NOW_S},"roles":["read"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{},"exp":{until},"roles":["read"]}}"#, NOW_S + AHEAD_S_MAX + 1),
        format!(r#"{{"aud":"{CLUSTER}","iat":{},"exp":{until},"roles":["read"]}}"#, until + 1),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{},"roles":["read"]}}"#, NOW_S + TOKEN_S_MAX + 1),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{},"roles":["read"]}}"#, u64::MAX),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until},"roles":["admin"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until},"roles":["read","node"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until},"roles":["later"]}}"#),
        format!(r#"{{"aud":"{CLUSTER}","iat":{NOW_S},"exp":{until},"roles":"read"}}"#),
        "[]".into(),
    ] {
        assert_eq!(keys.judge(&signed(HEADER, &body)), None, "{}", &body[..body.len().min(200)]);
    }
    for exact in [
        format!(r#"{{"aud":"{CLUSTER}","iat":{},"exp":{until},"roles":["read"]}}"#, NOW_S + AHEAD_S_MAX),
        format!(r#"{{"exp":{},"iat":{NOW_S},"roles":["write","later"],"aud":"{CLUSTER}"}}"#, NOW_S + TOKEN_S_MAX),
    ] {
        assert!(keys.judge(&signed(HEADER, &exact)).is_some(), "{exact}");
    }
}

#[test]
fn a_token_ends_with_its_secret_and_with_what_its_key_may() {
    let keys = Keys::new();
    let (token, read) = (claims().sign("k", "s"), Rights::of([Role::Read]));
    let grant = keys.judge(&token).unwrap();
    let key = |secret: &str, rights: &Rights| StoredKey::new(Some(Verifier::of(secret)), rights.clone(), 0);
    let mut narrow = Rights::default();
    let Ok(Scope::Only(within)) = Scope::from_json(r#"{"f":["a"]}"#) else { panic!("a scope") };
    narrow.add_within(Role::Read, within);
    for (key, is_good) in [
        (key("s", &read), true),
        (key("s", &narrow), false),
        (key("s", &Rights::of([Role::Admin, Role::Node])), false),
        (key("t", &read), false),
        (key("s", &read).rotated(Verifier::of("t"), NOW_MS + 5_000), true),
        (key("s", &read).rotated(Verifier::of("t"), NOW_MS), false),
        (key("s", &read).rotated(Verifier::of("t"), 0), false),
        (StoredKey::new(Some(Verifier { token_key: None, ..Verifier::of("t") }), read.clone(), 0), false),
        (StoredKey::new(None, read.clone(), 0), false),
    ] {
        keys.set("k", &key);
        assert_eq!(keys.judge(&token).is_some(), is_good, "{}", key.to_json());
        assert_eq!(grant.renewed(&keys.0, NOW_MS).unwrap().is_some(), is_good, "{}", key.to_json());
    }
    keys.set("k", &key("s", &read).rotated(Verifier::of("t"), NOW_MS + 5_000));
    assert_eq!(keys.judge(&token).unwrap().until_ms(), Some(NOW_MS + 5_000), "no longer than the secret before");
    let narrowed = Claims { rights: narrow, ..claims() }.sign("k", "s");
    assert_eq!(keys.judge(&narrowed).unwrap().scope().unwrap().to_json(), r#"{"f":["a"]}"#);
}

#[test]
fn nobody_makes_tokens_of_a_key_that_is_not_there_or_has_no_secret() {
    let keys = Keys::new();
    for id in ["", "other", "anonymous"] {
        assert_eq!(keys.judge(&claims().sign(id, "s")), None, "{id}");
    }
    // For the generator of the group everybody can sign: its secret is the number one. Made by a script of RFC 8032's formulas.
    for (id, signature) in [
        ("anonymous", "709i-EeXM62HnPrO08ianDndT8eV7y76HD6v5NcpoIEYo6sPYGVN7Rml472EaoE8yjjg9wJEtMT21SulOvYQCg"),
        ("open", "709i-EeXM62HnPrO08ianDndT8eV7y76HD6v5NcpoIH-w-kPjvkpZEPu1tiob4QazAwGSxu1m4Q2TzAN7HGbCQ"),
    ] {
        let text = format!("{}.{}", encoded(&HEADER.replace("\"k\"", &format!("\"{id}\""))), encoded(&body()));
        let forged = format!("{text}.{signature}");
        let token = Token::read(&forged).unwrap();
        assert!(token.is_signed_by(&TokenKey::NOBODYS), "it is what it is said to be");
        for key in [None, Some(StoredKey::new(None, Rights::of([Role::Read]), 0))] {
            key.iter().for_each(|key| keys.set(id, key));
            assert_eq!(keys.judge(&forged), None, "{id}: {key:?}");
            assert!(!keys.1.holds(&TokenKey::NOBODYS, &token, Checks::RememberedAlone), "nothing of it is kept");
        }
    }
}

#[test]
fn what_was_opened_before_a_rotation_ends_with_the_grace_of_its_secret() {
    let keys = Keys::new();
    let grant = keys.judge(&claims().sign("k", "s")).unwrap();
    let key = StoredKey::new(Some(Verifier::of("s")), Rights::of([Role::Read]), 0);
    keys.set("k", &key.rotated(Verifier::of("t"), NOW_MS + 5_000));
    let renewed = grant.renewed(&keys.0, NOW_MS).unwrap().unwrap();
    assert_eq!(renewed.until_ms(), Some(NOW_MS + 5_000));
    assert_eq!(renewed.renewed(&keys.0, NOW_MS + 5_000).unwrap(), None);
    assert!(!renewed.has_expired(NOW_MS + 5_000), "it is not the token whose time is over");
}
