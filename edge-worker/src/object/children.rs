//! `POST /v1/replicate`: streams to those who follow this object, browsers above all.

use super::Object;
use super::share::Share;
use crate::signal::NextWithin;
use crate::store::SqliteStore;
use futures_util::stream;
use headwater_core::api::{ApiError, Code};
use headwater_core::credentials::Grant;
use headwater_core::stream::{OpenError, Request, Step, Stream, Supply};
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use worker::{Headers, Response, ResponseBuilder, Result};

/// Opens a stream for who has this grant, as one of its share.
///
/// # Errors
/// The answer to give instead.
pub(super) fn open(
    object: &Object,
    grant: &Grant,
    share: &Share<'_>,
    body: &[u8],
) -> std::result::Result<Stream<SqliteStore>, ApiError> {
    let request = Request::from_body(body)?;
    let stream = Stream::open_for(share.name(), &object.node, request, grant, None, object.clock.now());
    stream.map_err(|error| match error {
        OpenError::BeyondShare(limit) => {
            let words = format!("there are too many streams {}: the limit is {limit}; come back", share.told());
            ApiError::new(Code::Overloaded, words)
        }
        error => error.into(),
    })
}

/// The answer that hands the stream on until it ends by END.
pub(super) fn response(
    object: &Rc<Object>,
    stream: Stream<SqliteStore>,
    head: &[(&'static str, Cow<'static, str>)],
) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in head {
        headers.set(name, value)?;
    }
    let mut child = Child { object: Rc::clone(object), stream, rest: None };
    let chunks = stream::poll_fn(move |context| child.poll(context).map(|chunk| chunk.map(Ok::<_, worker::Error>)));
    ResponseBuilder::new().with_status(200).with_headers(headers).from_stream(chunks)
}

/// One child. The runtime asks for a chunk when the last one is on its way, so a slow child holds no lines.
struct Child {
    object: Rc<Object>,
    stream: Stream<SqliteStore>,
    rest: Option<NextWithin>,
}

impl Child {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        loop {
            if let Some(rest) = &mut self.rest {
                if Pin::new(rest).poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.rest = None;
            }
            let now = self.object.clock.now();
            match self.stream.next(now) {
                Step::Chunk { bytes, commands } => {
                    self.object.counts.replication_commands_sent_total.add(commands);
                    self.object.counts.replication_bytes_sent_total.add(bytes.len() as u64);
                    return Poll::Ready(Some(bytes.to_vec()));
                }
                Step::Wait(until) => {
                    let ms = until.saturating_sub(now.mono_ms).max(1);
                    self.rest = Some(self.object.published.next_within(ms));
                }
                // There is no log here: what is not in the feed comes by a baseline.
                Step::History(_) => self.stream.supply(Supply::Gone),
                Step::End => return Poll::Ready(None),
            }
        }
    }
}
