#![expect(missing_docs, reason = "the object macro writes undocumented items")]
//! The edge replica: a Cloudflare Worker and a SQLite-backed Durable Object around the core.

mod sql;
mod store;

#[cfg(feature = "selftest")]
mod selftest;

use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event};

#[event(fetch)]
async fn fetch(request: Request, env: Env, _ctx: Context) -> Result<Response> {
    env.durable_object("REPLICA")?.get_by_name("replica:local")?.fetch_with_request(request).await
}

/// The object.
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
        #[cfg(feature = "selftest")]
        if let Some(answer) = selftest::answer(&self.state, &request)? {
            return Ok(answer);
        }
        Response::empty()
    }

    async fn alarm(&self) -> Result<Response> {
        Response::empty()
    }
}
