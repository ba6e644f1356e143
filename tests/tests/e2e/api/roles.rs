//! What a pair may do, as every node decides by itself from the keys in its state: reading, writing, dropping, and the
//! system's collections, which are there for nodes alone.
//!
//! The keys come from a parent played by the test: nothing of this node has a say in them.

use super::{call, refused};
use headwater_core::api::Code;
use headwater_core::credentials::{Rights, Role, StoredKey, Verifier};
use headwater_tests::wire::{self, Script};
use headwater_tests::{Client, Lines, Node, NodeBuilder, Stub, Visit, eventually};
use serde_json::json;
use tempfile::TempDir;

const PAIRS: [(&str, &[Role]); 6] = [
    ("nothing", &[]),
    ("reads", &[Role::Read]),
    ("writes", &[Role::Write]),
    ("edits", &[Role::Read, Role::Write]),
    ("admin", &[Role::Read, Role::Write, Role::Admin]),
    ("node", &[Role::Node]),
];

/// A replica that holds the entry `a` of collection `c`, and the pairs.
struct Keys {
    replica: Node,
    _parent: (Stub, Visit),
    _directory: TempDir,
}

impl Keys {
    async fn start() -> Self {
        let (mut stub, directory) = (Stub::start().await, tempfile::tempdir().expect("a directory can be made"));
        let replica = NodeBuilder::replica("replica", directory.path(), &stub.url).start().await;
        let mut visit = stub.visit().await;
        visit.say_all(Script::default().baseline(3, &[wire::entry(3, "a", "1")])).await;
        visit.say(r#"{"type":"CREATE","collection":"_keys","seq":4,"timestamp":1700000000000}"#).await;
        for (seq, (name, roles)) in (5..).zip(PAIRS) {
            let (secret, rights) = (Verifier::of(&format!("secret of {name}")), Rights::of(roles.iter().copied()));
            let value = StoredKey::new(Some(secret), rights, 0).to_json();
            let line =
                wire::set(seq, seq - 1, name, &value).replace("\"collection\":\"c\"", "\"collection\":\"_keys\"");
            visit.say(&line).await;
        }
        let last = format!("1000.{}", 4 + PAIRS.len());
        eventually("the keys arrive", || async {
            let at = replica.client().position().await;
            if at == last { Ok(()) } else { Err(at) }
        })
        .await;
        Self { replica, _parent: (stub, visit), _directory: directory }
    }

    fn client(&self, name: &str) -> Client {
        Client::with_pair(&self.replica.url, Some((name, &format!("secret of {name}"))))
    }
}

#[tokio::test]
async fn a_pair_does_what_its_roles_allow_and_no_more() {
    let keys = Keys::start().await;
    let entry = Client::entry_path("c", "a");
    for (name, roles) in PAIRS {
        let client = keys.client(name);
        let has = |role| roles.contains(&role);
        for (method, path, body, allowed) in [
            ("GET", &*entry, "", has(Role::Read) || has(Role::Node)),
            ("GET", "/v1/collections/c/keys", "", has(Role::Read) || has(Role::Node)),
            ("GET", "/v1/collections", "", has(Role::Read) || has(Role::Node)),
            ("GET", "/v1/status", "", has(Role::Admin) || has(Role::Node)),
            ("GET", "/v1/metrics", "", has(Role::Admin) || has(Role::Node)),
            ("PUT", &entry, "{\"value\":2}", has(Role::Write)),
            ("DELETE", &entry, "", has(Role::Write)),
            ("POST", "/v1/collections/c/batch", r#"{"ops":[]}"#, has(Role::Write)),
            ("POST", "/v1/collections", "{\"name\":\"d\"}", has(Role::Write)),
            ("DELETE", "/v1/collections/c", "", has(Role::Admin)),
        ] {
            let reply = call(&client, method, path, &[], body).await;
            if !allowed {
                refused(&reply, Code::Forbidden, &[]);
            } else if method == "GET" {
                assert_eq!(reply.status, 200, "{name} {method} {path}: {}", reply.text());
            } else {
                // It went to the parent, who answers so.
                assert!(
                    reply.text().contains("the stub has only a stream"),
                    "{name} {method} {path}: {}",
                    reply.text()
                );
            }
        }
    }
}

#[tokio::test]
async fn the_systems_collections_are_for_nodes_alone() {
    let keys = Keys::start().await;
    let everything = r#"{"scope":"**"}"#;
    for (name, roles) in PAIRS {
        let client = keys.client(name);
        let (is_node, follows) = (roles.contains(&Role::Node), roles.contains(&Role::Read));
        for path in [Client::entry_path("_keys", "reads"), "/v1/collections/_keys/keys".into()] {
            let reply = client.get(&path).await;
            if is_node {
                assert_eq!(reply.status, 200, "{}", reply.text());
            } else {
                refused(&reply, Code::Forbidden, &[]);
            }
        }
        match Lines::open(&client, everything).await {
            Ok(mut lines) => {
                let scope = lines.command().await["scope"].clone();
                assert_eq!(scope, if is_node { json!("**") } else { json!("*") }, "{name}");
                let shown = lines.until("READY").await.iter().any(|line| line["collection"] == "_keys");
                assert_eq!(shown, is_node, "{name}");
            }
            Err(refusal) => {
                assert!(!is_node && !follows, "{name}");
                refused(&refusal, Code::Forbidden, &[]);
            }
        }
        let asked = Lines::open(&client, r#"{"scope":{"_keys":[""]}}"#).await;
        assert_eq!(asked.is_ok(), is_node, "{name}");
        if let Err(refusal) = asked {
            refused(&refusal, Code::Forbidden, &[]);
        }
    }
    let listed = keys.client("node").get("/v1/collections").await;
    assert_eq!(listed.text(), r#"{"collections":["c"]}"#, "not listed even to nodes");
}
