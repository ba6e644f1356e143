//! The edge worker's store inside workerd, by the routes that its self-test build has.

use headwater_local::edge;
use headwater_local::program::Program;
use headwater_local::tools::Tools;
use headwater_tests::{Client, PIECES, Vector, vectors};
use std::path::Path;

async fn selftest(directory: &Path) -> (Program, Client) {
    let tools = Tools::load().expect("./dev test writes the tools file");
    let built = tools.edge_selftest.clone().expect("./dev test edge builds the self-test");
    let tools = Tools { edge: built, ..tools };
    // Nothing listens there: these tests need no parent.
    let settings = edge::Settings {
        node: "selftest",
        parent: "http://127.0.0.1:1",
        apikey: "",
        secret: "",
        dev: true,
        data: directory,
        more: &[],
    };
    let (program, url) = edge::start(&tools, &settings).await.unwrap_or_else(|error| panic!("the edge {error}"));
    (program, Client::dev(&url))
}

async fn run(client: &Client, test: &str) {
    let reply = client.get(&format!("/__selftest/{test}")).await;
    assert_eq!(reply.status, 200, "{test}: {}", reply.text());
}

#[tokio::test]
async fn equals_the_model_while_it_stores_folds_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, client) = selftest(directory.path()).await;
    for first in [1, 5, 9, 13] {
        run(&client, &format!("model?seed={first}&seeds=4&steps=1500")).await;
    }
}

#[tokio::test]
async fn keeps_texts_of_any_length_through_restarts_and_baselines() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, client) = selftest(directory.path()).await;
    run(&client, "long").await;
}

#[tokio::test]
async fn keeps_keys_and_numbers_as_they_are_spelled_and_ordered() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, client) = selftest(directory.path()).await;
    run(&client, "keys").await;
}

#[tokio::test]
async fn stores_entries_and_position_in_one_step_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, client) = selftest(directory.path()).await;
    run(&client, "atomic").await;
}

#[tokio::test]
async fn makes_of_every_wire_vector_what_is_written_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, client) = selftest(directory.path()).await;
    for Vector { path, bytes, expected } in vectors() {
        for pieces in PIECES {
            let target = format!("/__selftest/vector?pieces={pieces}");
            let reply = client.call(reqwest::Method::POST, &target, bytes.clone()).await;
            assert_eq!(reply.text(), expected, "{}, pieces {pieces}", path.display());
        }
    }
}

#[tokio::test]
async fn a_deployment_has_no_self_test() {
    let directory = tempfile::tempdir().unwrap();
    let edge = headwater_tests::Edge::start(directory.path(), "http://127.0.0.1:1").await;
    assert_eq!(edge.client().get("/__selftest/keys").await.status, 404);
}
