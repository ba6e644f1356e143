//! How the worker tells a developer's machine from all others: by who the runtime says is at the other end.

use headwater_core::api::HEADER_POSITION;
use headwater_local::program::Program;
use headwater_local::{edge, tools::Tools};
use headwater_tests::{Client, NodeBuilder, eventually};
use reqwest::Method;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Stands for the provider's network: what a request says in this header, the runtime tells the worker of it.
pub(crate) const TOLD: &str = "x-told";

/// A copy of the built worker in `directory`, behind a socket that tells of each request what the test says.
fn copy_of_build(built: &Path, directory: &Path) -> io::Result<PathBuf> {
    let build = directory.join("build");
    fs::create_dir(&build)?;
    for name in ["index.js", "index_bg.wasm"] {
        fs::copy(built.join(name), build.join(name))?;
    }
    let config = fs::read_to_string(built.join("workerd.capnp"))?;
    let told = config.replace("http = (),", &format!("http = (cfBlobHeader = \"{TOLD}\"),"));
    assert_ne!(told, config, "the socket is where it was");
    fs::write(build.join("workerd.capnp"), told)?;
    Ok(build)
}

/// An edge behind that; its program and address.
pub(crate) async fn behind_a_provider(directory: &Path, parent: &str) -> (Program, String) {
    let mut tools = Tools::load().expect("./dev test writes the tools file");
    tools.edge = copy_of_build(&tools.edge, directory).expect("the build can be copied");
    let data = directory.join("edge");
    let settings =
        edge::Settings { node: "edge", parent, apikey: "dev", secret: "dev", dev: true, data: &data, more: &[] };
    edge::start(&tools, &settings).await.expect("the edge starts")
}

#[tokio::test]
async fn the_development_pair_is_of_no_use_from_anywhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (_program, url) = behind_a_provider(directory.path(), &writer.url).await;
    let client = Client::dev(&url);
    let ask = async |told: Option<&str>| {
        let request = client.request(Method::GET, "/v1/collections");
        let request = told.into_iter().fold(request, |request, told| request.header(TOLD, told));
        client.send(request).await.expect("the edge answers")
    };
    eventually("the edge holds the state", || async {
        let reply = ask(Some(r#"{"clientIp":"127.0.0.1:1"}"#)).await;
        if reply.status == 200 { Ok(()) } else { Err(reply.text().to_owned()) }
    })
    .await;
    // Each calls it by the name of loopback, as whoever wants to get in would.
    for told in [None, Some("{}"), Some(r#"{"colo":"XYZ"}"#), Some(r#"{"clientIp":"192.168.1.7:1"}"#)] {
        let reply = ask(told).await;
        assert_eq!((reply.status, &*reply.code()), (403, "forbidden"), "{told:?}: {}", reply.text());
        assert!(reply.header(HEADER_POSITION).is_some());
    }
    let log = fs::read_to_string(directory.path().join("edge/workerd.log")).unwrap();
    assert_eq!(log.matches("dev_refused").count(), 1, "{log}");
}
