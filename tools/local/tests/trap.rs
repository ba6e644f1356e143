//! The edge worker's shim after a trap, in real workerd: nothing hangs, and the next call is answered by a new instance.
//!
//! The compiled worker never traps on request, so a stand-in does (`trap/glue.js`).

#![expect(clippy::unwrap_used, reason = "a failure in a helper is a failure of its test")]

use std::{fs, path::Path, time::Duration};

use headwater_local::{edge, program::Program, tools::Tools};
use reqwest::Client;
use tempfile::TempDir;

struct Worker {
    program: Program,
    url: String,
    client: Client,
    _directory: TempDir,
}

impl Worker {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["tests/trap/workerd.capnp", "tests/trap/glue.js", "../../edge-worker/shim.js"] {
            let from = package.join(file);
            fs::copy(&from, directory.path().join(from.file_name().unwrap())).unwrap();
        }
        let tools = Tools { edge: directory.path().to_owned(), ..Tools::load().unwrap() };
        let settings = edge::Settings {
            node: "trap",
            parent: "http://127.0.0.1:1",
            apikey: "",
            secret: "",
            dev: false,
            data: directory.path(),
            more: &[],
        };
        let (program, url) = edge::start(&tools, &settings).await.unwrap();
        // Far below what workerd takes to notice a call that hangs, and far above what an answer takes.
        let client = Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        Self { program, url, client, _directory: directory }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Asserts that a call to the object is answered by that instance of the module, for the object's nth time in it.
    async fn answers(&self, instance: u32, calls: u32) {
        let expected = format!(r#"{{"instance":{instance},"object":{instance},"calls":{calls}}}"#);
        assert_eq!(self.get("/").await, (200, expected));
    }
}

fn failed() -> (u16, String) {
    (500, r#"{"ok":false,"error":"internal_error","message":"the worker failed"}"#.to_owned())
}

#[tokio::test]
async fn a_trap_wherever_it_surfaces_fails_its_call_and_the_next_starts_over() {
    let worker = Worker::start().await;
    worker.answers(1, 1).await;
    worker.answers(1, 2).await;
    for (path, instance) in [("/trap", 2), ("/trap-in-microtask", 3), ("/trap-in-front", 4)] {
        assert_eq!(worker.get(path).await, failed(), "{path}");
        worker.answers(instance, 1).await;
        worker.answers(instance, 2).await;
    }
    worker.program.kill().await.unwrap();
}

#[tokio::test]
async fn a_trap_fails_the_other_calls_in_flight_at_once() {
    let worker = Worker::start().await;
    worker.answers(1, 1).await;
    let waiting = async { worker.get("/wait").await };
    let trapping = async {
        while worker.get("/waiting").await != (200, "1".to_owned()) {}
        worker.get("/trap-in-microtask").await
    };
    let (waited, trapped) = tokio::join!(waiting, trapping);
    assert_eq!((waited, trapped), (failed(), failed()));
    worker.answers(2, 1).await;
    worker.program.kill().await.unwrap();
}
