//! Requests that are refused before anybody looks at what they ask for, and the end of their connection with that.

use super::reply;
use crate::listener::{HeadLimits, Link, Refused, Violation};
use crate::server::Server;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Version};
use axum::response::Response;
use headwater_core::api::{ApiError, Code};

/// Why a request that came over HTTP/2 is refused, if it is: there the listener sees no heads, and the library bounds them
/// as a whole.
pub(super) fn over_http_2<B>(limits: &HeadLimits, request: &Request<B>) -> Option<Refused> {
    if request.version() != Version::HTTP_2 {
        return None;
    }
    let target_bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let violation = if target_bytes > limits.line_bytes_max {
        Violation::LineTooLong(limits.line_bytes_max)
    } else if request.headers().len() > limits.fields_max {
        Violation::TooManyFields(limits.fields_max)
    } else {
        return None;
    };
    Some(Refused::Violation(violation))
}

/// The answer to a request that the connection did not let through.
pub(super) fn answer(server: &Server, link: &Link, why: Refused) -> Response {
    server.metrics.requests_refused_total.one();
    tracing::debug!(?why, peer = %link.peer, "a request was refused");
    // Who sends such requests uses up what its address has, as everybody who asks.
    let told = server.rates.address(link.peer.ip()).map_or_else(|limited| limited, |()| error(why));
    last(reply::error(server, told))
}

/// An answer after which the connection is closed: what was not understood may have been meant for somebody else.
pub(super) fn last(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn error(why: Refused) -> ApiError {
    let violation = match why {
        Refused::Slow => {
            let words = "the head of the request took too long: send it as a whole";
            return ApiError::new(Code::RequestTimeout, words);
        }
        Refused::Violation(violation) => violation,
    };
    let (code, words) = match violation {
        Violation::LineTooLong(limit) => (Code::UriTooLong, format!("the request line has more than {limit} bytes")),
        Violation::HeadTooLong(limit) => {
            (Code::HeadersTooLarge, format!("the head of the request has more than {limit} bytes"))
        }
        Violation::TooManyFields(limit) => (Code::HeadersTooLarge, format!("there are more than {limit} headers")),
        other => (Code::InvalidRequest, words(other).into()),
    };
    ApiError::new(code, words)
}

/// What is wrong, for whoever wrote the client.
fn words(violation: Violation) -> &'static str {
    match violation {
        Violation::LineEnd => "a line of the head does not end with CR LF, or has a CR within",
        Violation::Control => "there is a control character in the head, or one beyond ASCII in the request line",
        Violation::RequestLine => "the first line is no method, target and version with one space between them",
        Violation::Target => "the target has a fragment (#), or something else that no address has: percent-encode it",
        Violation::Version => "the version is neither HTTP/1.1 nor HTTP/1.0",
        Violation::FieldName => "a header has no name, or one with a character that cannot be in it, such as a space",
        Violation::Folded => "a header goes on in the next line, which HTTP does not have any more",
        Violation::NoHost => "the request has no Host header",
        Violation::TwoHosts => "the request has two Host headers",
        Violation::Length => "Content-Length is no plain number, or there are two",
        Violation::Coding => "Transfer-Encoding is not \"chunked\" alone, or there are two, or the version is HTTP/1.0",
        Violation::TwoLengths => "there are Content-Length and Transfer-Encoding, which say different things",
        Violation::Chunk => {
            "a chunk of the body is not size, CR LF, data, CR LF; extensions and trailers are not taken"
        }
        Violation::LineTooLong(_) | Violation::HeadTooLong(_) | Violation::TooManyFields(_) => "the head is too long",
    }
}
