//! schemathesis: requests made from what the node says of its own API, such as it allows and such as it does not.

use crate::node::Target;
use crate::table::{Done, Table};
use crate::tool;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(900);
/// Requests drawn for each operation and kind, beside those that the tool makes of each rule of the document.
const EXAMPLES: &str = "40";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";

/// The stream that has no end is read to its first piece.
const HOOKS: &str = include_str!("hooks.py");

/// A position that is waited for and does not come is 504 `stale`: what was asked, and no failure of the node.
const EXPECTED: &str = "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", \"504\"]\n";

/// What is there to be asked for: names that are drawn hit nothing. What is dropped and revoked is not what others need.
const PARAMETERS: &str = r#"
[parameters]
"path.collection" = "c"
"path.key" = "k"
"query.key" = "k"
"path.id" = "known"
[[operations]]
include-name = "DELETE /v1/collections/{collection}"
[operations.parameters]
"path.collection" = "dropped"
[[operations]]
include-name = "DELETE /v1/keys/{id}"
[operations.parameters]
"path.id" = "revoked"
"#;

const HELD: &str = "no 5xx; status, content type, headers and body as /openapi.json says, all operations";

pub(crate) async fn attack(table: &mut Table) {
    let program = std::env::var("SCHEMATHESIS").expect("./dev attack says where schemathesis is");
    let target = Target::start(&[("--rate-of-wrong-pairs", "off"), ("--value-bytes-max", "64KiB")]).await;
    for collection in ["c", "dropped"] {
        target.client.create(collection).await;
    }
    assert_eq!(target.client.set("c", "k", "1").await.status, 200);
    for id in ["known", "revoked"] {
        target.key(id).await;
    }
    for (attack, settings) in [("schemathesis, drawn names", ""), ("schemathesis, names that are there", PARAMETERS)] {
        let (hooks, config) = (target.file("hooks.py"), target.file("schemathesis.toml"));
        std::fs::write(&hooks, HOOKS).expect("a file can be written");
        let hooks = hooks.to_str().expect("it has a plain name");
        let settings = format!("hooks = \"{hooks}\"\n{EXPECTED}{settings}");
        std::fs::write(&config, settings).expect("a file can be written");
        let (config, document) =
            (config.to_str().expect("it has a plain name"), format!("{}/openapi.json", target.node.url));
        table
            .add(attack, HELD, &target, async {
                let requests = async || target.client.get("/v1/metrics").await.json()["requests_total"].as_u64();
                let before = requests().await;
                let arguments = [
                    ["--config-file", config, "run", &document].as_slice(),
                    &["--checks", CHECKS, "--mode", "all", "--max-examples", EXAMPLES],
                    &["--phases", "examples,coverage,fuzzing", "-H", "apikey: dev", "-H", "secret: dev"],
                    &["--request-timeout", "10", "--continue-on-failure", "--no-color"],
                ]
                .concat();
                let (is_held, said) = tool::run(&target, &program, &arguments, WITHIN).await;
                assert!(is_held, "{attack}: {said}");
                let made = requests().await.zip(before).map_or(0, |(after, before)| after - before);
                Done {
                    requests: made,
                    notes: said.lines().filter(|line| line.contains("Seed:")).map(String::from).collect(),
                }
            })
            .await;
    }
}
