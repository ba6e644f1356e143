use super::*;
use crate::apply::apply;
use crate::command::{Line, Trust, decode};
use crate::credentials::PairMemory;
use crate::node::{Node, NodeOptions};
use crate::store::Progress;
use crate::store::memory::{MemoryOptions, MemoryStore};

const NOW: Now = Now { wall_ms: 1_763_650_000_000, mono_ms: 5 };
const DRAWN: Drawn<'static> = Drawn { id: "key-1", secret: "a new secret" };

struct Keys(MemoryStore);

impl Keys {
    /// The writer's keys, as changes are carried out.
    fn new() -> Self {
        let options = MemoryOptions { shards: 1, hash_seed: 7, snapshots: Default::default() };
        let store = MemoryStore::new(Progress { complete: true, ..Progress::new(Scope::Everything) }, options);
        let keys = Self(store);
        keys.log(r#""CREATE","collection":"_keys""#, "");
        keys
    }

    fn log(&self, begin: &str, end: &str) {
        let before = self.0.position().seq;
        let prev = if before > 0 { format!(",\"prev\":{before}") } else { String::new() };
        let line = format!("{{\"type\":{begin},\"seq\":{}{prev}{end},\"timestamp\":1}}", before + 1);
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        apply(&self.0, &command, &mut Vec::new()).unwrap();
    }

    fn store(&self, id: &str, value: &str) {
        self.log(r#""SET","collection":"_keys""#, &format!(",\"key\":\"{id}\",\"version\":1,\"value\":{value}"));
    }

    /// Asks, and carries out what is decided.
    fn ask(&self, grant: &Grant, route: KeyRoute<'_>, body: &str) -> Result<String, Code> {
        let decided = KeyRequest::read(route, body.as_bytes())
            .and_then(|request| request.decide(&self.0, grant, DRAWN, NOW))
            .map_err(|error| error.code)?;
        match &decided.value {
            Some(value) => self.store(&decided.id, value),
            None => {
                let end = format!(",\"key\":\"{}\",\"version\":2", decided.id);
                self.log(r#""DELETE","collection":"_keys""#, &end);
            }
        }
        Ok(decided.body)
    }

    fn rights(&self, id: &str) -> Option<Rights> {
        let record = self.0.record(name::KEYS, id).unwrap()?;
        Some(StoredKey::read(record.value()).unwrap().rights)
    }

    fn listed(self) -> String {
        let id = "0a".repeat(16).parse().unwrap();
        let node = Node::new(self.0, NodeOptions::new("n", id, node::Role::Primary));
        let Ok(Answered::Here(answer)) = keys(&node, NOW) else { panic!("no list") };
        let super::super::Body::Full(body) = answer.body else { panic!("a list in pieces") };
        String::from_utf8(body.to_vec()).unwrap()
    }
}

fn of(roles: &[Role]) -> Grant {
    Grant::local("caller", Rights::of(roles.iter().copied()))
}

const READER: &str = r#"{"id":"r","roles":["read"]}"#;

#[test]
fn a_key_is_made_with_a_drawn_secret_that_is_told_and_not_stored() {
    let keys = Keys::new();
    let body = keys.ask(&Grant::all("a"), KeyRoute::Create, r#"{"roles":["read"]}"#).unwrap();
    assert_eq!(
        body,
        r#"{"ok":true,"id":"key-1","secret":"a new secret","roles":["read"],"created":"2025-11-20T14:46:40.000Z"}"#
    );
    let stored = keys.0.record(name::KEYS, "key-1").unwrap().unwrap();
    assert!(!stored.value().contains("secret"), "{}", stored.value());
    let verified = PairMemory::default().verify(&keys.0, "key-1", "a new secret", 0).unwrap().unwrap();
    assert_eq!(verified.rights(), &Rights::of([Role::Read]));
    assert_eq!(
        keys.ask(&Grant::all("a"), KeyRoute::Create, r#"{"id":"key-1","roles":["read"]}"#),
        Err(Code::PreconditionFailed)
    );
}

#[test]
fn nobody_hands_out_more_than_they_have() {
    let keys = Keys::new();
    keys.ask(&Grant::all("a"), KeyRoute::Create, r#"{"id":"big","roles":["read","write","admin","node"]}"#).unwrap();
    let small = of(&[Role::Admin, Role::Read]);
    for body in [
        r#"{"id":"x","roles":["write"]}"#,
        r#"{"id":"x","roles":["node"]}"#,
        r#"{"id":"x","roles":["read"],"grants":[{"roles":["write"],"scope":{"f":["a"]}}]}"#,
    ] {
        assert_eq!(keys.ask(&small, KeyRoute::Create, body), Err(Code::Forbidden), "{body}");
    }
    assert!(keys.ask(&small, KeyRoute::Create, READER).is_ok());
    assert_eq!(keys.ask(&small, KeyRoute::Change("r".into()), r#"{"roles":["write"]}"#), Err(Code::Forbidden));
    assert_eq!(keys.ask(&small, KeyRoute::Rotate("big".into()), ""), Err(Code::Forbidden), "its secret would be told");
    assert!(keys.ask(&small, KeyRoute::Rotate("r".into()), "").is_ok());
    let narrowed = r#"{"roles":["admin"],"grants":[{"roles":["read"],"scope":{"f":[""]}}]}"#;
    assert!(keys.ask(&small, KeyRoute::Change("big".into()), narrowed).is_ok(), "taking away is free");
    assert_eq!(keys.rights("big").unwrap().read_scope().unwrap().to_json(), r#"{"f":[""]}"#);
}

#[test]
fn somebody_must_be_left_who_manages_keys() {
    let (keys, all) = (Keys::new(), Grant::all("a"));
    for id in ["a1", "a2"] {
        keys.ask(&all, KeyRoute::Create, &format!(r#"{{"id":"{id}","roles":["admin"]}}"#)).unwrap();
    }
    keys.ask(&all, KeyRoute::Create, READER).unwrap();
    // Neither of these could manage anything.
    keys.store("damaged", "1");
    keys.store("open", r#"{"roles":["admin"]}"#);
    assert!(keys.ask(&all, KeyRoute::Revoke("a1".into()), "").is_ok());
    assert_eq!(keys.ask(&all, KeyRoute::Revoke("a2".into()), ""), Err(Code::PreconditionFailed));
    assert_eq!(keys.ask(&all, KeyRoute::Change("a2".into()), r#"{"roles":["read"]}"#), Err(Code::PreconditionFailed));
    assert!(keys.ask(&all, KeyRoute::Change("a2".into()), r#"{"roles":["read","admin"]}"#).is_ok());
    assert!(keys.ask(&all, KeyRoute::Rotate("a2".into()), "").is_ok());
    for id in ["r", "damaged"] {
        assert!(keys.ask(&all, KeyRoute::Revoke(id.into()), "").is_ok(), "{id}");
    }
    for id in ["r", "never", ""] {
        assert_eq!(keys.ask(&all, KeyRoute::Revoke(id.into()), ""), Err(Code::NotFound), "{id}");
        assert_eq!(keys.ask(&all, KeyRoute::Rotate(id.into()), ""), Err(Code::NotFound), "{id}");
        assert_eq!(keys.ask(&all, KeyRoute::Change(id.into()), r#"{"roles":["read"]}"#), Err(Code::NotFound), "{id}");
    }
    keys.store("damaged", "1");
    assert_eq!(keys.ask(&all, KeyRoute::Rotate("damaged".into()), ""), Err(Code::PreconditionFailed));
}

#[test]
fn the_key_without_a_secret_only_ever_reads() {
    let (keys, all) = (Keys::new(), Grant::all("a"));
    for body in [
        r#"{"id":"anonymous","roles":["read","write"]}"#,
        r#"{"id":"anonymous","roles":["node"]}"#,
        r#"{"id":"anonymous","roles":["read","admin"]}"#,
        r#"{"id":"anonymous","grants":[{"roles":["read","write"],"scope":{"f":[""]}}]}"#,
    ] {
        assert_eq!(keys.ask(&all, KeyRoute::Create, body), Err(Code::InvalidJson), "{body}");
    }
    let body = r#"{"id":"anonymous","grants":[{"roles":["read"],"scope":{"f":[""]}}]}"#;
    let answer = keys.ask(&all, KeyRoute::Create, body).unwrap();
    assert!(!answer.contains("secret"), "{answer}");
    assert_eq!(keys.ask(&all, KeyRoute::Rotate("anonymous".into()), ""), Err(Code::InvalidJson));
    assert_eq!(keys.ask(&all, KeyRoute::Change("anonymous".into()), r#"{"roles":["admin"]}"#), Err(Code::InvalidJson));
    assert!(keys.ask(&all, KeyRoute::Change("anonymous".into()), r#"{"roles":["read"]}"#).is_ok());
    assert_eq!(crate::credentials::anonymous(&keys.0).unwrap().unwrap().scope(), Some(&Scope::Public));
}

#[test]
fn a_rotated_key_opens_with_both_secrets_for_as_long_as_was_said() {
    let (keys, all) = (Keys::new(), Grant::all("a"));
    let old = StoredKey::new(Some(Verifier::of("old")), Rights::of([Role::Read]), 7);
    keys.store("k", &old.to_json());
    let answer = keys.ask(&all, KeyRoute::Rotate("k".into()), r#"{"graceMs":60000}"#).unwrap();
    assert!(
        answer.contains(r#""secret":"a new secret""#)
            && answer.contains(r#""previousUntil":"2025-11-20T14:47:40.000Z""#)
    );
    let opens = |secret, ms| PairMemory::default().verify(&keys.0, "k", secret, NOW.wall_ms + ms).unwrap().is_some();
    assert!(opens("old", 59_999) && !opens("old", 60_000) && opens("a new secret", 60_000));
    for grace_ms in [GRACE_MS_MAX, GRACE_MS_MAX + 1] {
        let asked = keys.ask(&all, KeyRoute::Rotate("k".into()), &format!("{{\"graceMs\":{grace_ms}}}"));
        assert_eq!(asked.is_ok(), grace_ms == GRACE_MS_MAX, "{asked:?}");
    }
    for body in ["[]", r#"{"graceMs":"1h"}"#, r#"{"graceMs":-1}"#, r#"{"grace":1}"#, "{"] {
        assert_eq!(keys.ask(&all, KeyRoute::Rotate("k".into()), body), Err(Code::InvalidJson), "{body}");
    }
}

#[test]
fn a_body_that_is_not_understood_is_refused_whole() {
    let keys = Keys::new();
    for (body, code) in [
        ("", Code::InvalidJson),
        ("[]", Code::InvalidJson),
        ("{}", Code::InvalidJson),
        (r#"{"roles":[]}"#, Code::InvalidJson),
        (r#"{"roles":"read"}"#, Code::InvalidJson),
        (r#"{"roles":["reed"]}"#, Code::InvalidJson),
        (r#"{"roles":["read"],"scope":{"f":[""]}}"#, Code::InvalidJson),
        (r#"{"roles":["read"],"grants":{}}"#, Code::InvalidJson),
        (r#"{"roles":["read"],"grants":[{"roles":["read"]}]}"#, Code::InvalidJson),
        (r#"{"grants":[{"roles":["read"],"scope":"*"}]}"#, Code::InvalidJson),
        (r#"{"grants":[{"roles":["read"],"scope":"**"}]}"#, Code::InvalidJson),
        (r#"{"grants":[{"roles":["read"],"scope":{"_keys":[""]}}]}"#, Code::InvalidJson),
        (r#"{"grants":[{"roles":["admin"],"scope":{"f":[""]}}]}"#, Code::InvalidJson),
        (r#"{"grants":[{"roles":[],"scope":{"f":[""]}}]}"#, Code::InvalidJson),
        (r#"{"grants":[{"roles":["read"],"scope":{"f":[""]},"until":5}]}"#, Code::InvalidJson),
        (r#"{"id":1,"roles":["read"]}"#, Code::InvalidJson),
        (r#"{"id":"","roles":["read"]}"#, Code::InvalidKey),
        (r#"{"id":"a b","roles":["read"]}"#, Code::InvalidKey),
        (r#"{"id":"_a","roles":["read"]}"#, Code::InvalidKey),
        (r#"{"id":"../a","roles":["read"]}"#, Code::InvalidKey),
        (r#"{"id":"dev","roles":["read"]}"#, Code::InvalidKey),
    ] {
        assert_eq!(keys.ask(&Grant::all("a"), KeyRoute::Create, body), Err(code), "{body}");
    }
    let long = format!(r#"{{"id":"{}","roles":["read"]}}"#, "k".repeat(KEY_ID_BYTES_MAX + 1));
    assert_eq!(keys.ask(&Grant::all("a"), KeyRoute::Create, &long), Err(Code::InvalidKey));
    let many: Vec<_> = (0..=SCOPE_PREFIXES_MAX).map(|n| format!("\"{n:05}\"")).collect();
    let many = format!(r#"{{"grants":[{{"roles":["read"],"scope":{{"f":[{}]}}}}]}}"#, many.join(","));
    assert_eq!(keys.ask(&Grant::all("a"), KeyRoute::Create, &many), Err(Code::TooLarge));
    keys.ask(&Grant::all("a"), KeyRoute::Create, READER).unwrap();
    let renamed = keys.ask(&Grant::all("a"), KeyRoute::Change("r".into()), r#"{"id":"s","roles":["read"]}"#);
    assert_eq!(renamed, Err(Code::InvalidJson));
}

#[test]
fn the_list_tells_what_each_may_and_nothing_of_secrets() {
    let (keys, all) = (Keys::new(), Grant::all("a"));
    keys.store("b", "1");
    let body = r#"{"id":"a","roles":["admin"],"grants":[{"roles":["read"],"scope":{"p":["eu:"]}}]}"#;
    keys.ask(&all, KeyRoute::Create, body).unwrap();
    keys.ask(&all, KeyRoute::Rotate("a".into()), r#"{"graceMs":1}"#).unwrap();
    keys.store("c", &StoredKey::new(Some(Verifier::of("s")), Rights::of([Role::Node]), 0).to_json());
    assert_eq!(
        keys.listed(),
        concat!(
            r#"{"keys":[{"id":"a","roles":["admin"],"grants":[{"roles":["read"],"scope":{"p":["eu:"]}}],"#,
            r#""previousUntil":"2025-11-20T14:46:40.001Z","created":"2025-11-20T14:46:40.000Z"},"#,
            r#"{"id":"b","roles":[],"damaged":true},"#,
            r#"{"id":"c","roles":["node"],"created":"1970-01-01T00:00:00.001Z"}]}"#
        )
    );
}
