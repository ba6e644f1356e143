//! What another node says when it refuses: the API's error body, read by the replica and by the client commands.

use headwater_core::json;

/// Code and message of the API's error body; `None` for any other body.
pub(crate) fn error_body(body: &[u8]) -> Option<(String, String)> {
    let fields = json::members(json::utf8(body).ok()?).ok()?;
    let text = |name| json::string(fields.iter().find(|(field, _)| field == name)?.1);
    Some((text("error")?.into_owned(), text("message")?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_error_body_and_no_other() {
        let body = headwater_core::api::ApiError::new(headwater_core::api::Code::NotFound, "no \"a\"").body();
        assert_eq!(error_body(&body), Some(("not_found".into(), "no \"a\"".into())));
        for body in [&b""[..], b"<html>", b"{}", b"[1]", b"{\"error\":1,\"message\":\"x\"}", b"\xff"] {
            assert_eq!(error_body(body), None);
        }
    }
}
