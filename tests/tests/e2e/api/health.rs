//! The public endpoints: `/healthz`, `/livez`, `/startupz` and `/readyz`.

use super::{Writer, fields};
use headwater_tests::{Client, NodeBuilder, eventually};
use reqwest::Method;
use serde_json::json;

const HEALTH: [&str; 3] = ["/healthz", "/livez", "/startupz"];

#[tokio::test]
async fn a_writer_tells_that_it_lives_and_is_ready_to_anyone() {
    let writer = Writer::start().await;
    let anyone = Client::with_pair(writer.url(), None);
    for path in HEALTH {
        let reply = anyone.get(path).await;
        assert_eq!((reply.status, reply.text()), (200, r#"{"ok":true,"node":"writer","role":"primary"}"#), "{path}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let head = anyone.call(Method::HEAD, path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    let reply = anyone.get("/readyz").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    assert_eq!(fields(&body), ["checks", "node", "ok", "ready", "role"].into());
    let expected = (json!(true), json!(true), json!("writer"), json!("primary"), json!(true));
    let checks = &body["checks"];
    assert_eq!(
        (&body["ok"], &body["ready"], &body["node"], &body["role"], &checks["wal_replayed"]),
        (&expected.0, &expected.1, &expected.2, &expected.3, &expected.4)
    );
}

#[tokio::test]
async fn a_replica_that_never_met_its_parent_lives_and_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let replica = NodeBuilder::replica("replica", directory.path(), &nobody()).start().await;
    let anyone = Client::with_pair(&replica.url, None);
    for path in HEALTH {
        let reply = anyone.get(path).await;
        assert_eq!((reply.status, reply.text()), (200, r#"{"ok":true,"node":"replica","role":"replica"}"#), "{path}");
    }
    let reply = anyone.get("/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    let body = reply.json();
    assert_eq!((&body["ok"], &body["ready"]), (&json!(false), &json!(false)));
    assert_eq!((&body["node"], &body["role"]), (&json!("replica"), &json!("replica")));
    assert_eq!(body["checks"]["parent_connected"], json!(false));
}

#[tokio::test]
async fn a_replica_stays_ready_without_its_parent_unless_told_otherwise() {
    let mut writer = Writer::start().await;
    let patient = writer.replica(&[]).await;
    let builder = NodeBuilder::replica("strict", writer.directory.path(), writer.url());
    let strict = builder.flag("--unready-without-parent").start().await;
    strict.ready().await;
    let checks = patient.client().get("/readyz").await.json()["checks"].clone();
    assert_eq!(checks["parent_connected"], json!(true));

    writer.node.kill().await;
    let body = eventually("the strict replica is unready", || async {
        let reply = strict.client().get("/readyz").await;
        if reply.status == 503 { Ok(reply.json()) } else { Err(reply.text().to_owned()) }
    })
    .await;
    assert_eq!((&body["ready"], &body["checks"]["parent_connected"]), (&json!(false), &json!(false)));
    // It still serves what it holds: readiness is for balancers.
    assert_eq!(strict.client().get("/v1/collections").await.status, 200);

    let body = eventually("the patient replica has noticed", || async {
        let body = patient.client().get("/readyz").await.json();
        if body["checks"]["parent_connected"] == json!(false) { Ok(body) } else { Err(body) }
    })
    .await;
    assert_eq!(body["ready"], json!(true));
}

/// An address at which nobody listens: port 1 needs rights that no test program has, and is given to no one.
fn nobody() -> String {
    "http://127.0.0.1:1".into()
}
