//! Following the parent: one connection after the other, each read chunk by chunk into core's replica.
//!
//! Runs inside `wait_until`, never inside the alarm, whose next run would wait for it.

use super::{Object, random_id, random_u64};
use crate::log::log;
use crate::signal::delay;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use headwater_core::api::{CONTENT_NDJSON, retry_after_ms};
use headwater_core::replica::{Cause, Event};
use std::pin::pin;
use std::rc::Rc;
use worker::{AbortController, ByteStream, Delay, Fetch, Headers, Method, Request, RequestInit, RequestRedirect};

/// After this long a connection is replaced by a new one, at the parent's resumption cost: a stream that the platform has
/// quietly forgotten would otherwise be noticed by its silence alone.
const RECYCLE_MS: u64 = 600_000;

/// Longest time the task may not be heard of beyond what it announced, before the alarm starts another.
const GRACE_MS: u64 = 60_000;

impl Object {
    /// Starts the task that follows the parent; one that runs already stops at its next step.
    pub(super) fn start_following(self: &Rc<Self>) {
        let number = self.follower.get() + 1;
        self.follower.set(number);
        self.follower_is_alive(0);
        let object = Rc::clone(self);
        self.state.wait_until(async move { object.follow(number).await });
    }

    fn follower_is_alive(&self, asleep_ms: u64) {
        self.follower_due_mono_ms.set(self.clock.now().mono_ms + asleep_ms + GRACE_MS);
    }

    async fn follow(self: Rc<Self>, number: u64) {
        if self.settings.parents.is_empty() {
            log("error", "no_parent", &[("why", &"PARENT_URL names none")]);
            self.follower_due_mono_ms.set(u64::MAX);
            return;
        }
        while self.follower.get() == number {
            let cause = self.connection(number).await;
            if self.follower.get() != number {
                return;
            }
            let retry = self.replica.borrow_mut().closed(cause.clone(), random_u64());
            self.published.notify();
            self.keep();
            if retry.new_instance {
                log(
                    "warn",
                    "superseded",
                    &[("node", &self.node.options().label), ("why", &"another node uses this instance")],
                );
                self.renew_instance();
            }
            let (cause, after) = (describe(&cause), retry.after_ms);
            log(
                "info",
                "disconnected",
                &[("node", &self.node.options().label), ("cause", &cause), ("retryMs", &after)],
            );
            self.follower_is_alive(after);
            delay(after).await;
        }
    }

    fn renew_instance(&self) {
        let instance = random_id();
        self.node.set_instance(instance);
        if let Err(error) = self.store.set_instance(instance) {
            log("error", "store_failed", &[("node", &self.node.options().label), ("why", &error)]);
        }
    }

    /// One connection, from the request to why it is over.
    async fn connection(self: &Rc<Self>, number: u64) -> Cause {
        let (request, parent) = {
            let mut replica = self.replica.borrow_mut();
            let body = replica.request(self.clock.now()).to_body();
            (self.stream_request(replica.parent(), body), replica.parent())
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                log("error", "parent_url_unusable", &[("url", &self.settings.parents[parent]), ("why", &error)]);
                return Cause::Lost;
            }
        };
        let abort = AbortController::default();
        let signal = abort.signal();
        let fetch = Fetch::Request(request);
        let answer = match self.before_deadline(fetch.send_with_signal(&signal)).await {
            None => {
                abort.abort();
                return Cause::Silent;
            }
            Some(Err(error)) => {
                log("info", "parent_unreachable", &[("why", &error)]);
                return Cause::Lost;
            }
            Some(Ok(answer)) => answer,
        };
        let cause = self.read_stream(answer, number).await;
        // Without it the runtime would keep the connection, and the parent would go on writing.
        abort.abort();
        cause
    }

    fn stream_request(&self, parent: usize, body: String) -> worker::Result<Request> {
        let headers = Headers::new();
        headers.set("content-type", "application/json")?;
        headers.set("accept", CONTENT_NDJSON)?;
        headers.set("apikey", &self.settings.apikey)?;
        headers.set("secret", &self.settings.secret)?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_headers(headers).with_redirect(RequestRedirect::Manual);
        init.with_body(Some(body.into()));
        Request::new_with_init(&format!("{}/v1/replicate", self.settings.parents[parent]), &init)
    }

    async fn read_stream(self: &Rc<Self>, mut answer: worker::Response, number: u64) -> Cause {
        if answer.status_code() != 200 {
            let retry_ms = retry_after_ms(answer.headers().get("retry-after").ok().flatten().as_deref());
            log("warn", "parent_refused", &[("status", &answer.status_code()), ("retryMs", &retry_ms)]);
            return Cause::Refused { retry_ms };
        }
        let stream: ByteStream = match answer.stream() {
            Ok(stream) => stream,
            Err(_) => return Cause::Lost,
        };
        let mut stream = pin!(stream);
        let recycle_at = self.clock.now().mono_ms + RECYCLE_MS;
        loop {
            let chunk = match self.before_deadline(stream.next()).await {
                None => return Cause::Silent,
                Some(None) => return Cause::Lost,
                Some(Some(Err(error))) => {
                    log("info", "stream_broken", &[("why", &error)]);
                    return Cause::Lost;
                }
                Some(Some(Ok(chunk))) => chunk,
            };
            if self.follower.get() != number {
                return Cause::Own;
            }
            self.follower_is_alive(0);
            if let Some(cause) = self.receive(&chunk) {
                return cause;
            }
            if self.store.flush_is_due() && self.flush().is_err() {
                // Nothing more is taken in until the database takes what there is.
                return Cause::Lost;
            }
            self.keep();
            if self.clock.now().mono_ms >= recycle_at && !self.replica.borrow().is_staging() {
                return Cause::Own;
            }
        }
    }

    /// Feeds a chunk to the replica. Returns why the connection is over, if it is.
    fn receive(&self, chunk: &[u8]) -> Option<Cause> {
        let mut events = Vec::new();
        let outcome = self.replica.borrow_mut().receive(chunk, self.clock.now(), &mut events);
        if !events.is_empty() {
            self.published.notify();
        }
        let label = &self.node.options().label;
        let mut cause = None;
        for event in events {
            match event {
                Event::Connected { node, position, baseline } => {
                    let resume = baseline.map_or("tail", |reason| reason.as_str());
                    log(
                        "info",
                        "connected",
                        &[("node", label), ("parent", &node), ("position", &position), ("resume", &resume)],
                    );
                }
                Event::Rebased { position, before, reason } => {
                    let facts: [(&str, &dyn std::fmt::Display); 4] =
                        [("node", label), ("position", &position), ("before", &before), ("reason", &reason.as_str())];
                    log("info", "rebased", &facts);
                }
                Event::Ended(end) => cause = Some(Cause::Ended(end)),
                Event::Applied(_) | Event::Advanced(_) => {}
            }
        }
        match outcome {
            Ok(()) => cause,
            Err(offence) => {
                log("warn", "offence", &[("node", label), ("code", &offence.code()), ("why", &offence)]);
                Some(Cause::Offence(offence))
            }
        }
    }

    /// Waits for something on the connection, `None` when its deadline passes first. The deadline moves with every byte.
    async fn before_deadline<T>(&self, something: impl Future<Output = T>) -> Option<T> {
        let mut something = pin!(something);
        loop {
            let due = self.replica.borrow().deadline()?;
            let left = due.saturating_sub(self.clock.now().mono_ms);
            if left == 0 {
                return None;
            }
            self.follower_is_alive(left);
            let timer: Delay = delay(left);
            match select(something.as_mut(), pin!(timer)).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right(_) => {}
            }
        }
    }
}

fn describe(cause: &Cause) -> String {
    match cause {
        Cause::Lost => "lost".into(),
        Cause::Refused { .. } => "refused".into(),
        Cause::Silent => "silent".into(),
        Cause::Offence(offence) => format!("offence {}", offence.code()),
        Cause::Ended(end) => format!("end {} {}", end.reason.as_str(), end.detail),
        Cause::Own => "recycled".into(),
    }
}
