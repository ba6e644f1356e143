//! `headwater keys` as a script meets it.

use super::{Cli, finish};
use headwater_tests::{NodeBuilder, Reply};
use serde_json::json;

async fn entry(url: &str, pair: Option<(&str, &str)>, collection: &str) -> Reply {
    headwater_tests::Client::with_pair(url, pair).entry(collection, "a").await
}

#[tokio::test]
async fn a_key_is_made_limited_rotated_and_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, url) = (Cli::of(&writer), &*writer.url);
    for collection in ["flags", "prices"] {
        assert_eq!(cli.run(&["set", collection, "a", "1", "--create"]).await.status, 0);
    }
    let made = cli.json(&["keys", "create", "app", "--role", "read", "--collection", "flags"]).await;
    assert_eq!(
        (&made["id"], &made["grants"]),
        (&json!("app"), &json!([{"roles": ["read"], "scope": {"flags": [""]}}]))
    );
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(entry(url, Some(("app", secret)), "flags").await.status, 200);
    assert_eq!(entry(url, Some(("app", secret)), "prices").await.status, 403);
    let list = cli.json(&["keys", "list"]).await;
    assert_eq!(list["keys"].as_array().map(Vec::len), Some(1), "{list}");
    assert!(!list.to_string().contains(secret));

    let changed = cli.json(&["keys", "change", "app", "--role", "read", "--collection", "prices/"]).await;
    assert_eq!(changed["grants"], json!([{"roles": ["read"], "scope": {"prices": [""]}}]));
    assert_eq!(entry(url, Some(("app", secret)), "prices").await.status, 200);

    let rotated = cli.json(&["keys", "rotate", "app", "--grace", "10m"]).await;
    let new = rotated["secret"].as_str().unwrap();
    for secret in [secret, new] {
        assert_eq!(entry(url, Some(("app", secret)), "prices").await.status, 200);
    }
    assert!(rotated["previousUntil"].is_string(), "{rotated}");
    cli.json(&["keys", "rotate", "app"]).await;
    for secret in [secret, new] {
        assert_eq!(entry(url, Some(("app", secret)), "prices").await.status, 403);
    }
    assert_eq!(cli.json(&["keys", "revoke", "app"]).await, json!({"ok": true, "id": "app"}));

    assert_eq!(entry(url, None, "flags").await.status, 403);
    let open = cli.json(&["keys", "create", "anonymous", "--role", "read", "--collection", "flags"]).await;
    assert_eq!(open.get("secret"), None);
    assert_eq!(entry(url, None, "flags").await.status, 200);
    let mut nobody = cli.command(&["get", "flags", "a"]);
    nobody.env_remove("HEADWATER_APIKEY").env_remove("HEADWATER_SECRET");
    assert_eq!(finish(nobody, b"").await.status, 0);
}

#[tokio::test]
async fn a_token_is_made_and_does_what_it_says_in_place_of_a_pair() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    assert_eq!(cli.run(&["set", "flags", "a", "1", "--create"]).await.status, 0);
    let made = cli.json(&["keys", "create", "app", "--role", "read", "--role", "write"]).await;
    let as_app = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command.env("HEADWATER_APIKEY", "app").env("HEADWATER_SECRET", made["secret"].as_str().unwrap());
        command
    };
    let token = finish(as_app(&["keys", "token", "--ttl", "1h", "--role", "read"]), b"").await;
    assert_eq!(token.status, 0, "{token:?}");
    let token: serde_json::Value = serde_json::from_str(&token.stdout).unwrap();
    let bearer = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command.env_remove("HEADWATER_APIKEY").env_remove("HEADWATER_SECRET");
        command.env("HEADWATER_TOKEN", token["token"].as_str().unwrap());
        command
    };
    assert_eq!(finish(bearer(&["get", "flags", "a"]), b"").await.status, 0);
    for (command, status, words) in [
        (bearer(&["set", "flags", "a", "2"]), 1, "does not accept this token"),
        (bearer(&["keys", "token"]), 1, "does not accept this token"),
        (bearer(&["profile", "save", "mine"]), 2, "no profile keeps"),
        (as_app(&["keys", "token", "--ttl", "25h"]), 1, "goes from 1000 to a day"),
        (as_app(&["keys", "token", "--role", "admin"]), 2, "never admin"),
    ] {
        let done = finish(command, b"").await;
        assert_eq!((done.status, &*done.stdout), (status, ""), "{done:?}");
        assert!(done.stderr.contains(words), "{done:?}");
        assert!(!done.stderr.contains("eyJ"), "{done:?}");
    }
    let mut both = bearer(&["get", "flags", "a"]);
    both.env("HEADWATER_APIKEY", "app");
    let done = finish(both, b"").await;
    assert!(done.status == 2 && done.stderr.contains("Unset HEADWATER_TOKEN"), "{done:?}");
}

#[tokio::test]
async fn what_a_node_refuses_is_told_in_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    let boss = cli.json(&["keys", "create", "boss", "--role", "admin"]).await;
    for (arguments, status, words) in [
        (&["keys", "revoke", "boss"][..], 1, "last key with role admin"),
        (&["keys", "revoke", "nobody"], 1, "there is no key \"nobody\""),
        (&["keys", "create", "boss", "--role", "read"], 1, "there is a key \"boss\" already"),
        (&["keys", "create", "dev", "--role", "read"], 1, "cannot be a key's id"),
        (&["keys", "create", "anonymous", "--role", "write"], 1, "can be given the role read alone"),
        (&["keys", "rotate", "boss", "--grace", "8d"], 1, "the limit is a week"),
        (&["keys", "rotate", "boss", "--grace", "soon"], 2, "--grace"),
        (&["keys", "create", "a", "--role", "reader"], 2, "reader"),
        (&["keys", "create", "a", "--role", "node", "--collection", "flags"], 2, "over everything"),
        (&["keys", "create", "a"], 2, "--role"),
        (&["keys"], 2, "Usage"),
    ] {
        let done = cli.run(arguments).await;
        assert_eq!((done.status, &*done.stdout), (status, ""), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(words), "{arguments:?}: {done:?}");
    }
    let mut as_boss = cli.command(&["keys", "create", "more", "--role", "read"]);
    as_boss.env("HEADWATER_APIKEY", "boss").env("HEADWATER_SECRET", boss["secret"].as_str().unwrap());
    let done = finish(as_boss, b"").await;
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains("may do more than yours"), "{done:?}");
}
