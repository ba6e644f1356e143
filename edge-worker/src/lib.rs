#![expect(missing_docs, reason = "the object macro writes undocumented items")]
//! Temporary ground for the edge replica: proves that a Worker and its SQLite-backed object run.

use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event};

#[event(fetch)]
async fn fetch(request: Request, env: Env, _ctx: Context) -> Result<Response> {
    if request.path() == "/worker-panic" {
        panic!("asked to");
    }
    env.durable_object("REPLICA")?
        .get_by_name("replica:local")?
        .fetch_with_request(request)
        .await
}

/// The object; counts its requests in SQLite.
#[durable_object]
pub struct Replica {
    state: State,
    env: Env,
}

impl DurableObject for Replica {
    fn new(state: State, env: Env) -> Self {
        Self { state, env }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        if request.path() == "/panic" {
            panic!("asked to");
        }
        if request.path() == "/late-panic" {
            worker::Delay::from(std::time::Duration::from_millis(50)).await;
            panic!("asked to, late");
        }
        if request.path() == "/slow" {
            worker::Delay::from(std::time::Duration::from_millis(2000)).await;
        }
        if request.path() == "/trap" {
            core::arch::wasm32::unreachable();
        }
        if request.path() == "/alarm" {
            self.state.storage().set_alarm(100).await?;
        }
        let sql = self.state.storage().sql();
        sql.exec("CREATE TABLE IF NOT EXISTS n (n INTEGER)", None)?;
        sql.exec("INSERT INTO n VALUES (1)", None)?;
        let rows = sql.exec("SELECT count(*) AS n FROM n", None)?.one::<serde_json::Value>()?;
        let node = self.env.var("NODE")?.to_string();
        Response::ok(format!("hello from {node}: {rows}\n"))
    }

    async fn alarm(&self) -> Result<Response> {
        worker::console_log!("alarm ran");
        Response::empty()
    }
}
